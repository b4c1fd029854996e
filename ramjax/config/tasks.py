"""Settings of the tasks."""

import dataclasses
from typing import ClassVar, Literal

from ramjax import anatomy
from ramjax.config.checks import check_width
from ramjax.config.losses import WEIGHT_MAX, parse_losses
from ramjax.typed import ConfigError, check


@dataclasses.dataclass(frozen=True)
class TaskConfig:
    """What the settings of every task have.

    Attributes:
      weight: multiplies the loss of the task; 0 to `WEIGHT_MAX`.
    """

    weight: float = 1.0

    def __post_init__(self):
        check(self, "weight", least=0, most=WEIGHT_MAX)


@dataclasses.dataclass(frozen=True)
class MaskTaskConfig(TaskConfig):
    """What the settings of the tasks with masks have (see `ramjax.losses`).

    Attributes:
      losses: each NAME or NAME=WEIGHT, such as ``("dice_bce", "boundary=0.01")``.
      deep_supervision: the decoder's coarser levels learn the masks, too, each with half the weight of the one before.
      focal_gamma: of ``focal``: how much less pixels count that are right already; 1 or above.
      tversky_beta: of ``tversky`` and ``focal_tversky``: what a missed pixel weighs, 0 to 1; a false one weighs the
        rest to 1.
    """

    losses: tuple[str, ...] = ()
    deep_supervision: bool = False
    focal_gamma: float = 2.0
    tversky_beta: float = 0.7

    exclusive: ClassVar[bool] = False
    """Whether the masks are labels that exclude each other, the first of them the background."""

    def __post_init__(self):
        super().__post_init__()
        parse_losses("losses", self.losses, exclusive=self.exclusive)
        check(self, "focal_gamma", least=1, most=100)
        check(self, "tversky_beta", least=0, most=1)

    @property
    def weighted_losses(self) -> tuple[tuple[str, float], ...]:
        """The names of the losses and their weights."""
        return parse_losses("losses", self.losses, exclusive=self.exclusive)


@dataclasses.dataclass(frozen=True)
class BonesConfig(MaskTaskConfig):
    """Bone instances: 30 sigmoids. The loss that it has by default is computed in one pass over the logits."""

    weight: float = 2.0
    losses: tuple[str, ...] = ("dice_squared", "bce_area")


@dataclasses.dataclass(frozen=True)
class ErosionsConfig(MaskTaskConfig):
    """Erosion labels.

    Attributes:
      variant: ``labels`` is a softmax over the 4 labels, ``svdh90`` tells SvdH-BE-90 from the rest.
      positive_weight: weight of an erosion pixel relative to a background pixel in ``ce``, ``bce``, ``mse`` and
        ``focal``.
    """

    weight: float = 6.0
    losses: tuple[str, ...] = ("ce", "dice_any")
    variant: Literal["labels", "svdh90"] = "labels"
    positive_weight: float = 10.0

    exclusive: ClassVar[bool] = True

    def __post_init__(self):
        super().__post_init__()
        check(self, "positive_weight", least=0, most=WEIGHT_MAX)


@dataclasses.dataclass(frozen=True)
class JointsConfig(TaskConfig):
    """Joint sites.

    Attributes:
      loss: ``heatmap``, a softmax over the cells and the absence of a site, with offset and size; ``offset``, each cell
        tells by itself if it is the centre, with offset and size; ``dsnt``, the mean place of a heatmap, with size (see
        `ramjax.tasks.joints.learning`).
      sigma: standard deviation of a target peak, in pixels of the heatmap.
    """

    weight: float = 0.3
    loss: Literal["heatmap", "offset", "dsnt"] = "heatmap"
    sigma: float = 1.0

    def __post_init__(self):
        super().__post_init__()
        check(self, "sigma", above=0, most=1000)


