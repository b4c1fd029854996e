"""Ablations: a file a question. Its arms differ in what the question is about, and in nothing else.

    python launch/sweep.py --config=experiments/ablations/encoder.py --output=sweeps/encoder --grid seed=0,1,2
    python -m ramjax.report --sweep=sweeps/encoder

The sweep runs every arm of `ARMS`, of which the first is the baseline. Several --config are several questions; arms
that are the same run are run once. The preset of a file is one of experiments/multitask.py, which holds for all arms:
``encoder.py:accelerator+h1200``; ``debug`` among its words makes each run one of seconds, to try a sweep. With the name
of an arm among the words it is that arm alone: ``encoder.py:accelerator+resnet34``.

An expected time is that of one run, an arm with a seed, on two CPU cores where nothing else is said.
"""

from collections.abc import Mapping
from typing import Any

from ml_collections import ConfigDict

from experiments import debug, multitask

Arms = Mapping[str, Mapping[str, Any]]
"""Changes of the main job by dotted key, by the name of the arm; the first is the baseline."""


def with_arm(preset: str, arms: Arms) -> ConfigDict:
    """The experiment of an arm; of the baseline where the preset names none.

    Args:
      preset: words joined by ``+``: those of experiments/multitask.py, ``debug``, and the name of an arm.
      arms: of the question.

    Raises:
      ValueError: the preset names two arms, or a word that is neither an arm nor known to experiments/multitask.py.
    """
    words = preset.split("+") if preset else []
    named = [word for word in words if word in arms] or [next(iter(arms))]
    if len(named) > 1:
        raise ValueError(f"Preset {preset!r} names the arms {' and '.join(named)}; name one of {', '.join(arms)}.")
    try:
        config = multitask.get_config("+".join(word for word in words if word not in (*arms, "debug")))
    except ValueError as error:
        raise ValueError(f"{error} Or name an arm: {', '.join(arms)}.") from error
    if "debug" in words:
        debug.shrink(config)
    config.update_from_flattened_dict(dict(arms[named[0]]))
    return config
