"""Writes masks.json: what the libraries of the published evaluators give for the cases of masks_cases.py.

    python tests/metrics/golden/make_masks.py

Needs the extra ``parity`` (MONAI 1.4 and PyTorch; masks.json says which versions wrote it). MONAI's metrics are called
as the published evaluators call them: without their treatment of a background, empty annotations ignored, surface Dice
at 2 pixels, surface distance symmetric. Recall, precision and RAVD, which no library gives, follow the definitions of
the published code. NaN is null, infinity is "inf".
"""

import json
import math
import pathlib
import sys
import warnings

import monai
import numpy as np
import torch
from monai.metrics import (
    DiceMetric,
    HausdorffDistanceMetric,
    MeanIoU,
    SurfaceDiceMetric,
    SurfaceDistanceMetric,
)

FOLDER = pathlib.Path(__file__).parent
sys.path.insert(0, str(FOLDER))
import masks_cases  # noqa: E402

SPACINGS = {"": None, "anisotropic": (0.5, 0.25)}


def of_planes(predicted: np.ndarray, annotated: np.ndarray, tolerance: float, spacing) -> dict[str, list[float]]:
    """The metrics of bool (H, W, K) planes, a list of K each."""
    p, a = (torch.from_numpy(np.moveaxis(x, -1, 0)[None].astype(np.float32)) for x in (predicted, annotated))
    count = predicted.shape[-1]
    surface = {} if spacing is None else {"spacing": spacing}
    values = {
        "dsc": DiceMetric(include_background=True, ignore_empty=True)(p, a),
        "iou": MeanIoU(include_background=True, ignore_empty=True)(p, a),
        "nsd": SurfaceDiceMetric([tolerance] * count, include_background=True)(p, a, **surface),
        "msd": SurfaceDistanceMetric(include_background=True, symmetric=True)(p, a, **surface),
        "hd95": HausdorffDistanceMetric(include_background=True, percentile=95)(p, a, **surface),
    }
    result = {name: value.numpy()[0].astype(float).tolist() for name, value in values.items()}
    result["voe"] = [1 - iou for iou in result["iou"]]
    both, found, there = (x.sum((0, 1)).astype(float) for x in (predicted & annotated, predicted, annotated))
    result["rec"], result["prec"] = (both / (there + 1e-8)).tolist(), (both / (found + 1e-8)).tolist()
    result["ravd"] = np.where(there > 0, np.abs(found - there) / np.maximum(there, 1), 0.0).tolist()
    return result


def plain(value):
    """Nested lists and dicts with NaN and infinity as JSON can hold them."""
    if isinstance(value, dict):
        return {key: plain(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [plain(inner) for inner in value]
    if math.isnan(value):
        return None
    return "inf" if math.isinf(value) else value


def aggregated(images: list[dict[str, list[float]]]) -> dict[str, list[float]]:
    """Mean and SD (ddof 1) over images of the mean over the finite classes of each, as the published summary has it."""
    result = {}
    for name in images[0]:
        of_images = []
        for image in images:
            finite = [value for value in image[name] if math.isfinite(value)]
            of_images.append(sum(finite) / len(finite) if finite else math.nan)
        finite = [value for value in of_images if math.isfinite(value)]
        result[name] = [float(np.mean(finite)), float(np.std(finite, ddof=1)), float(len(finite))]
    return result


def main() -> None:
    warnings.filterwarnings("ignore")
    cases = {
        name + (f", {kind}" if kind else ""): {
            metric: values[0]
            for metric, values in of_planes(
                *(mask[..., None] for mask in pair), 2.0 if not kind else 0.6, spacing
            ).items()
        }
        for name, pair in masks_cases.cases().items()
        for kind, spacing in SPACINGS.items()
    }
    images = [of_planes(*pair, 2.0, None) for pair in masks_cases.images()]
    content = {
        "versions": {"monai": monai.__version__, "torch": torch.__version__, "numpy": np.__version__},
        "cases": plain(cases),
        "images": plain(images),
        "aggregated": plain(aggregated(images)),
    }
    (FOLDER / "masks.json").write_text(json.dumps(content, indent=1) + "\n")


if __name__ == "__main__":
    main()
