"""What a task of the image as a whole can learn: a class or a number."""

import dataclasses
from collections.abc import Callable

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
