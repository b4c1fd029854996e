"""Typed configuration: a ConfigDict in, frozen dataclasses out. Nothing below the commands sees a ConfigDict.

Used by everything above it.

Every key has a default, so an experiment states only what differs. An unknown or mistyped key is an error that names
its path.

To add a key, give it the default that means "as before this key existed": stored runs lack the key, and are read,
continued and used with its default. Never change a default later, because it is part of the meaning of stored runs. All
other defaults are the settings of the main job (experiments/multitask.py on a CPU). To rename a key, write its old path
into `ramjax.runs.stored_config.RENAMED`.
"""

import dataclasses
import math
from collections.abc import Mapping
from typing import Any

import ml_collections

from ramjax.config.balance import AffinityConfig, BalanceConfig
from ramjax.config.checks import is_dotted_path
from ramjax.config.data import AugmentConfig, CanvasConfig, DataConfig
from ramjax.config.evaluation import EvaluationConfig
from ramjax.config.model import ModelConfig
from ramjax.config.tasks import (
    BonesConfig,
    ErosionsConfig,
    JointsConfig,
    MaskTaskConfig,
    PatientConfig,
    PositioningConfig,
    ReconstructionConfig,
    ScoresConfig,
    TaskConfig,
)
from ramjax.config.training import (
    TRACKERS,
    InitConfig,
    MeshConfig,
    OptimizerConfig,
    ProfileConfig,
    TeacherConfig,
    TrackingConfig,
    TrainConfig,
)
from ramjax.typed import UINT32_MAX, ConfigError, build, check

__all__ = [
    "OPERATIONAL",
    "TASK_NAMES",
    "TRACKERS",
    "AffinityConfig",
    "AugmentConfig",
    "BalanceConfig",
    "BonesConfig",
    "CanvasConfig",
    "Config",
    "ConfigError",
    "DataConfig",
    "ErosionsConfig",
    "EvaluationConfig",
    "JointsConfig",
    "MaskTaskConfig",
    "MeshConfig",
    "ModelConfig",
    "OptimizerConfig",
    "PatientConfig",
    "PositioningConfig",
    "ProfileConfig",
    "ReconstructionConfig",
    "ScoresConfig",
    "TaskConfig",
    "TeacherConfig",
    "TrackingConfig",
    "TrainConfig",
    "by_path",
    "defaults",
    "from_config_dict",
    "from_dict",
    "to_dict",
    "trained",
]

OPERATIONAL: tuple[str, ...] = (
    "data.data_dir", "data.cache", "data.workers", "data.prefetch", "mesh.", "model.remat",
    "train.accumulation_steps", "train.log_every", "train.keep_checkpoints", "train.deterministic", "profile.",
    "affinity.", "evaluation.", "tracking.",
)  # fmt: skip
"""Beginnings of the keys that say where and how fast a run goes and how it is evaluated, not what is trained."""


