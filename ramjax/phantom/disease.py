"""From a patient's severity to every site's erosion and narrowing, and their scores.

Definitions (van der Heijde D. J Rheumatol 1999;26:743-5 and 2000;27:261-3), made exact:

Bone erosion, BE. The *reach* of a lesion is its extent across the bone, in units of the width of the bone's end:
  1 discrete but clear, reach below 0.25; 2 larger, 0.25 to 0.5; 3 large, passing the imaginary middle of the bone,
  above 0.5. The lesions of a site add up, at most to 5; 5 is also the collapse of the joint surface (one lesion of
  grade 5).
Joint space narrowing, JSN, from the ratio of the joint's width to that patient's normal width there:
  0 normal, from 0.92; 1 focal or doubtful, 0.76 to 0.89; 2 general, more than half left, 0.53 to 0.74;
  3 general, less than half left, 0.15 to 0.47, or subluxation; 4 bony ankylosis or complete dislocation, 0.
  The gaps between the intervals separate neighbouring grades so clearly that no reader could confuse them.
Erosion labels. 90 is a lesion that any reader would report: a deep cortical break with a sharp rim. 50 is one that
  half of them would report: it removes less of the bone along the beam (below 0.62 of it), and its edge is soft.
  Only lesions of grade 1 and 2 are of that kind, and both kinds count in BE. Lesions away from the scored sites
  carry label 3.
"""

import dataclasses

import numpy as np

from ramjax import anatomy
from ramjax.phantom.cohort import Patient
from ramjax.phantom.config import Case, PhantomConfig, stream

REACH = ((0.10, 0.24), (0.27, 0.48), (0.53, 0.72))
"""Reach of lesions of grade 1, 2, 3: least and most."""

COLLAPSE_GRADE = 5

RATIO_KNOTS = (
    (0.0, 1.0),
    (0.999, 0.92),
    (1.0, 0.89),
    (1.999, 0.76),
    (2.0, 0.74),
    (2.999, 0.53),
    (3.0, 0.47),
    (3.999, 0.15),
    (4.0, 0.0),
)
"""Narrowing burden (its floor is the JSN grade) to the ratio of the remaining to the normal width."""

LABEL_90, LABEL_50, LABEL_OUTSIDE = 1, 2, 3

# How often a site is affected relative to the others: MCP 2, 3 and the wrist lead, IP and thumb trail. The
# order is that of early erosions in clinical experience; the numbers are chosen, not measured.
_EROSION_PRONE = {
    "MCP-T": 0.8, "MCP-I": 1.25, "MCP-M": 1.2, "MCP-R": 0.85, "MCP-S": 1.0,
    "PIP-I": 0.85, "PIP-M": 1.0, "PIP-R": 0.9, "PIP-S": 0.8,
    "IP": 0.75, "CMC-T": 0.75, "Tm": 0.75, "S": 1.0, "L": 0.95, "R": 0.9, "U": 1.2,
}  # fmt: skip
_NARROWING_PRONE = {
    "MCP-T": 0.75, "MCP-I": 1.1, "MCP-M": 1.1, "MCP-R": 0.9, "MCP-S": 0.9,
    "PIP-I": 0.85, "PIP-M": 0.95, "PIP-R": 0.9, "PIP-S": 0.85,
    "CMC-M": 1.05, "CMC-R": 1.0, "CMC-S": 0.9, "STT": 0.85, "SC": 1.1, "SR": 1.15,
}  # fmt: skip

_OUTSIDE_BONES = (
    "Capitate",
    "Hamate",
    "PisiformTriquetrum",
    "Trapezoid",
    "MC2",
    "MC3",
    "MC4",
    "MC5",
    "MP2",
    "MP3",
    "MP4",
    "MP5",
)
"""Bones with unscored places to erode: the carpals that the score leaves out, metacarpal bases, heads of the middle
phalanges.
"""


