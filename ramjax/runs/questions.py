"""The questions that a sweep of ablations asks, and the runs that answer them: questions.json in its folder."""

import dataclasses
import pathlib
from collections.abc import Mapping, Sequence

from ramjax import files
from ramjax.errors import RunError

FILE = "questions.json"


@dataclasses.dataclass(frozen=True)
class Question:
    """A question.

    Attributes:
      name: of the file that asks it, without folder and ending.
      asks: the question, for people.
      arms: the folders of each arm's runs within the sweep's, by the name of the arm; the first is the baseline.
      about: what is to be known about it; '' for nothing.
    """

    name: str
    asks: str
    arms: Mapping[str, tuple[str, ...]]
    about: str = ""


def save(questions: Sequence[Question], output: pathlib.Path) -> None:
    """Writes them into the folder of a sweep; without any, those of an earlier sweep there are removed."""
    if not questions:
        (output / FILE).unlink(missing_ok=True)
        return
    files.write_json(output / FILE, [dataclasses.asdict(question) for question in questions])


def load(output: pathlib.Path) -> list[Question]:
    """The questions of the sweep in a folder.

    Raises:
      RunError: there are none, or their file is damaged.
    """
    path = output / FILE
    try:
        content = files.parse_json(path.read_bytes())
        return [
            Question(
                of["name"], of["asks"], {arm: tuple(runs) for arm, runs in of["arms"].items()}, of.get("about", "")
            )
            for of in content
        ]
    except FileNotFoundError:
        raise RunError(
            f"{output} has no {FILE}, which a sweep of experiments/ablations writes; name the --output of one, or its "
            "runs by --workdir."
        ) from None
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise RunError(f"{path} is damaged ({error}); start the sweep's command again.") from error