@dataclasses.dataclass(frozen=True)
class ScoresConfig(TaskConfig):
    """Scores of the sites.

    Attributes:
      ordinal: ``thresholds`` (independent), ``coral`` (shared weights, ordered biases), ``corn`` (a chain of
        conditions), ``softmax``, ``soft`` (softmax on labels that neighbours share) or ``distance`` (softmax whose
        misses cost more the farther they are); see `ramjax.tasks.scores.ordinal`.
      source: where a site's score is read: ``features``, in its square of the canvas and of the features that the tasks
        share; ``crops``, in its square of the canvas by itself, which goes through encoder and decoder (see
        `ramjax.tasks.scores.heads`).
      maps: tasks whose masks are further channels of the square, ``bones`` and ``erosions``; with ``features`` alone.
      attention: ``none`` grades each site by itself; ``hand`` lets the sites of a hand see each other; ``hands``, those
        of the patient's other hand too, which needs `DataConfig.other_hand` and the joints task.
      scales: those that are learned, ``be`` and ``jsn``; what is predicted on another means nothing.
      roi_size: side of the square sampled from the canvas, in samples; a multiple of 4.
      crop_size: with ``crops``, side of the square in pixels, a multiple of the largest stride of the encoder.
      roi_margin: the box is enlarged by this factor before it is sampled.
      jitter: in training the annotated box moves and grows by at most this fraction of its side.
      width: channels of the head.
      be_weights, jsn_weights: weight of a site in the loss, by its score 0 to 5 and 0 to 4, so that rare scores can
        count more; 0 leaves a score out. The loss is the weighted mean.
    """

    weight: float = 1.5
    ordinal: Literal["thresholds", "coral", "corn", "softmax", "soft", "distance"] = "thresholds"
    source: Literal["features", "crops"] = "features"
    maps: tuple[str, ...] = ()
    attention: Literal["none", "hand", "hands"] = "none"
    scales: tuple[str, ...] = tuple(anatomy.SCALES)
    roi_size: int = 32
    crop_size: int = 64
    roi_margin: float = 1.0
    jitter: float = 0.1
    width: int = 32
    be_weights: tuple[float, ...] = (1.0,) * (anatomy.BE_MAX + 1)
    jsn_weights: tuple[float, ...] = (1.0,) * (anatomy.JSN_MAX + 1)

    def __post_init__(self):
        super().__post_init__()
        _check_score_weights("be_weights", self.be_weights, anatomy.BE_MAX)
        _check_score_weights("jsn_weights", self.jsn_weights, anatomy.JSN_MAX)
        if not self.scales or set(self.scales) - set(anatomy.SCALES) or len(set(self.scales)) < len(self.scales):
            raise ConfigError(f"scales is {self.scales}; name be, jsn or both, each once.")
        check(self, "roi_size", "crop_size", least=1, most=4096)
        if set(self.maps) - {"bones", "erosions"} or len(set(self.maps)) < len(self.maps):
            raise ConfigError(f"maps is {self.maps}; name bones, erosions or both, each once.")
        if self.maps and self.source == "crops":
            raise ConfigError(
                f"maps is {self.maps}, but source is crops, whose encoder takes the image alone; set source=features, "
                "or leave maps out."
            )
        check(self, "roi_margin", above=0, most=1000)
        if self.roi_size % 4:
            raise ConfigError(f"roi_size is {self.roi_size}; it must be a multiple of 4.")
        check(self, "jitter", least=0, most=1)
        check_width("width", self.width, below=8)


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
        check(self, "sex_weight", "age_weight", least=0, most=WEIGHT_MAX)


@dataclasses.dataclass(frozen=True)
class PositioningConfig(TaskConfig):
    """Which side the canvas shows, and whether a whole hand or a wrist. Sides are learned from mirrored examples alone,
    so `data.augment.mirror` has to be above 0, and wrists from `data.augment.wrist_crop` or from wrist films."""

    weight: float = 0.3


@dataclasses.dataclass(frozen=True)
class ReconstructionConfig(TaskConfig):
    """Masked autoencoding: hidden patches of the image, from the others (see `ramjax.tasks.reconstruction`).

    Attributes:
      patch: side of a patch in canvas pixels; it divides both sides of the canvas.
      ratio: share of the patches that are hidden.
    """

    patch: int = 32
    ratio: float = 0.6

    def __post_init__(self):
        super().__post_init__()
        check(self, "patch", least=2, most=4096)
        check(self, "ratio", least=0.01, most=0.99)


def _check_score_weights(name: str, weights: tuple[float, ...], top: int) -> None:
    """Raises ConfigError unless each score 0..top has a weight of 0 to `WEIGHT_MAX`, and one is above 0."""
    if len(weights) != top + 1 or not all(0 <= weight <= WEIGHT_MAX for weight in weights) or not any(weights):
        raise ConfigError(
            f"{name} is {weights}; give each score 0 to {top} one in 0..{WEIGHT_MAX:g}, not all of them 0."
        )