@dataclasses.dataclass(frozen=True)
class Config:
    """One experiment.

    Attributes:
      seed: of the initial parameters, the order of the data and all random numbers; 0 to 2^32 - 1, as
        Grain and JAX take it.
      tasks: the tasks that are trained, one or more, each once: names of `TASK_NAMES`, or ``package.module.Class`` for
        a task of your own.
      data, model: what the network sees, and the part of it that the tasks share.
      bones, erosions, joints, scores, patient, positioning, reconstruction: the settings of the tasks; only those in
        `tasks` matter.
      own: the settings of tasks of your own, by the task's short name: ``own.handedness.weight``. They are kept as they
        are, lists as tuples; whoever makes the task checks them.
      balance: factors on the losses of the tasks, beside their weights.
      affinity: how much the tasks help each other, measured during the training.
      teacher: what is learned without labels, from the averaged network.
      init: what the parameters begin with.
      optimizer, mesh, train, profile: how it is trained, and on which devices.
      evaluation: how the test split is evaluated.
      tracking: where people look at the run.
    """

    seed: int = 0
    tasks: tuple[str, ...] = ("bones", "erosions", "joints", "scores")
    data: DataConfig = DataConfig()
    model: ModelConfig = ModelConfig()
    bones: BonesConfig = BonesConfig()
    erosions: ErosionsConfig = ErosionsConfig()
    joints: JointsConfig = JointsConfig()
    scores: ScoresConfig = ScoresConfig()
    patient: PatientConfig = PatientConfig()
    positioning: PositioningConfig = PositioningConfig()
    reconstruction: ReconstructionConfig = ReconstructionConfig()
    own: dict[str, dict[str, Any]] = dataclasses.field(default_factory=dict, hash=False)
    balance: BalanceConfig = BalanceConfig()
    affinity: AffinityConfig = AffinityConfig()
    teacher: TeacherConfig = TeacherConfig()
    init: InitConfig = InitConfig()
    optimizer: OptimizerConfig = OptimizerConfig()
    mesh: MeshConfig = MeshConfig()
    train: TrainConfig = TrainConfig()
    profile: ProfileConfig = ProfileConfig()
    evaluation: EvaluationConfig = EvaluationConfig()
    tracking: TrackingConfig = TrackingConfig()

    def __post_init__(self):
        check(self, "seed", least=0, most=UINT32_MAX)
        unknown = [task for task in self.tasks if task not in TASK_NAMES and not is_dotted_path(task)]
        if unknown or not self.tasks or len(set(self.tasks)) != len(self.tasks):
            raise ConfigError(
                f"tasks is {self.tasks}; name one or more of {', '.join(TASK_NAMES)}, or of your own as "
                "package.module.Class, each once."
            )
        for key, needs in (
            ("balance.method", self.balance.method != "fixed"),
            ("affinity.every", self.affinity.every),
            ("model.sharing", self.model.sharing != "hard"),
        ):
            if needs and len(self.tasks) < 2:
                group, _, name = key.partition(".")
                value = getattr(getattr(self, group), name)
                raise ConfigError(
                    f"{key} is {value}, but tasks has {self.tasks[0]} alone; name two or more, or leave {key} out."
                )
        averages = self.optimizer.ema_decay or self.optimizer.name == "schedule_free"
        if self.teacher.weight and not averages:
            raise ConfigError(
                f"teacher.weight is {self.teacher.weight:g}, but optimizer.ema_decay is 0, so that the teacher "
                "would be the student; set an ema_decay such as 0.99, or teacher.weight=0."
            )
        if "reconstruction" in self.tasks:
            self._check_reconstruction()
        if "scores" in self.tasks:
            self._check_scores()
        self._check_channels()
        levels = len(self.model.pyramid.widths)
        for task in ("bones", "erosions"):
            if getattr(self, task).deep_supervision and levels < 3:
                raise ConfigError(
                    f"{task}.deep_supervision is True, but model.encoder={self.model.encoder} has {levels} levels; it "
                    "needs 3 or more, the finest and the coarsest have none."
                )
        canvas, stride = self.data.canvas, self.model.max_stride
        for side in ("height", "width"):
            size = getattr(canvas, side)
            if size % stride:
                nearest = max(stride, round(size / stride) * stride)
                raise ConfigError(
                    f"data.canvas.{side} is {size}; the network (model.encoder={self.model.encoder}) needs a multiple "
                    f"of {stride}, such as {nearest}."
                )

    def _check_scores(self) -> None:
        scores, stride = self.scores, self.model.max_stride
        for task in scores.maps:
            if task not in self.tasks:
                raise ConfigError(
                    f"scores.maps is {scores.maps}, but tasks is {self.tasks}; name {task} in tasks, too, or not in "
                    "scores.maps."
                )
        if scores.source == "crops" and scores.crop_size % stride:
            nearest = max(stride, round(scores.crop_size / stride) * stride)
            raise ConfigError(
                f"scores.crop_size is {scores.crop_size}; the network (model.encoder={self.model.encoder}) needs a "
                f"multiple of {stride}, such as {nearest}."
            )
        if scores.attention == "hands" and not (self.data.other_hand and "joints" in self.tasks):
            lacking = "tasks has no joints, by which those of the other hand are found; name joints, too"
            if not self.data.other_hand:
                lacking = "data.other_hand is False; set it to True"
            raise ConfigError(f"scores.attention is hands, but {lacking}, or set scores.attention=hand.")

    def _check_channels(self) -> None:
        """What the further channels of the image cannot be combined with."""
        canvas = self.data.canvas
        for key, on in (("data.other_hand", self.data.other_hand), ("data.canvas.detail", canvas.detail > 1)):
            if on and canvas.sizing != "fit":
                raise ConfigError(
                    f"{key} is on, but data.canvas.sizing is {canvas.sizing}, by which films are shown in parts and "
                    "without further channels; set sizing=fit."
                )
        if canvas.detail > 1 and (self.evaluation.mirror or self.evaluation.scales != (1.0,)):
            raise ConfigError(
                f"data.canvas.detail is {canvas.detail}, but evaluation.mirror or evaluation.scales changes canvases "
                "without their finer pixels; set these to False and (1.0,)."
            )

    def _check_reconstruction(self) -> None:
        if self.teacher.weight:
            raise ConfigError("teacher.weight is above 0, but tasks has reconstruction alone, which takes no teacher.")
        canvas, patch = self.data.canvas, self.reconstruction.patch
        if canvas.height % patch or canvas.width % patch or canvas.height * canvas.width == patch**2:
            most = math.gcd(canvas.height, canvas.width)
            raise ConfigError(
                f"reconstruction.patch is {patch}, but data.canvas is {canvas.height} x {canvas.width}; use a divisor "
                f"of both sides, such as {most if canvas.height != canvas.width else most // 2}."
            )


TASK_NAMES: tuple[str, ...] = tuple(of.name for of in dataclasses.fields(Config) if isinstance(of.default, TaskConfig))
"""Names of the built-in tasks, which are those of their groups in `Config`, in this order."""


def defaults() -> ml_collections.ConfigDict:
    """Every key with its default. Experiments start from it, so that all keys can be set on the command line."""
    return ml_collections.ConfigDict(to_dict(Config()))


def from_config_dict(config: ml_collections.ConfigDict) -> Config:
    """Converts an experiment's ConfigDict; what it does not state has its default.

    Raises:
      ConfigError: a key is unknown, mistyped or out of range; the message names it.
    """
    return from_dict(config.to_dict())


def from_dict(values: dict[str, Any]) -> Config:
    """The inverse of `to_dict`, as `from_config_dict`; lists are taken for tuples, so that JSON round-trips."""
    return build(Config, values)


def to_dict(config: Config) -> dict[str, Any]:
    """Nested plain dict of the config, ready for JSON."""
    return dataclasses.asdict(config)


def trained(values: dict[str, Any]) -> dict[str, Any]:
    """The settings that decide what is trained: the values of `to_dict` by path, without `OPERATIONAL`."""
    return {key: value for key, value in by_path(values).items() if not key.startswith(OPERATIONAL)}


def by_path(values: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """The values of the nested dict of `to_dict` by path, such as ``data.canvas.height``."""
    result = {}
    for key, value in values.items():
        result |= by_path(value, f"{prefix}{key}.") if isinstance(value, Mapping) else {prefix + key: value}
    return result
