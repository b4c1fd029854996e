"""Settings of training and of the devices: optimiser, mesh, loop, profile, trackers."""

import dataclasses
import re
from typing import Literal

from ramjax.typed import INT32_MAX, ConfigError, check


def split_rule(key: str, rule: str) -> tuple[str, str]:
    """PATTERN and VALUE of a rule of parameters; both are empty without a ``=``.

    Raises:
      ConfigError: the pattern is no regular expression; `key` is named.
    """
    pattern, _, value = rule.rpartition("=")
    check_pattern(key, pattern)
    return pattern, value if pattern else ""


def check_pattern(key: str, pattern: str) -> None:
    """Raises ConfigError if a pattern of `key` is no regular expression."""
    try:
        re.compile(pattern)
    except re.error as error:
        raise ConfigError(f"{key} has {pattern!r}, which is no regular expression ({error}).") from error


@dataclasses.dataclass(frozen=True)
class OptimizerConfig:
    """The optimiser, its learning rate over the steps, and the average of the parameters.

    Attributes:
      name: ``adamw``, ``sgd``, ``lion``, ``muon``, ``adafactor`` or ``schedule_free`` (see `ramjax.steps.optimizer`).
        The learning rate that serves one does not serve another.
      learning_rate: at the end of the warmup, the highest.
      schedule: how it goes on from there: ``cosine``, ``linear``, ``step`` or ``constant``; or ``one_cycle``, whose
        warmup is a cosine, too.
      warmup_steps: of rise, linear from 0 but for ``one_cycle``.
      warmup_epochs: where it is not 0, `warmup_steps` is set to as many passes through the training records.
      drops: of ``step``: after which shares of all steps the learning rate drops, by equal factors.
      final_fraction: of the learning rate, at the last step; ``constant`` has none.
      rates: factors on the learning rate, as PATTERN=FACTOR; the first counts whose regular expression PATTERN matches
        the path of a parameter somewhere, such as 'encoder/=0.1'.
      weight_decay: of all but biases and scales.
      decays: other weight decays, as PATTERN=DECAY, as `rates`.
      frozen: regular expressions; parameters whose path one of them matches somewhere do not change.
      clip_norm: global norm the gradient is clipped to.
      ema_decay: of the averaged parameters used in evaluation; 0 switches averaging off. ``schedule_free`` has an
        average of its own; this is of the statistics of batches alone there.
    """

    name: Literal["adamw", "sgd", "lion", "muon", "adafactor", "schedule_free"] = "adamw"
    learning_rate: float = 3e-3
    schedule: Literal["cosine", "linear", "step", "one_cycle", "constant"] = "cosine"
    warmup_steps: int = 50
    warmup_epochs: float = 0.0
    drops: tuple[float, ...] = (0.5, 0.75)
    final_fraction: float = 0.01
    rates: tuple[str, ...] = ()
    weight_decay: float = 1e-4
    decays: tuple[str, ...] = ()
    frozen: tuple[str, ...] = ()
    clip_norm: float = 1.0
    ema_decay: float = 0.99

    def __post_init__(self):
        check(self, "learning_rate", "clip_norm", above=0, most=1e9)
        check(self, "warmup_steps", least=0, most=INT32_MAX)
        check(self, "weight_decay", "warmup_epochs", least=0, most=1e9)
        check(self, "final_fraction", "ema_decay", least=0, most=1)
        if self.name == "schedule_free" and self.schedule != "constant":
            raise ConfigError(
                f"name is schedule_free, but schedule is {self.schedule}; an average takes the place of a falling "
                "learning rate, so set schedule=constant."
            )
        if self.ema_decay == 1:
            raise ConfigError("ema_decay is 1.0, which never takes a parameter in; it must be below 1.")
        if not self.drops or list(self.drops) != sorted({drop for drop in self.drops if 0 < drop < 1}):
            raise ConfigError(f"drops is {self.drops}; name shares between 0 and 1 that rise, such as (0.5, 0.75).")
        for pattern in self.frozen:
            check_pattern("frozen", pattern)
        for key in ("rates", "decays"):
            for rule in getattr(self, key):
                _, number = split_rule(key, rule)
                if not re.fullmatch(r"[0-9]*\.?[0-9]+(e[-+]?[0-9]+)?", number) or float(number) > 1e9:
                    raise ConfigError(f"{key} has {rule!r}; write PATTERN=NUMBER, such as 'encoder/=0.1'.")


@dataclasses.dataclass(frozen=True)
class InitConfig:
    """What the parameters are before the first step: random, or those of a trained network.

    Attributes:
      source: a run directory, a file of weights, or ``default`` for the network that ships with ramjax; nothing for
        random parameters. A parameter that the source does not have is random, too. For a published encoder, a file of
        timm, torchvision or transformers serves as well (.safetensors, or .pth where PyTorch is installed), and
        ``hub:OWNER/NAME`` for one on the Hugging Face Hub (see `ramjax.models.pretrained`).
      load: which of the source's parameters are taken, as regular expressions of their paths, and under which names, as
        PATTERN=NAME: what PATTERN matches becomes NAME (`re.sub`). The first that matches counts; none stands for all.
      leave_out: regular expressions; parameters here that stay random though the source has them.
    """

    source: str = ""
    load: tuple[str, ...] = ()
    leave_out: tuple[str, ...] = ()

    def __post_init__(self):
        if not self.source and (self.load or self.leave_out):
            raise ConfigError("load and leave_out say what is taken of source, which is empty; name a run or a file.")
        for rule in self.load:
            check_pattern("load", rule.partition("=")[0])
        for pattern in self.leave_out:
            check_pattern("leave_out", pattern)


