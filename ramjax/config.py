"""Typed configuration: a ConfigDict in, frozen dataclasses out. Nothing below the commands sees a ConfigDict.

Every key has a default, so an experiment states only what differs. An unknown or mistyped key is an error that names
its path.

To add a key, give it the default that means "as before this key existed": stored runs lack the key, and are read,
continued and used with its default. Never change a default later, because it is part of the meaning of stored runs. All
other defaults are the settings of the main job (experiments/multitask.py on a CPU). To rename a key, write its old path
into `ramjax.runs.stored_config.RENAMED`.
"""

import dataclasses
import keyword
import math
import re
from collections.abc import Mapping
from typing import Any, Literal

import ml_collections

from ramjax import anatomy
from ramjax.typed import ConfigError, build, check

OPERATIONAL: tuple[str, ...] = (
    "data.data_dir", "data.workers", "data.prefetch", "mesh.", "model.remat", "train.accumulation_steps",
    "train.log_every", "train.keep_checkpoints", "profile.", "evaluation.", "tracking.",
)  # fmt: skip
"""Beginnings of the keys that say where and how fast a run goes and how it is evaluated, not what is trained."""


def _is_dotted_path(text: str) -> bool:
    """Whether `text` can be ``package.module.Class``."""
    parts = text.split(".")
    return len(parts) > 1 and all(part.isidentifier() and not keyword.iskeyword(part) for part in parts)


def _check_width(name: str, width: int, below: int) -> None:
    """Raises ConfigError for a number of channels that group normalisation cannot divide into groups of 8."""
    if width < 1 or (width >= below and width % 8):
        raise ConfigError(f"{name} is {width}; it must be a multiple of 8, or 1 to {below - 1}.")


def _check_score_weights(name: str, weights: tuple[float, ...], top: int) -> None:
    """Raises ConfigError unless each score 0..top has a finite weight, 0 or above, and one is above 0."""
    if len(weights) != top + 1 or not all(0 <= weight < math.inf for weight in weights) or not any(weights):
        raise ConfigError(f"{name} is {weights}; give each score 0 to {top} one of 0 or above, not all of them 0.")


@dataclasses.dataclass(frozen=True)
class CanvasConfig:
    """The fixed shape every record is put on (see `ramjax.data.canvas`).

    Attributes:
      height, width: canvas size in pixels; multiples of the network's largest stride.
      sizing: ``fit`` scales the whole image to fit, ``scale`` multiplies the image by `scale`, ``spacing`` resamples to
        `mm_per_pixel` where the record's spacing is known and fits where it is not. What is larger than the canvas is
        cropped.
      scale: factor for ``scale``; ignored otherwise.
      mm_per_pixel: spacing for ``spacing``; ignored otherwise.
      mirror_left: mirror left hands so that every hand looks like a right one.
    """

    height: int = 448
    width: int = 320
    sizing: Literal["fit", "scale", "spacing"] = "fit"
    scale: float = 1.0
    mm_per_pixel: float = 0.6
    mirror_left: bool = True

    def __post_init__(self):
        check(self, "height", "width", "scale", "mm_per_pixel", above=0)


@dataclasses.dataclass(frozen=True)
class AugmentConfig:
    """Random changes of a training canvas; each is drawn uniformly from its range. Zeros switch one off.

    Attributes:
      rotation: at most this many degrees either way.
      scale: the canvas is magnified by a factor in [1 / (1 + scale), 1 + scale], log-uniform.
      shift: at most this fraction of the canvas size either way.
      stretch: at most this relative change of the aspect ratio.
      wrist_crop: probability of keeping only a wrist-sized window, the rest marked as padding.
      mirror: probability of mirroring, the side swapped with it (the anatomy then is that of the other hand).
      contrast: slope of the grey curve at mid grey in [1 / (1 + contrast), 1 + contrast], log-uniform; slow variation
        over the image weakened to as little as 1 / (1 + contrast).
      brightness: black is raised or white lowered by at most this (0-1), and about as much of a slow gradient added.
      gamma: exponent in [1 / (1 + gamma), 1 + gamma], log-uniform.
      noise: standard deviation of added Gaussian noise, drawn in [0, noise], grey values 0-1.
      blur: standard deviation of a Gaussian blur, drawn in [0, blur] canvas pixels; half the time it sharpens instead.
      erase: probability of drawing a few bars, discs or letters of one grey value (markers, rulers, bandages).
    """

    rotation: float = 15.0
    scale: float = 0.25
    shift: float = 0.06
    stretch: float = 0.08
    wrist_crop: float = 0.15
    mirror: float = 0.0
    contrast: float = 0.4
    brightness: float = 0.1
    gamma: float = 0.5
    noise: float = 0.03
    blur: float = 0.8
    erase: float = 0.2

    def __post_init__(self):
        check(self, "wrist_crop", "mirror", "erase", "shift", "brightness", least=0, most=1)
        check(self, "rotation", "scale", "contrast", "gamma", "noise", "blur", least=0)
        check(self, "stretch", least=0, most=0.9)