@dataclasses.dataclass(frozen=True)
class LesionPlan:
    """A lesion to be.

    Attributes:
      site: index in `anatomy.SITES`, or -1 outside the scored sites.
      bone: name in `anatomy.BONES`.
      slot: the lesion's number on its bone end; chooses the spot, the same at every visit.
      grade: what it adds to the site's BE: 1, 2, 3, or 5 for a collapse.
      reach: depth across the bone relative to the width of the bone's end.
      label: 1, 2 or 3 of `anatomy.EROSION_LABELS`.
      loss: share of the bone along the beam that is gone, 0 to 1.
      pocket: lies within the bone behind a sclerotic rim rather than at its edge.
    """

    site: int
    bone: str
    slot: int
    grade: int
    reach: float
    label: int
    loss: float
    pocket: bool


@dataclasses.dataclass(frozen=True)
class Disease:
    """What the disease has done to one hand at one visit.

    Attributes:
      be: int (22,), 0-5, -1 where not scored; the grades of the site's lesions add up to it.
      jsn: int (22,), 0-4, -1 where not scored.
      ratio: float (22,), remaining share of the joint space, 1 to 0; 1 where not scored.
      dislocated: bool (22,): a JSN of 4 by dislocation, otherwise it is ankylosis.
      subluxed: bool (22,): a JSN of 3 or 4 with a shift of the distal bone.
      lesions: the lesions, scored and not.
      swelling: float (22,), soft-tissue swelling, 0 to 1.
      drift: ulnar deviation of the fingers at the MCP joints, degrees.
      collapse: loss of carpal height, 0 to 0.12.
      osteopenia: periarticular loss of trabecular density, 0 to 0.5.
    """

    be: np.ndarray
    jsn: np.ndarray
    ratio: np.ndarray
    dislocated: np.ndarray
    subluxed: np.ndarray
    lesions: tuple[LesionPlan, ...]
    swelling: np.ndarray
    drift: float
    collapse: float
    osteopenia: float


def disease_of(config: PhantomConfig, case: Case, patient: Patient) -> Disease:
    """Returns one hand's disease; with severity 0 there is none.

    Every site's burden grows with severity by a factor that the patient keeps, so that a later visit never scores
    lower. Sites share a patient's factor over both hands and a hand's factor over its sites.
    """
    both = stream(config, "disease", case.patient)
    hand = stream(config, "disease", case.patient, side=case.side)
    shared, region = both.normal(size=(2, anatomy.NUM_SITES)), both.normal(size=3)
    own, of_hand = hand.normal(size=(2, anatomy.NUM_SITES)), hand.normal()
    regions = np.array([("MCP", "PIP", "wrist").index(site.region) for site in anatomy.SITES])
    common = 0.35 * region[regions] + 0.45 * shared[0] + 0.12 * of_hand
    prone_be = np.array([_EROSION_PRONE.get(name, 0.0) for name in anatomy.SITE_NAMES])
    prone_jsn = np.array([_NARROWING_PRONE.get(name, 0.0) for name in anatomy.SITE_NAMES])
    be_burden = _burden(patient.severity, prone_be, common + 0.55 * own[0], 3.6)
    jsn_burden = _burden(patient.severity, prone_jsn, common + 0.3 * shared[1] + 0.45 * own[1], 3.7)

    has_be = np.array([site.be for site in anatomy.SITES])
    has_jsn = np.array([site.jsn for site in anatomy.SITES])
    be = np.where(has_be, np.minimum(be_burden.astype(int), anatomy.BE_MAX), -1)
    jsn = np.where(has_jsn, np.minimum(jsn_burden.astype(int), anatomy.JSN_MAX), -1)
    knots, values = zip(*RATIO_KNOTS, strict=True)
    ratio = np.where(has_jsn, np.interp(np.minimum(jsn_burden, 4.0), knots, values), 1.0)
    finger = regions < 2
    tendency = hand.random(anatomy.NUM_SITES)
    dislocated = finger & (jsn == 4) & (tendency < 0.5)
    subluxed = dislocated | (finger & (jsn == 3) & (tendency < 0.3))
    extent = min(patient.severity, 2.0)
    swelling = np.clip(0.18 * np.maximum(be_burden, jsn_burden) + 0.12 * extent, 0.0, 1.0) * (extent > 0)
    drift = float(np.clip(hand.gamma(1.5, 12.0) * (extent - 0.45), 0.0, 40.0))
    return Disease(
        be=be,
        jsn=jsn,
        ratio=ratio,
        dislocated=dislocated,
        subluxed=subluxed,
        lesions=_lesions(stream(config, "lesions", case.patient, side=case.side), be_burden, be, patient.severity),
        swelling=swelling,
        drift=drift,
        collapse=0.07 * float(np.clip(extent - 0.5, 0.0, 1.5)),
        osteopenia=float(np.clip(0.25 * extent, 0.0, 0.45)),
    )