@dataclasses.dataclass(frozen=True)
class TeacherConfig:
    """A mean teacher: the averaged network teaches the one that is trained, also where nothing is labelled.

    Attributes:
      weight: of the consistency in the loss of each task; 0 for no teacher.
      ramp_steps: over which the weight rises from nearly 0.
      gamma: the grey values that the student sees are raised to a power in [1 / (1 + gamma), 1 + gamma], log-uniform.
      noise: standard deviation of the Gaussian noise that is added to them, grey values 0-1.
    """

    weight: float = 0.0
    ramp_steps: int = 200
    gamma: float = 0.5
    noise: float = 0.05

    def __post_init__(self):
        check(self, "weight", "gamma", least=0, most=1e9)
        check(self, "ramp_steps", least=0, most=INT32_MAX)
        check(self, "noise", least=0, most=1)


@dataclasses.dataclass(frozen=True)
class MeshConfig:
    """How the devices are arranged, and what is split over them (see `ramjax.devices.sharding`).

    Attributes:
      data: devices along the axis that splits the batch; one of the three sizes may be -1, for all that are left.
      fsdp: along the axis that splits the batch too, and with it the large parameters and their optimiser state.
      space: along the axis that splits each canvas by its height, for radiographs too large for one device. It is
        fastest where the height is a multiple of `space` times the network's largest stride, because then only borders
        are exchanged.
      split_from: a parameter with at least so many elements is split over `fsdp`, along the largest axis that divides.
      rules: exceptions; the first match counts. ``PATTERN=AXIS`` splits along AXIS (0, 1, ...) the parameters whose
        path the regular expression PATTERN matches somewhere. ``PATTERN=none`` leaves them whole, whatever their size.
    """

    data: int = -1
    fsdp: int = 1
    space: int = 1
    split_from: int = 2**16
    rules: tuple[str, ...] = ()

    def __post_init__(self):
        sizes = {name: getattr(self, name) for name in ("data", "fsdp", "space")}
        for name, size in sizes.items():
            if size != -1:
                check(self, name, least=1, most=2**20)
        left = [name for name, size in sizes.items() if size == -1]
        if len(left) > 1:
            raise ConfigError(f"{' and '.join(left)} are -1; only one axis can take the devices that are left.")
        check(self, "split_from", least=0, most=2**63 - 1)
        for rule in self.rules:
            pattern, axis = split_rule("rules", rule)
            if not pattern or not (axis == "none" or re.fullmatch("[0-9]{1,3}", axis)):
                raise ConfigError(f"rules has {rule!r}; write PATTERN=AXIS, such as 'heads/.*=none' or 'kernel$=3'.")


@dataclasses.dataclass(frozen=True)
class TrainConfig:
    """The loop.

    Attributes:
      steps: optimiser steps.
      epochs: where it is not 0, `steps` is set to as many passes through the training records.
      accumulation_steps: each batch is processed in this many parts, to save memory; the gradient is that of the whole
        batch.
      log_every, eval_every, checkpoint_every: in steps; the last step is always logged, evaluated and saved.
      keep_checkpoints: how many of the latest are kept, beside the best on the validation split.
      deterministic: whether a GPU computes the same bits each time, at the price of speed; a CPU and a TPU always do.
    """

    steps: int = 1000
    epochs: float = 0.0
    accumulation_steps: int = 1
    log_every: int = 20
    eval_every: int = 250
    checkpoint_every: int = 250
    keep_checkpoints: int = 2
    deterministic: bool = False

    def __post_init__(self):
        check(self, "steps", "log_every", "eval_every", "checkpoint_every", least=1, most=INT32_MAX)
        check(self, "epochs", least=0, most=1e6)
        check(self, "accumulation_steps", "keep_checkpoints", least=1, most=2**20)


@dataclasses.dataclass(frozen=True)
class ProfileConfig:
    """A profile of some training steps, for XProf.

    Attributes:
      steps: ``FIRST:LAST``, the steps to trace, both included; nothing for no profile.
    """

    steps: str = ""

    def __post_init__(self):
        if self.steps and (not re.fullmatch("[0-9]{1,10}:[0-9]{1,10}", self.steps) or not 1 <= self.first <= self.last):
            raise ConfigError(f"steps is {self.steps}; write FIRST:LAST, such as 10:15.")

    @property
    def first(self) -> int:
        """The first step to trace, counted from 1; 0 for none."""
        return int(self.steps.partition(":")[0] or 0)

    @property
    def last(self) -> int:
        """The last step to trace; 0 for none."""
        return int(self.steps.partition(":")[2] or 0)


TRACKERS: tuple[str, ...] = ("tensorboard", "wandb", "mlflow")


@dataclasses.dataclass(frozen=True)
class TrackingConfig:
    """Where people look at a run, beside metrics.jsonl, which is always written.

    Attributes:
      writers: any of `TRACKERS`; Weights & Biases and MLflow each need an extra: ``pip install "ramjax[wandb]"``.
      project: of Weights & Biases, the experiment of MLflow.
      name: of the run there; empty is the name of the run directory.
    """

    writers: tuple[str, ...] = ("tensorboard",)
    project: str = "ramjax"
    name: str = ""

    def __post_init__(self):
        if set(self.writers) - set(TRACKERS) or len(set(self.writers)) != len(self.writers):
            raise ConfigError(f"writers is {self.writers}; name any of {', '.join(TRACKERS)}, each once.")
        if not self.project:
            raise ConfigError("project is empty; name one, such as ramjax.")