@dataclasses.dataclass(frozen=True)
class DataConfig:
    """Where records come from and how they are batched.

    Attributes:
      datasets: one or more builders of `tfds_builders`, each with its config: ``ram_phantom/small``; or a package of
        your own by its dotted path, ``my_lab.films``. Training mixes them; evaluation reports each separately. The
        splits below exist in each of them.
      weights: one for each of `datasets`: training draws examples in this proportion, whatever the sizes of the data
        sets.
      crops: how many canvases training takes of a record each time it is read. More than 1 saves reading where the
        canvas shows a small part of the record. Divides `batch_size`.
      data_dir: folder of prepared data sets; ``~`` is expanded.
      train_split, validation_split, test_split: TFDS split names or slices (``train[:8]``).
      batch_size: examples a training step, over all devices and hosts.
      eval_batch_size: examples an evaluation step, over all devices and hosts.
      workers: processes that decode and augment; 0 uses threads. Batches are the same for any number.
      prefetch: batches kept ready.
    """

    datasets: tuple[str, ...] = ("ram_phantom/small",)
    weights: tuple[float, ...] = (1.0,)
    crops: int = 1
    data_dir: str = "data"
    train_split: str = "train"
    validation_split: str = "validation"
    test_split: str = "test"
    batch_size: int = 4
    eval_batch_size: int = 8
    workers: int = 0
    prefetch: int = 4
    canvas: CanvasConfig = CanvasConfig()
    augment: AugmentConfig = AugmentConfig()

    def __post_init__(self):
        check(self, "batch_size", "eval_batch_size", "prefetch", "crops", above=0)
        check(self, "workers", least=0)
        if not self.datasets or len(set(self.datasets)) != len(self.datasets):
            raise ConfigError(f"datasets is {self.datasets}; name one or more, each once.")
        if len(self.weights) != len(self.datasets) or not all(0 < w < math.inf for w in self.weights):
            raise ConfigError(f"weights is {self.weights}; give each of {', '.join(self.datasets)} one above 0.")
        if self.batch_size % self.crops:
            raise ConfigError(f"crops is {self.crops}; it must divide batch_size, which is {self.batch_size}.")

    @property
    def names(self) -> tuple[str, ...]:
        """What each data set is called in the metrics: without its config, unless two are of the same builder."""
        builders = [dataset.partition("/")[0] for dataset in self.datasets]
        return tuple(
            builder if builders.count(builder) == 1 else dataset
            for builder, dataset in zip(builders, self.datasets, strict=True)
        )


