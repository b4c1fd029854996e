"""What a task of the image as a whole can learn: a class or a number."""

import dataclasses
import math
from collections.abc import Callable
from typing import Any

import numpy as np

from ramjax.record import Record


@dataclasses.dataclass(frozen=True)
class Classes:
    """A target that is one of several classes.

    Attributes:
      names: of the classes, two or more; of two, the second is the positive one of the AUROC.
      of: the class of a record as a position in `names`, -1 where it is not known; a function of a module.
      title: a word or two for people.
    """

    names: tuple[str, ...]
    of: Callable[[Record], int]
    title: str

    def finding(self, probabilities: np.ndarray) -> dict[str, Any]:
        """What a report says of probabilities (classes,)."""
        chances = {name: round(float(chance), 4) for name, chance in zip(self.names, probabilities, strict=True)}
        return {"value": self.names[int(np.argmax(probabilities))], "probabilities": chances}

    def annotated(self, record: Record) -> dict[str, Any] | None:
        """The same of what is annotated; None where that is not known."""
        known = int(self.of(record))
        return None if known < 0 else self.finding(np.arange(len(self.names)) == known)

    def value(self, finding: dict[str, Any]) -> str:
        """The class."""
        return finding["value"]

    def words(self, finding: dict[str, Any]) -> str:
        """The class and its probability."""
        return f"{finding['value']} ({finding['probabilities'][finding['value']]:.2f})"


@dataclasses.dataclass(frozen=True)
class Number:
    """A target that is a number.

    Attributes:
      unit: such as ``years``.
      of: the number of a record, NaN where it is not known; a function of a module.
      title: a word or two for people.
      usual, spread: about its mean and standard deviation; the network learns how many spreads it is off the usual.
    """

    unit: str
    of: Callable[[Record], float]
    title: str
    usual: float
    spread: float

    def finding(self, number: float) -> float | None:
        """What a report says of a number: to a hundredth of the spread or finer; None where it is not finite."""
        digits = max(0, 2 - math.floor(math.log10(self.spread)))
        return round(float(number), digits) if math.isfinite(number) else None

    def annotated(self, record: Record) -> float | None:
        """The same of what is annotated; None where that is not known."""
        return self.finding(self.of(record))

    def value(self, finding: float | None) -> float | None:
        """The number."""
        return finding

    def words(self, finding: float | None) -> str:
        """The number and its unit."""
        return "unknown" if finding is None else f"{finding} {self.unit}".rstrip()
