"""Published results that ours may stand beside, and when they may. Fractions, not percent.

Source of the rows: the tables of RAM-W600 (Yang et al., NeurIPS 2025, arXiv 2507.05193) as a public summary of the
paper repeats them, which has 6 of its 16 rows of segmentation and 4 of its 7 rows of scoring. No value of RAM-H1200
(arXiv 2605.05616) could be had.
"""

import math
from collections.abc import Mapping
from typing import Any

SOURCE = "published, arXiv 2507.05193"

W600_SEGMENTATION: dict[str, dict[str, float]] = {
    "SwinUMamba": {"dsc": 0.9775, "nsd": 0.9071, "voe": 0.0435, "msd": 1.06, "parameters": 59.89},
    "TransUNet": {"dsc": 0.9762, "nsd": 0.8948, "voe": 0.0460, "msd": 1.05, "parameters": 105.91},
    "UMambaEnc": {"dsc": 0.9756, "nsd": 0.8910, "voe": 0.0471, "msd": 1.11, "parameters": 4.58},
    "UNet++": {"dsc": 0.9733, "nsd": 0.8699, "voe": 0.0515, "msd": 1.36, "parameters": 2.41},
    "SAM, annotated boxes given": {"dsc": 0.8874, "nsd": 0.6440, "voe": 0.1845, "msd": 4.25, "parameters": 641.09},
    "MedSAM, annotated boxes given": {"dsc": 0.8507, "nsd": 0.3881, "voe": 0.2515, "msd": 5.97, "parameters": 93.74},
}
"""By model: means over the 124 test wrists, 14 bones, on the 512-square grid at 2 pixels; parameters in millions."""

W600_EROSION_PRESENCE: dict[str, dict[str, float]] = {
    "MobileViT": {"pn_bacc": 0.5264, "pn_f1": 0.1185, "dor": 1.82, "sensitivity": 0.2106, "specificity": 0.8423},
    "MedMamba": {"pn_bacc": 0.5083, "pn_f1": 0.0691, "dor": 5.89, "sensitivity": 0.0894, "specificity": 0.9273},
    "EfficientFormer": {"pn_bacc": 0.5063, "pn_f1": 0.1240, "dor": 1.06, "sensitivity": 0.2790, "specificity": 0.7337},
    "ConvKAN": {"pn_bacc": 0.4926, "pn_f1": 0.0349, "dor": 0.44, "sensitivity": 0.0382, "specificity": 0.9470},
}
"""By model: bone erosion score above 0, six sites pooled, on the official test wrists."""


def segmentation_rows(dataset: str, about: Mapping[str, Any]) -> tuple[dict[str, dict[str, float]], str]:
    """Published results of the bones that compare with an evaluation, and a sentence on what is or is not there.

    Args:
      dataset: name of the data set.
      about: of the evaluation: ``split``, ``grid``, ``tolerance`` and ``unit``.
    """
    if dataset != "ram_w600":
        return {}, _none(dataset)
    if about.get("split") != "test":
        return {}, f"The published results are of the test split, these of {about.get('split')}: none stand beside."
    same_grid = about.get("grid") == "square512" and about.get("unit") == "px"
    if not same_grid or not math.isclose(about.get("tolerance", math.nan), 2.0):
        return {}, (
            "The published results are of images stretched to 512 x 512, with 2 pixels of tolerance, where a pixel is "
            "another length than here: none stand beside. Evaluate on the grid square512 for that."
        )
    return W600_SEGMENTATION, (
        "Published rows are of the same test wrists, grid and tolerance, and compare with the compat rows. They are "
        "6 of the paper's 16, means over five seeded runs; of overlaps nothing was to be had."
    )


def erosion_presence_rows(dataset: str, about: Mapping[str, Any]) -> tuple[dict[str, dict[str, float]], str]:
    """The same of scores above 0 against 0."""
    if dataset != "ram_w600":
        return {}, _none(dataset)
    if about.get("split") != "test":
        return {}, f"The published results are of the test split, these of {about.get('split')}: none stand beside."
    return W600_EROSION_PRESENCE, (
        "Published rows are of the same test wrists and compare with the compat rows. They are 4 of the paper's 7 "
        "and hardly better than chance, as those networks were trained at a learning rate of 1e-6: to beat them is "
        "no proof of a good scorer."
    )


def _none(dataset: str) -> str:
    if dataset == "ram_phantom":
        return "These are synthetic hands: no published result is of them."
    if dataset == "ram_h1200":
        return "The published values of RAM-H1200 (arXiv 2605.05616) are not available here; their place is left empty."
    return f"No published results of {dataset} are known here."