@dataclasses.dataclass(frozen=True)
class ModelConfig:
    """The shared network (see `ramjax.models.network`).

    Attributes:
      encoder: ``residual``, or ``package.module.Class`` for an encoder of your own (see `ramjax.models.encoder`).
      stem_stride: 1, 2 or 4: the stride of the first pyramid level.
      widths: channels of the pyramid levels, two or more, finest first; each level halves the resolution of the one
        before. Every width of the network is a multiple of 8, or so small that it is one group of channels.
      blocks: residual blocks of each level.
      decoder_width: channels of the dense features, at the stride of the first level.
      dtype: of activations; parameters, gradients and the optimiser's state are float32.
      remat: what the backward pass computes again instead of keeping it: ``none``; ``activations``, everything within a
        block except the results of its convolutions; ``blocks``, everything within a block, which needs the least
        memory.
    """

    encoder: str = "residual"
    stem_stride: int = 4
    widths: tuple[int, ...] = (32, 64, 96, 128, 160)
    blocks: tuple[int, ...] = (0, 1, 2, 2, 2)
    decoder_width: int = 32
    dtype: Literal["float32", "bfloat16"] = "float32"
    remat: Literal["none", "activations", "blocks"] = "none"

    def __post_init__(self):
        if self.encoder != "residual" and not _is_dotted_path(self.encoder):
            raise ConfigError(f"encoder is {self.encoder}; use residual, or package.module.Class for one of your own.")
        if self.stem_stride not in (1, 2, 4):
            raise ConfigError(f"stem_stride is {self.stem_stride}; use 1, 2 or 4.")
        if len(self.widths) < 2:
            raise ConfigError(f"widths is {self.widths}; the pyramid needs two levels or more.")
        if len(self.widths) != len(self.blocks):
            raise ConfigError(f"blocks is {self.blocks}; it must be as long as widths, which is {self.widths}.")
        for level, (width, blocks) in enumerate(zip(self.widths, self.blocks, strict=True)):
            _check_width(f"widths[{level}]", width, below=16)
            if blocks < 0:
                raise ConfigError(f"blocks[{level}] is {blocks}; it must be 0 or above.")
        _check_width("decoder_width", self.decoder_width, below=16)

    @property
    def max_stride(self) -> int:
        """The coarsest pyramid level's stride in canvas pixels."""
        return self.stem_stride * 2 ** (len(self.widths) - 1)


@dataclasses.dataclass(frozen=True)
class TaskConfig:
    """What the settings of every task have.

    Attributes:
      weight: multiplies the loss of the task; 0 or above.
    """

    weight: float = 1.0

    def __post_init__(self):
        check(self, "weight", least=0)


@dataclasses.dataclass(frozen=True)
class BonesConfig(TaskConfig):
    """Bone instances: 30 sigmoids."""

    weight: float = 2.0


@dataclasses.dataclass(frozen=True)
class ErosionsConfig(TaskConfig):
    """Erosion labels.

    Attributes:
      variant: ``labels`` is a softmax over the 4 labels, ``svdh90`` tells SvdH-BE-90 from the rest.
      positive_weight: weight of an erosion pixel relative to a background pixel in the cross entropy.
    """

    weight: float = 6.0
    variant: Literal["labels", "svdh90"] = "labels"
    positive_weight: float = 10.0

    def __post_init__(self):
        super().__post_init__()
        check(self, "positive_weight", least=0)


@dataclasses.dataclass(frozen=True)
class JointsConfig(TaskConfig):
    """Joint sites: a heatmap a site with offset and size.

    Attributes:
      sigma: standard deviation of a target peak, in pixels of the heatmap.
    """

    weight: float = 0.3
    sigma: float = 1.0

    def __post_init__(self):
        super().__post_init__()
        check(self, "sigma", above=0)


@dataclasses.dataclass(frozen=True)
class ScoresConfig(TaskConfig):
    """Scores of the sites.

    Attributes:
      ordinal: ``thresholds`` (independent), ``coral`` (shared weights, ordered biases) or ``softmax``.
      roi_size: side of the square sampled from the canvas, in samples; a multiple of 4.
      roi_margin: the box is enlarged by this factor before it is sampled.
      jitter: in training the annotated box moves and grows by at most this fraction of its side.
      width: channels of the head.
      be_weights, jsn_weights: weight of a site in the loss, by its score 0 to 5 and 0 to 4, so that rare scores can
        count more; 0 leaves a score out. The loss is the weighted mean.
    """

    weight: float = 1.5
    ordinal: Literal["thresholds", "coral", "softmax"] = "thresholds"
    roi_size: int = 32
    roi_margin: float = 1.0
    jitter: float = 0.1
    width: int = 32
    be_weights: tuple[float, ...] = (1.0,) * (anatomy.BE_MAX + 1)
    jsn_weights: tuple[float, ...] = (1.0,) * (anatomy.JSN_MAX + 1)

    def __post_init__(self):
        super().__post_init__()
        _check_score_weights("be_weights", self.be_weights, anatomy.BE_MAX)
        _check_score_weights("jsn_weights", self.jsn_weights, anatomy.JSN_MAX)
        check(self, "roi_size", "roi_margin", above=0)
        if self.roi_size % 4:
            raise ConfigError(f"roi_size is {self.roi_size}; it must be a multiple of 4.")
        check(self, "jitter", least=0, most=1)
        _check_width("width", self.width, below=8)


