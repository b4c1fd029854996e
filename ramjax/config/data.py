"""Settings of the data: where records come from, the canvas, augmentation."""

import dataclasses
from typing import Literal

from ramjax.typed import ConfigError, check

SIDE_MAX = 2**15
"""Of the canvas in pixels; a square of it has 2^30 pixels, which 32 bits can count."""


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
      detail: each canvas pixel also has ``detail`` x ``detail`` finer ones, 1 to 8, for heads that look closer than the
        encoder, which sees their mean (see `ScoresConfig`); with 1 there are none.
    """

    height: int = 448
    width: int = 320
    sizing: Literal["fit", "scale", "spacing"] = "fit"
    scale: float = 1.0
    mm_per_pixel: float = 0.6
    mirror_left: bool = True
    detail: int = 1

    def __post_init__(self):
        check(self, "detail", least=1, most=8)
        check(self, "height", "width", least=1, most=SIDE_MAX)
        check(self, "scale", "mm_per_pixel", above=0, most=1000)


@dataclasses.dataclass(frozen=True)
class AugmentConfig:
    """Random changes of a training canvas; each is drawn uniformly from its range. Zeros switch one off.

    Attributes:
      rotation: at most this many degrees either way.
      scale: the canvas is magnified by a factor in [1 / (1 + scale), 1 + scale], log-uniform.
      scale_error: probability of an error of published training code, whose ``RandomScale((1.0, 1.1))`` adds 1 to the
        factor: the canvas is magnified about its centre by a factor in [2, 2.1], uniform, beside all else.
      shift: at most this fraction of the canvas size either way.
      stretch: at most this relative change of the aspect ratio.
      wrist_crop: probability of keeping only a wrist-sized window, the rest marked as padding.
      mirror: probability of mirroring, the side swapped with it (the anatomy then is that of the other hand).
      contrast: slope of the grey curve at mid grey in [1 / (1 + contrast), 1 + contrast], log-uniform; slow variation
        over the image weakened to as little as 1 / (1 + contrast).
      brightness: black is raised or white lowered by at most this (0-1), and about as much of a slow gradient added.
      gamma: exponent in [1 / (1 + gamma), 1 + gamma], log-uniform.
      noise: standard deviation of added Gaussian noise, drawn in [0, noise], grey values 0-1.
      blur: standard deviation of a Gaussian blur, drawn in [0, blur] canvas pixels (finer ones with `detail`); half the
        time it sharpens instead.
      resample: half the time the canvas goes through pixels larger by a factor in [1, 1 + resample], log-uniform, as a
        film that was stored at a lower resolution; half of these are then sharpened.
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
    resample: float = 0.0
    scale_error: float = 0.0

    def __post_init__(self):
        check(self, "wrist_crop", "mirror", "erase", "shift", "brightness", "scale_error", least=0, most=1)
        check(self, "rotation", least=0, most=360)
        check(self, "scale", "contrast", "gamma", "noise", "blur", least=0, most=1000)
        check(self, "stretch", least=0, most=0.9)
        check(self, "resample", least=0, most=10)


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
      cache: ``none`` decodes the images of a record each time it is read; ``host`` decodes each split once and keeps it
        decoded on disk (6 bytes a pixel), from where all processes share it through memory: batches are the same.
        ``device`` keeps the training records on the devices, too, which then make the batches: the same but for
        rounding, and for the noise, which the devices draw.
      cache_dir: folder of what is kept decoded, best on a local disk; ``~`` is expanded, '' is beside the data set.
      cache_gigabytes: memory of each device that the records may take, never more than a third of what it has. Where
        all are more, they are split over the devices; where that does not suffice, the host makes the batches.
      train_split, validation_split, test_split: TFDS split names or slices (``train[:8]``).
      fraction: share of the patients of each `train_split` that are trained on; a smaller one is part of a larger one.
      labelled_fraction: share of these patients whose labels are known in training; the radiographs of the others are
        shown without any (see `TeacherConfig`). A smaller share is part of a larger one.
      other_hand: each example also shows the patient's other hand at the same visit, where there is one, for heads that
        compare the two (see `ScoresConfig`).
      batch_size: examples a training step, over all devices and hosts.
      eval_batch_size: examples an evaluation step, over all devices and hosts.
      workers: processes that decode and augment; 0 uses threads. Batches are the same for any number.
      prefetch: batches kept ready.
    """

    datasets: tuple[str, ...] = ("ram_phantom/small",)
    weights: tuple[float, ...] = (1.0,)
    crops: int = 1
    data_dir: str = "data"
    cache: Literal["none", "host", "device"] = "none"
    cache_dir: str = ""
    cache_gigabytes: float = 16.0
    train_split: str = "train"
    validation_split: str = "validation"
    test_split: str = "test"
    fraction: float = 1.0
    labelled_fraction: float = 1.0
    other_hand: bool = False
    batch_size: int = 4
    eval_batch_size: int = 8
    workers: int = 0
    prefetch: int = 4
    canvas: CanvasConfig = CanvasConfig()
    augment: AugmentConfig = AugmentConfig()

    def __post_init__(self):
        check(self, "batch_size", "eval_batch_size", "crops", least=1, most=2**20)
        check(self, "prefetch", least=1, most=2**16)
        check(self, "workers", least=0, most=1024)
        check(self, "cache_gigabytes", above=0, most=1e6)
        check(self, "fraction", "labelled_fraction", above=0, most=1)
        if not self.datasets or len(set(self.datasets)) != len(self.datasets):
            raise ConfigError(f"datasets is {self.datasets}; name one or more, each once.")
        if len(self.weights) != len(self.datasets) or not all(1e-6 <= w <= 1e6 for w in self.weights):
            raise ConfigError(
                f"weights is {self.weights}; give each of {', '.join(self.datasets)} one above 0, in 1e-6..1e6."
            )
        if not self.data_dir.strip():
            raise ConfigError("data_dir is empty; name a folder.")
        if self.batch_size % self.crops:
            raise ConfigError(f"crops is {self.crops}; it must divide batch_size, which is {self.batch_size}.")
        for key, wanted in (("canvas.detail", self.canvas.detail > 1), ("other_hand", self.other_hand)):
            if wanted and self.cache == "device":
                raise ConfigError(f"{key} is on, but cache is device, where only the host makes that; use cache=host.")

    @property
    def names(self) -> tuple[str, ...]:
        """What each data set is called in the metrics: without its config, unless two are of the same builder."""
        builders = [dataset.partition("/")[0] for dataset in self.datasets]
        return tuple(
            builder if builders.count(builder) == 1 else dataset
            for builder, dataset in zip(builders, self.datasets, strict=True)
        )
