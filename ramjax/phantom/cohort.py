"""The patients: sex, age, size, bone stock, and how severe their disease is at each visit."""

import dataclasses

import numpy as np

from ramjax.phantom.config import PhantomConfig, stream

RA_FRACTION = 0.72
"""Share of patients with simulated disease; the others score 0 at every site. Chosen so that enough sites score."""

FEMALE_FRACTION = 0.7
"""Rheumatoid arthritis is two to three times as frequent in women (textbook value)."""


@dataclasses.dataclass(frozen=True)
class Patient:
    """A patient at one visit.

    Attributes:
      sex: ``F`` or ``M``.
      age: years at the visit, 20 to 92.
      size: linear size of the skeleton relative to the adult mean of Buryanov and Kotiuk; women are 8-10 % smaller.
      severity: of the disease at the visit, 0 (none) upwards, rarely above 1.5; never falls from visit to visit.
      cortex: cortical thickness relative to a young adult's, about 0.5 to 1.1; thins with age, female sex and disease.
      density: trabecular density relative to a young adult's, about 0.5 to 1.2.
      stoutness: width of bones and soft tissue relative to their length, about 0.9 to 1.1.
    """

    sex: str
    age: float
    size: float
    severity: float
    cortex: float
    density: float
    stoutness: float


def patient_at(config: PhantomConfig, patient: int, visit: int) -> Patient:
    """Returns the patient's traits at a visit (0 or 1)."""
    rng = stream(config, "traits", patient)
    sex = "F" if rng.random() < FEMALE_FRACTION else "M"
    age = float(np.clip(rng.normal(56.0, 14.0), 20.0, 88.0))
    size = float(np.clip((0.955 if sex == "F" else 1.045) * rng.normal(1.0, 0.035), 0.85, 1.18))
    diseased = rng.random() < RA_FRACTION
    severity = float(diseased * (0.12 + rng.gamma(1.1, 0.45)))
    interval = float(rng.uniform(1.0, 5.0))
    progression = float(rng.gamma(1.2, 0.07) * interval)
    stock_cortex, stock_density = rng.normal(0.0, 0.06), rng.normal(0.0, 0.12)
    stoutness = float(np.clip(rng.normal(1.0, 0.04), 0.9, 1.1))
    if visit:
        age += interval
        severity += progression * diseased
    # The metacarpal index (cortex to width of the second metacarpal's shaft) falls from about 0.6 in young adults to
    # 0.4 in old age, a textbook value; women lose more.
    loss = (0.0035 if sex == "M" else 0.006) * max(age - 35.0, 0.0) + 0.12 * min(severity, 2.0)
    cortex = float(np.clip((1.0 if sex == "M" else 0.94) + stock_cortex - loss, 0.45, 1.15))
    density = float(np.clip(1.0 + stock_density - 1.1 * loss, 0.45, 1.25))
    return Patient(sex, age, size, severity, cortex, density, stoutness)