def _burden(severity: float, prone: np.ndarray, spread: np.ndarray, gain: float) -> np.ndarray:
    """Returns continuous burdens (22,) >= 0, increasing in severity; the floor is the score. A site wakes at a
    threshold of activity.
    """
    activity = severity * prone * np.exp(spread)
    return gain * np.log1p(np.maximum(activity - 0.33, 0.0))


def _lesions(rng: np.random.Generator, burden: np.ndarray, be: np.ndarray, severity: float) -> tuple[LesionPlan, ...]:
    """Plans the lesions. Each site has its own order in which lesions appear and grow, so a later visit continues
    the earlier one.
    """
    plans = []
    for site in anatomy.BE_SITES:
        # All draws are made whatever the burden: the stream, and with it every other site, stays the same at the
        # next visit.
        order, collapses = rng.choice(3, size=anatomy.BE_MAX, p=(0.6, 0.28, 0.12)), rng.random() < 0.25
        fractions, certainty, pocket, bones = rng.random(3), rng.random(3), rng.random(3), rng.random(3)
        if be[site] == anatomy.BE_MAX and collapses:
            bone = anatomy.SITES[site].bones[0]
            plans.append(LesionPlan(site, bone, 3, COLLAPSE_GRADE, 0.8, LABEL_90, 0.72, False))
            continue
        grades, entered = np.zeros(3, int), np.zeros(3)
        for step in range(max(int(be[site]), 0)):
            lesion = next(k for k in np.roll(np.arange(3), -int(order[step])) if grades[k] < 3)
            grades[lesion] += 1
            entered[lesion] = step + 1
        for lesion in np.flatnonzero(grades):
            grade = int(grades[lesion])
            grown = 1.0 - np.exp(entered[lesion] - burden[site])
            low, high = REACH[grade - 1]
            reach = low + (high - low) * (
                0.15 + 0.6 * fractions[lesion] + (0.85 - 0.6 * fractions[lesion]) * 0.6 * grown
            )
            faint = certainty[lesion] < (0.4, 0.2, 0.0)[grade - 1]
            bone = anatomy.SITES[site].bones[int(len(anatomy.SITES[site].bones) == 2 and bones[lesion] < 0.3)]
            loss = 0.42 + 0.45 * certainty[lesion] if faint else 0.7 + 0.28 * certainty[lesion]
            label = LABEL_50 if faint else LABEL_90
            plans.append(
                LesionPlan(
                    site, bone, int(lesion), grade, float(reach), label, float(loss), bool(pocket[lesion] < 0.25)
                )
            )
    plans += _outside(rng, severity)
    return tuple(plans)


def _outside(rng: np.random.Generator, severity: float) -> list[LesionPlan]:
    """Plans lesions away from the scored sites; a bone has at most one."""
    order, threshold = rng.permutation(len(_OUTSIDE_BONES)), rng.random(len(_OUTSIDE_BONES))
    fraction, loss = rng.random(len(_OUTSIDE_BONES)), rng.uniform(0.65, 0.95, len(_OUTSIDE_BONES))
    chosen = [k for k in order if threshold[k] < 0.3 * (1.0 - np.exp(-severity))]
    return [
        LesionPlan(
            -1,
            _OUTSIDE_BONES[k],
            0,
            1,
            float(0.14 + 0.2 * fraction[k]),
            LABEL_OUTSIDE,
            float(loss[k]),
            bool(loss[k] < 0.73),
        )
        for k in chosen
    ]
