"""Writes scores.json: what scikit-learn 1.9.1 and torchmetrics 1.9.0 (PyTorch on a CPU) make of `scores_cases`.

    python -m tests.metrics.golden.make_scores

``null`` is NaN. The published evaluators of RAM-H1200 (kappa, macro averages) and RAM-W600 (binary averages, odds
ratio) call these libraries; the odds ratio is their own formula.
"""

import json
import math
import pathlib
import warnings

import numpy as np
import torch
from sklearn import metrics as sklearn
from torchmetrics import classification

from ramjax import anatomy
from tests.metrics.golden import scores_cases


def measure(pred: np.ndarray, target: np.ndarray, probabilities: np.ndarray, classes: int) -> dict[str, float]:
    """Of scores (n,) and probabilities (n, classes), n at least 1."""
    p, t = torch.from_numpy(pred), torch.from_numpy(target)
    positive, called = (t > 0).long(), (p > 0).long()
    tn, fp, fn, tp = classification.BinaryConfusionMatrix()(called, positive).flatten().tolist()
    both = 0 < int(positive.sum()) < len(positive)
    labels = list(range(classes))
    varied = len(set(pred) | set(target)) > 1  # with labels= scikit-learn is NaN for one constant, too, but warns
    return {
        "qwk_rank": sklearn.cohen_kappa_score(target, pred, weights="quadratic"),
        "qwk": sklearn.cohen_kappa_score(target, pred, weights="quadratic", labels=labels) if varied else math.nan,
        "mae": float(np.abs(pred - target).mean()),
        "within_1": float((np.abs(pred - target) <= 1).mean()),
        "acc": classification.MulticlassAccuracy(classes, average="micro")(p, t).item(),
        "bacc": classification.MulticlassRecall(classes, average="macro")(p, t).item(),
        "f1_macro": classification.MulticlassF1Score(classes, average="macro")(p, t).item(),
        "pn_acc": classification.BinaryAccuracy()(called, positive).item(),
        "pn_f1": classification.BinaryF1Score()(called, positive).item(),
        "sensitivity": classification.BinaryRecall()(called, positive).item(),
        "specificity": classification.BinarySpecificity()(called, positive).item(),
        "dor": tp * tn / (fp * fn) if fp * fn else math.nan,
        "auroc": sklearn.roc_auc_score(positive, 1 - probabilities[:, 0].astype(float)) if both else math.nan,
        "auroc_of_scores": sklearn.roc_auc_score(positive, pred) if both else math.nan,
        "ece": classification.MulticlassCalibrationError(classes, n_bins=15)(torch.from_numpy(probabilities), t).item(),
        "brier": float(((probabilities.astype(float) - np.eye(classes)[target]) ** 2).sum(1).mean()),
        "bacc_of_annotated": sklearn.balanced_accuracy_score(target, pred),
        "f1_of_annotated": sklearn.f1_score(target, pred, labels=np.unique(target), average="macro", zero_division=0),
        "confusion": sklearn.confusion_matrix(target, pred, labels=labels).tolist(),
    }


def main() -> None:
    golden = {}
    for name, (scale, pred, target) in scores_cases.cases().items():
        probabilities = scores_cases.probabilities(pred, scale)
        golden[name] = {}
        for group, sites in scores_cases.groups(scale).items():
            known = (pred[:, sites] >= 0) & (target[:, sites] >= 0)
            if known.any():
                of_known = [values[:, sites][known] for values in (pred, target, probabilities)]
                values = measure(*of_known, anatomy.SCALES[scale][0] + 1)
                golden[name][group] = {
                    key: (None if math.isnan(value) else round(value, 9)) if isinstance(value, float) else value
                    for key, value in values.items()
                }
    path = pathlib.Path(__file__).with_name("scores.json")
    lines = [
        f"{json.dumps(name)}: {{\n" + ",\n".join(f"{json.dumps(g)}: {json.dumps(v)}" for g, v in groups.items()) + "\n}"
        for name, groups in golden.items()
    ]
    path.write_text("{\n" + ",\n".join(lines) + "\n}\n")


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    main()