@dataclasses.dataclass(frozen=True)
class PatientConfig(TaskConfig):
    """Sex and age of the patient, from the image.

    Attributes:
      sex_weight, age_weight: factors of the two terms of the loss; 0 leaves one out.
    """

    sex_weight: float = 1.0
    age_weight: float = 1.0

    def __post_init__(self):
        super().__post_init__()
        check(self, "sex_weight", "age_weight", least=0)


@dataclasses.dataclass(frozen=True)
class OptimizerConfig:
    """AdamW with warmup and cosine decay.

    Attributes:
      learning_rate: at the end of the warmup.
      warmup_steps: of linear rise from 0.
      final_fraction: of the learning rate, at the last step.
      weight_decay: of all but biases and scales.
      clip_norm: global norm the gradient is clipped to.
      ema_decay: of the averaged parameters used in evaluation; 0 switches averaging off.
    """

    learning_rate: float = 3e-3
    warmup_steps: int = 50
    final_fraction: float = 0.01
    weight_decay: float = 1e-4
    clip_norm: float = 1.0
    ema_decay: float = 0.99

    def __post_init__(self):
        check(self, "learning_rate", "clip_norm", above=0)
        check(self, "warmup_steps", "weight_decay", least=0)
        check(self, "final_fraction", "ema_decay", least=0, most=1)
        if self.ema_decay == 1:
            raise ConfigError("ema_decay is 1.0, which never takes a parameter in; it must be below 1.")


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
                check(self, name, above=0)
        left = [name for name, size in sizes.items() if size == -1]
        if len(left) > 1:
            raise ConfigError(f"{' and '.join(left)} are -1; only one axis can take the devices that are left.")
        check(self, "split_from", least=0)
        for rule in self.rules:
            pattern, found, axis = rule.rpartition("=")
            try:
                re.compile(pattern)
            except re.error as error:
                raise ConfigError(f"rules has {rule!r}, whose pattern is no regular expression ({error}).") from error
            if not found or not pattern or not (axis == "none" or axis.isdecimal()):
                raise ConfigError(f"rules has {rule!r}; write PATTERN=AXIS, such as 'heads/.*=none' or 'kernel$=3'.")


@dataclasses.dataclass(frozen=True)
class TrainConfig:
    """The loop.

    Attributes:
      steps: optimiser steps.
      accumulation_steps: each batch is processed in this many parts, to save memory; the gradient is that of the whole
        batch.
      log_every, eval_every, checkpoint_every: in steps; the last step is always logged, evaluated and saved.
      keep_checkpoints: how many of the latest are kept, beside the best on the validation split.
    """

    steps: int = 1000
    accumulation_steps: int = 1
    log_every: int = 20
    eval_every: int = 250
    checkpoint_every: int = 250
    keep_checkpoints: int = 2

    def __post_init__(self):
        check(self, "steps", "accumulation_steps", "log_every", above=0)
        check(self, "eval_every", "checkpoint_every", "keep_checkpoints", above=0)


@dataclasses.dataclass(frozen=True)
class ProfileConfig:
    """A profile of some training steps, for XProf.

    Attributes:
      steps: ``FIRST:LAST``, the steps to trace, both included; nothing for no profile.
    """

    steps: str = ""

    def __post_init__(self):
        if self.steps and (not re.fullmatch(r"\d+:\d+", self.steps) or not 1 <= self.first <= self.last):
            raise ConfigError(f"steps is {self.steps}; write FIRST:LAST, such as 10:15.")

    @property
    def first(self) -> int:
        """The first step to trace, counted from 1; 0 for none."""
        return int(self.steps.partition(":")[0] or 0)

    @property
    def last(self) -> int:
        """The last step to trace; 0 for none."""
        return int(self.steps.partition(":")[2] or 0)


