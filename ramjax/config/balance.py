"""Settings of how the tasks are balanced, and of how much they help each other."""

import dataclasses
import re
from typing import Literal

from ramjax.typed import INT32_MAX, ConfigError, check

_NUMBER = r"[0-9]*\.?[0-9]+"
_CURVE = re.compile(rf"(\w+)=({_NUMBER}:{_NUMBER}(?:,{_NUMBER}:{_NUMBER})*)")


@dataclasses.dataclass(frozen=True)
class BalanceConfig:
    """Factors on the losses of the tasks, beside their weights (see `ramjax.steps.balancing`).

    Attributes:
      method: ``fixed``, the weights alone; ``schedule``, curves over the steps; ``uncertainty``, ``dwa``, ``gradnorm``,
        ``pcgrad``, ``cagrad`` or ``nash``.
      curves: of ``schedule``, as TASK=SHARE:FACTOR,SHARE:FACTOR: the factor on a task's loss after that share of all
        steps, linear between them, such as ``scores=0:0,0.5:1``. A task without a curve has 1.
      learning_rate: of the factors that are learned, by ``uncertainty`` and ``gradnorm``, with Adam.
      window: of ``dwa``: the steps over which losses are averaged.
      temperature: of ``dwa``: the higher, the more equal are the factors.
      restoring: of ``gradnorm``: how strongly tasks that learn slowly are favoured; 0 favours none.
      radius: of ``cagrad``: how far the direction may be from the mean gradient, as a share of its length; 0 is the
        mean.
    """

    method: Literal["fixed", "schedule", "uncertainty", "dwa", "gradnorm", "pcgrad", "cagrad", "nash"] = "fixed"
    curves: tuple[str, ...] = ()
    learning_rate: float = 0.025
    window: int = 100
    temperature: float = 2.0
    restoring: float = 1.5
    radius: float = 0.5

    def __post_init__(self):
        check(self, "learning_rate", "temperature", above=0, most=1e9)
        check(self, "window", least=1, most=INT32_MAX)
        check(self, "restoring", least=0, most=1e3)
        check(self, "radius", least=0, most=1)
        if (self.method == "schedule") != bool(self.curves):
            raise ConfigError(
                f"method is {self.method} and curves is {self.curves}; a schedule, and it alone, has curves, such as "
                "('scores=0:0,0.5:1',)."
            )
        for curve in self.curves:
            points = self.points(curve)[1]
            shares = [share for share, _ in points]
            if not points or shares != sorted(set(shares)) or shares[-1] > 1:
                raise ConfigError(
                    f"curves has {curve!r}; write TASK=SHARE:FACTOR,SHARE:FACTOR with shares from 0 to 1 that rise."
                )

    @staticmethod
    def points(curve: str) -> tuple[str, list[tuple[float, float]]]:
        """The task of a curve, and its shares and factors; none where it is not written as it should be."""
        found = _CURVE.fullmatch(curve)
        if not found:
            return "", []
        pairs = (point.split(":") for point in found[2].split(","))
        return found[1], [(float(share), float(factor)) for share, factor in pairs]


@dataclasses.dataclass(frozen=True)
class AffinityConfig:
    """How much the tasks help each other, measured while they are trained (see `ramjax.steps.affinity`).

    Attributes:
      every: steps from one measurement to the next; 0 for none.
      parts: the tasks of which single parts are measured, too: each bone of ``bones``, site of ``joints`` or score of
        ``scores``.
    """

    every: int = 0
    parts: tuple[str, ...] = ()

    def __post_init__(self):
        check(self, "every", least=0, most=INT32_MAX)
        if self.parts and not self.every:
            raise ConfigError(f"parts is {self.parts}, but every is 0; say after how many steps, such as every=500.")
