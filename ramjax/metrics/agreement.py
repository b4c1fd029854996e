"""Agreement of total scores: the sum over a hand's sites, or over the hands of a patient at a visit."""

import dataclasses
from collections.abc import Sequence

import numpy as np

from ramjax.metrics import scoring


@dataclasses.dataclass(frozen=True)
class Totals:
    """Total scores of hands or of patients. Totals of two scales whose rows are the same may be added.

    Attributes:
      pred, target: float64 (M,), sums of the predicted and the annotated scores over the same sites; NaN where there is
        no total.
      sites: int64 (M,), how many sites are known in both.
      hands: int64 (M,), how many hands with a total they come from.
      patients: str (M,), the patient's key, '' unknown.
      visits: str (M,), the visit's key, '' unknown.
    """

    pred: np.ndarray
    target: np.ndarray
    sites: np.ndarray
    hands: np.ndarray
    patients: np.ndarray
    visits: np.ndarray


@dataclasses.dataclass(frozen=True)
class TotalAgreement:
    """How well predicted totals agree with annotated ones, in points of the score.

    Attributes:
      n: how many pairs of totals.
      rmse, mae: root mean square and mean absolute difference.
      bias: mean of predicted less annotated.
      sd: standard deviation of the differences (ddof 1).
      limits_low, limits_high: limits of agreement, bias -/+ 1.96 sd.
        Source: Bland JM, Altman DG. Lancet 1986;1:307-10.
      pearson: correlation of the totals; NaN where either does not vary. It does not see bias or scale.
      icc: ICC(2,1), see `intraclass_correlation`.
    """

    n: int
    rmse: float
    mae: float
    bias: float
    sd: float
    limits_low: float
    limits_high: float
    pearson: float
    icc: float


def total_agreement(pred_totals: np.ndarray, target_totals: np.ndarray) -> TotalAgreement:
    """Compares totals (M,) pairwise; pairs with a NaN are left out. Values that need more pairs are NaN.

    Raises:
      ValueError: the totals do not pair up.
    """
    pred, target = np.asarray(pred_totals, np.float64), np.asarray(target_totals, np.float64)
    if pred.shape != target.shape or pred.ndim != 1:
        raise ValueError(f"Totals must pair up as (M,); got {pred.shape} predicted and {target.shape} annotated.")
    known = ~(np.isnan(pred) | np.isnan(target))
    pred, target = pred[known], target[known]
    n, nan = len(pred), float("nan")
    if not n:
        return TotalAgreement(0, *[nan] * 8)
    differences = pred - target
    bias, sd = float(differences.mean()), float(differences.std(ddof=1)) if n > 1 else nan
    return TotalAgreement(
        n=n,
        rmse=float(np.sqrt((differences**2).mean())),
        mae=float(np.abs(differences).mean()),
        bias=bias,
        sd=sd,
        limits_low=bias - 1.96 * sd,
        limits_high=bias + 1.96 * sd,
        pearson=float(np.corrcoef(pred, target)[0, 1]) if np.ptp(pred) and np.ptp(target) else nan,
        icc=intraclass_correlation(np.stack([pred, target], 1)),
    )


def intraclass_correlation(ratings: np.ndarray) -> float:
    """ICC(2,1): two-way random effects, absolute agreement, a single rater.

    With the mean squares between subjects B, between raters J and residual E of the two-way analysis of variance, it is
    (B - E) / (B + (k - 1) E + k (J - E) / n). At most 1; below 0 where raters agree less than by chance.
    Source: Shrout PE, Fleiss JL. Psychol Bull 1979;86:420-8.

    Args:
      ratings: float (n, k), subjects by raters.

    Returns:
      The correlation; NaN with fewer than two subjects or raters, or where nothing varies.
    """
    ratings = np.asarray(ratings, np.float64)
    n, k = ratings.shape
    if n < 2 or k < 2:
        return float("nan")
    centred = ratings - ratings.mean()
    of_subjects, of_raters = centred.mean(1, keepdims=True), centred.mean(0, keepdims=True)
    between = k * (of_subjects**2).sum() / (n - 1)
    raters = n * (of_raters**2).sum() / (k - 1)
    residual = ((centred - of_subjects - of_raters) ** 2).sum() / ((n - 1) * (k - 1))
    whole = between + (k - 1) * residual + k * (raters - residual) / n
    return float((between - residual) / whole) if whole else float("nan")