@dataclasses.dataclass(frozen=True)
class EvaluationConfig:
    """The evaluation of the test split. Its keys may change when a run is evaluated again (``--mode=eval``).

    Attributes:
      grid: ``native`` measures on the radiograph's own pixels, ``square512`` on the whole of it stretched to 512 x 512,
        as the wrist papers do.
      tolerance: distance within which a boundary counts as near in the normalised surface Dice.
      unit: of the tolerance and of distances, ``px`` of the grid or ``mm``.
      overlap: share of a tile that the next one covers again, where the canvas shows a part of the radiograph.
      mirror: average with the prediction of the mirror image; for networks that have seen both sides.
      scales: factors at which the canvas is shown, averaged; one of at most 1.
      ensemble: run directories whose best checkpoints are averaged with this run's; of the same network and tasks.
    """

    grid: Literal["native", "square512"] = "native"
    tolerance: float = 2.0
    unit: Literal["px", "mm"] = "px"
    overlap: float = 0.5
    mirror: bool = False
    scales: tuple[float, ...] = (1.0,)
    ensemble: tuple[str, ...] = ()

    def __post_init__(self):
        check(self, "tolerance", least=0)
        check(self, "overlap", least=0, most=0.95)
        if not self.scales or not all(0 < scale < math.inf for scale in self.scales) or min(self.scales) > 1:
            raise ConfigError(f"scales is {self.scales}; give factors above 0, one of them at most 1.")


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


@dataclasses.dataclass(frozen=True)
class Config:
    """One experiment.

    Attributes:
      seed: of the initial parameters, the order of the data and all random numbers; 0 or above.
      tasks: the tasks that are trained, one or more, each once: names of `TASKS`, or ``package.module.Class`` for a
        task of your own.
      data, model: what the network sees, and the part of it that the tasks share.
      bones, erosions, joints, scores, patient: the settings of the tasks; only those in `tasks` matter.
      own: the settings of tasks of your own, by the task's short name: ``own.handedness.weight``. They are kept as they
        are, lists as tuples; whoever makes the task checks them.
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
    own: dict[str, dict[str, Any]] = dataclasses.field(default_factory=dict, hash=False)
    optimizer: OptimizerConfig = OptimizerConfig()
    mesh: MeshConfig = MeshConfig()
    train: TrainConfig = TrainConfig()
    profile: ProfileConfig = ProfileConfig()
    evaluation: EvaluationConfig = EvaluationConfig()
    tracking: TrackingConfig = TrackingConfig()

    def __post_init__(self):
        check(self, "seed", least=0)
        unknown = [task for task in self.tasks if task not in TASKS and not _is_dotted_path(task)]
        if unknown or not self.tasks or len(set(self.tasks)) != len(self.tasks):
            raise ConfigError(
                f"tasks is {self.tasks}; name one or more of {', '.join(TASKS)}, or of your own as "
                "package.module.Class, each once."
            )
        canvas, stride = self.data.canvas, self.model.max_stride
        for side in ("height", "width"):
            size = getattr(canvas, side)
            if size % stride:
                nearest = max(stride, round(size / stride) * stride)
                raise ConfigError(
                    f"data.canvas.{side} is {size}; the network needs a multiple of {stride}, such as {nearest}."
                )


TASKS: tuple[str, ...] = tuple(of.name for of in dataclasses.fields(Config) if isinstance(of.default, TaskConfig))
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
    return {key: value for key, value in flat(values).items() if not key.startswith(OPERATIONAL)}


def flat(values: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """The values of the nested dict of `to_dict` by path, such as ``data.canvas.height``."""
    result = {}
    for key, value in values.items():
        result |= flat(value, f"{prefix}{key}.") if isinstance(value, Mapping) else {prefix + key: value}
    return result
