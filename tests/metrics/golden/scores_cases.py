"""Scores at the borders of every definition, for make_scores and the tests of scoring."""

import numpy as np

from ramjax import anatomy


def cases() -> dict[str, tuple[str, np.ndarray, np.ndarray]]:
    """Returns scale, pred and target, int64 (N, 22), by name."""
    rng = np.random.default_rng(7)
    made = {}
    for scale, (top, graded) in anatomy.SCALES.items():
        target = np.minimum(rng.geometric(0.5, (30, len(graded))) - 1, top)
        pred = np.clip(target + rng.integers(-2, 3, target.shape) * (rng.random(target.shape) < 0.4), 0, top)
        made[f"{scale} normal"] = (scale, pred, target)
        made[f"{scale} some unknown"] = (
            scale,
            np.where(rng.random(pred.shape) < 0.1, -1, pred),
            np.where(rng.random(pred.shape) < 0.3, -1, target),
        )
    zeros = np.zeros((4, 16), np.int64)
    positive = np.tile([1, 2, 0, 5], (16, 1)).T
    gap = rng.choice([0, 1, 5], (6, 16))
    one_of_each = -np.ones((2, 16), np.int64)
    one_of_each[0, 3] = 2
    made |= {
        "all zero": ("be", zeros, zeros),
        "all positive": ("be", np.abs(positive - 1) + 1, positive + 1 - positive // 5),
        "one class, wrong": ("be", zeros + 1, zeros),
        "one class predicted": ("be", zeros, positive),
        "one class annotated": ("be", positive, zeros),
        "predicted but never annotated": ("be", np.where(rng.random((6, 16)) < 0.2, 3, gap), gap),
        "gap in the middle": ("be", np.where(rng.random((6, 16)) < 0.3, np.roll(gap, 1), gap), gap),
        "perfect": ("be", positive, positive),
        "single sample, right": ("be", one_of_each, one_of_each),
        "single sample, wrong": ("be", np.where(one_of_each < 0, -1, 0), one_of_each),
        "all unknown": ("be", zeros, zeros - 1),
    }
    return {
        name: (scale, _at_sites(pred, scale), _at_sites(target, scale)) for name, (scale, pred, target) in made.items()
    }


def probabilities(pred: np.ndarray, scale: str) -> np.ndarray:
    """Probabilities float32 (N, 22, C) that lean to `pred`."""
    classes = anatomy.SCALES[scale][0] + 1
    rng = np.random.default_rng(8)
    weights = rng.random((*pred.shape, classes)) + 2 * (pred[..., None] == np.arange(classes))
    return (weights / weights.sum(-1, keepdims=True)).astype(np.float32)


def groups(scale: str) -> dict[str, list[int]]:
    """The sites of each row of the result, by hand."""
    be = {"MCP": [0, 1, 2, 3, 4], "PIP": [5, 6, 7, 8, 9], "wrist": [10, 11, 12, 13, 14, 15]}
    jsn = {"MCP": [0, 1, 2, 3, 4], "PIP": [5, 6, 7, 8], "wrist": [16, 17, 18, 19, 20, 21]}
    regions = {"be": be, "jsn": jsn}[scale]
    sites = [site for region in regions.values() for site in region]
    return {"pooled": sites, **regions, **{anatomy.SITE_NAMES[site]: [site] for site in sites}}


def _at_sites(scores: np.ndarray, scale: str) -> np.ndarray:
    whole = np.full((len(scores), anatomy.NUM_SITES), -1, np.int64)
    whole[:, anatomy.SCALES[scale][1]] = scores
    return whole
