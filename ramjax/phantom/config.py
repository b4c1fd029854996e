"""The settings of a synthetic data set, its radiographs, and their streams of random numbers."""

import dataclasses

import numpy as np

FRAMINGS = ("hand", "wrist", "mixed")
SIDES = ("L", "R")

_PURPOSES = (
    "traits",
    "follow_up",
    "framing",
    "anatomy",
    "disease",
    "lesions",
    "pose",
    "soft_tissue",
    "texture",
    "exposure",
    "artefacts",
    "spots",
)
_SHARED = 255


@dataclasses.dataclass(frozen=True)
class PhantomConfig:
    """A synthetic data set.

    Attributes:
      patients: number of patients, each with both hands; >= 1.
      follow_up_fraction: share of patients with a second visit, 0 to 1.
      seed: every random choice is a function of it and the case.
      scale: linear size of the image, 0.1 to 1. At 1 a hand is 1431-1700 pixels high and 761-1300 wide at 0.15 or
        0.175 mm (the ranges of RAM-H1200) and a wrist 600 x 600 at 0.15 mm (RAM-W600); at 0.25 a quarter of that
        with pixels four times as large. The anatomy is the same at every scale.
      framing: ``hand``, ``wrist`` (about 90 x 90 mm around the carpus), or ``mixed`` (half of each).
    """

    patients: int
    follow_up_fraction: float = 0.0
    seed: int = 0
    scale: float = 1.0
    framing: str = "hand"

    def __post_init__(self):
        if self.patients < 1:
            raise ValueError(f"patients must be at least 1, got {self.patients}.")
        if not 0.0 <= self.follow_up_fraction <= 1.0:
            raise ValueError(f"follow_up_fraction must be in 0..1, got {self.follow_up_fraction}.")
        if self.seed < 0:
            raise ValueError(f"seed must not be negative, got {self.seed}.")
        if not 0.1 <= self.scale <= 1.0:
            raise ValueError(f"scale must be in 0.1..1, got {self.scale}.")
        if self.framing not in FRAMINGS:
            raise ValueError(f"framing must be one of {', '.join(FRAMINGS)}, got {self.framing!r}.")


@dataclasses.dataclass(frozen=True)
class Case:
    """One radiograph: `patient` counts from 0, `visit` is 0 or 1, `side` is ``L`` or ``R``."""

    patient: int
    visit: int
    side: str


def cases(config: PhantomConfig) -> tuple[Case, ...]:
    """Returns every radiograph of the set, ordered by patient, visit and side; both hands at each visit."""
    return tuple(
        Case(patient, visit, side)
        for patient in range(config.patients)
        for visit in range(visits(config, patient))
        for side in SIDES
    )


def visits(config: PhantomConfig, patient: int) -> int:
    """Returns 2 if the patient has a follow-up, else 1."""
    return 1 + int(stream(config, "follow_up", patient).random() < config.follow_up_fraction)


def stream(
    config: PhantomConfig, purpose: str, patient: int, visit: int | None = None, side: str | None = None
) -> np.random.Generator:
    """Returns the random stream of one purpose, a function of its arguments and the seed alone.

    For what stays the same in a patient, such as the anatomy, leave `visit` and `side` out; then it is equal in both
    hands and at both visits.
    """
    words = (
        config.seed,
        _PURPOSES.index(purpose),
        patient,
        _SHARED if visit is None else visit,
        _SHARED if side is None else SIDES.index(side),
    )
    return np.random.default_rng(np.random.SeedSequence(words))
