"""Published results, and which of our results they can be compared with. Fractions, not percent.

Source of the rows: the tables of RAM-W600 (Yang et al., NeurIPS 2025, arXiv 2507.05193) taken from a public summary of
the paper, which has 6 of its 16 rows of segmentation and 4 of its 7 rows of scoring. No values of RAM-H1200 (arXiv
2605.05616) were available.
"""

import dataclasses
from collections.abc import Mapping
from typing import Any


@dataclasses.dataclass(frozen=True)
class Published:
    """What is published beside a table.

    Attributes:
      rows: by model, values by name of the measure; a model without values is a placeholder for unknown ones.
      source: of the rows.
      sentence: on what is there, or why nothing is.
    """

    rows: dict[str, dict[str, float]]
    source: str
    sentence: str


_W600, _H1200 = "published, arXiv 2507.05193", "published, arXiv 2605.05616: not available here"

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


def builder(dataset: str) -> str:
    """The builder of a data set named with or without its config, such as ``ram_w600`` of ``ram_w600/bones``."""
    return dataset.partition("/")[0]


def segmentation(dataset: str, about: Mapping[str, Any]) -> Published:
    """Published results of the bones that compare with an evaluation.

    Args:
      dataset: name of the data set.
      about: of the evaluation: ``split`` and ``grid``.
    """
    if builder(dataset) != "ram_w600" or about.get("split") != "test":
        return other(dataset, about)
    if about.get("grid") != "square512":
        sentence = (
            "The published results are of images stretched to 512 x 512, where a pixel is another length than here: "
            "none stand beside. Evaluate on the grid square512 for that."
        )
        return Published({}, "", sentence)
    sentence = (
        "Published rows are of the same test wrists and grid, and compare with the compat rows. They are 6 of the "
        "paper's 16, means over five seeded runs; of overlaps nothing was to be had."
    )
    return Published(W600_SEGMENTATION, _W600, sentence)


def erosion_presence(dataset: str, about: Mapping[str, Any]) -> Published:
    """The same for scores above 0 against 0, which do not depend on a grid."""
    if builder(dataset) != "ram_w600" or about.get("split") != "test":
        return other(dataset, about)
    sentence = (
        "Published rows are of the same test wrists and compare with the compat rows. They are 4 of the paper's 7 and "
        "hardly better than chance, as those networks were trained at a learning rate of 1e-6: to beat them is no "
        "proof of a good scorer."
    )
    return Published(W600_EROSION_PRESENCE, _W600, sentence)


def other(dataset: str, about: Mapping[str, Any]) -> Published:
    """For data sets without published values."""
    if builder(dataset) == "ram_phantom":
        return Published({}, "", "These are synthetic hands: no published result is of them.")
    if about.get("split") != "test":
        return Published({}, "", f"Published results are of the test split, these of {about.get('split')}.")
    if builder(dataset) == "ram_h1200":
        sentence = (
            "The published values of RAM-H1200 (arXiv 2605.05616) are not available here; their row is left empty."
        )
        return Published({"RAM-H1200 paper": {}}, _H1200, sentence)
    return Published({}, "", f"No published results of this kind are known for {dataset}.")