def hand_totals(
    pred: np.ndarray,
    target: np.ndarray,
    patients: Sequence[str] | np.ndarray,
    visits: Sequence[str] | np.ndarray,
    *,
    scale: str = "be",
    min_sites: int = 1,
) -> Totals:
    """Sums the scores of each hand over the sites that are known in both, so that both sums are over the same sites.

    Unknown sites add nothing, so the total of a hand with few known sites is small and not comparable with that of a
    whole hand. `sites` tells how many sites there are, and `min_sites` leaves out hands with fewer: 16 (BE) or 15 (JSN)
    keeps whole hands only.

    Args:
      pred, target: integers (N, 22) by hand and site of `anatomy.SITES`, -1 unknown. Sites that the scale does not
        grade are ignored.
      patients, visits: (N,) keys, '' unknown.
      scale: ``be`` (a whole hand has at most 80) or ``jsn`` (60).
      min_sites: a hand with fewer known sites has no total.

    Returns:
      One row a hand, in their order.

    Raises:
      ValueError: lengths or shapes differ, or scores lie outside the scale.
    """
    top, graded = scoring.scale_of(scale)
    pred, target = scoring.scores_of_sites("pred", pred, top), scoring.scores_of_sites("target", target, top)
    patients, visits = (np.asarray(keys).astype(str) for keys in (patients, visits))
    if not len(pred) == len(target) == len(patients) == len(visits):
        lengths = f"pred {len(pred)}, target {len(target)}, patients {len(patients)}, visits {len(visits)}"
        raise ValueError(f"Hands must be as many in all; got {lengths}.")
    pred, target = pred[:, graded], target[:, graded]
    known = (pred >= 0) & (target >= 0)
    sites = known.sum(1)
    there = sites >= max(min_sites, 1)
    sums = (np.where(there, np.where(known, scores, 0).sum(1), np.nan) for scores in (pred, target))
    return Totals(*sums, sites, there.astype(np.int64), patients, visits)


def patient_totals(hands: Totals, sides: Sequence[str] | np.ndarray) -> Totals:
    """Sums the totals of a patient's hands at a visit.

    A side with several radiographs at a visit counts once, with their mean. Hands without a total are left out, so a
    patient may have one hand or two; `hands` tells. Where more than two hands remain, because visits or sides are
    unknown, there is no total. A hand whose patient is unknown counts as a patient of its own.

    Args:
      hands: from `hand_totals`.
      sides: (N,) ``L`` or ``R``; '' unknown, which counts as a hand of its own.

    Returns:
      One row for each patient and visit, sorted, unknown patients last. The rows are the same for both scales.

    Raises:
      ValueError: there are not as many sides as hands.
    """
    sides = np.asarray(sides).astype(str)
    if len(sides) != len(hands.pred):
        raise ValueError(f"There are {len(hands.pred)} hands and {len(sides)} sides; expected as many.")
    of_patient: dict[tuple[str, str, int], dict[str, list[int]]] = {}
    for i, (patient, visit, side) in enumerate(zip(hands.patients, hands.visits, sides, strict=True)):
        key = (patient, visit, -1 if patient else i)
        of_patient.setdefault(key, {}).setdefault(side or f"unknown {i}", []).append(i)
    keys = sorted(of_patient, key=lambda key: (not key[0], key))
    rows = [_patient_total(hands, list(of_patient[key].values())) for key in keys]
    pred, target, sites, count = (np.array(column) for column in zip(*rows, strict=True)) if rows else [np.zeros(0)] * 4
    patients, visits = (np.array([key[part] for key in keys], str) for part in range(2))
    return Totals(pred, target, sites.astype(np.int64), count.astype(np.int64), patients, visits)


def _patient_total(hands: Totals, sides: list[list[int]]) -> tuple[float, float, int, int]:
    """Of the rows of each side."""
    there = [rows for side in sides if (rows := [i for i in side if hands.hands[i]])]
    pred, target = (sum(float(values[rows].mean()) for rows in there) for values in (hands.pred, hands.target))
    sites = sum(int(hands.sites[rows].max()) for rows in there)
    if not 1 <= len(there) <= 2:
        pred = target = float("nan")
    return pred, target, sites, len(there)
