"""Writes sliding_window.json: what MONAI 1.4.0 with PyTorch 2.13.0 on a CPU makes of the logits of the cases.

    python -m tests.evaluation.golden.make_sliding_window

The cases are in `sliding_window_cases`.
"""

import json
import pathlib

import numpy as np
import torch
from monai.inferers import sliding_window_inference

from tests.evaluation.golden import sliding_window_cases as cases


def predict(tiles: torch.Tensor) -> torch.Tensor:
    """(b, 1, h, w) to logits (b, 2, h, w)."""
    kernel = torch.from_numpy(cases.KERNEL.transpose(3, 2, 0, 1).copy())
    return torch.nn.functional.conv2d(tiles, kernel, padding=1) + torch.from_numpy(cases.PLACE).permute(2, 0, 1)


def main() -> None:
    golden = {}
    for name, size in cases.SIZES.items():
        image = torch.from_numpy(cases.image(size))[None, None]
        for overlap in cases.OVERLAPS:
            for blending in cases.BLENDINGS:
                maps = sliding_window_inference(
                    image, cases.TILE, 4, predict, overlap=overlap, mode=blending, sigma_scale=cases.SIGMA
                )
                maps = maps[0].permute(1, 2, 0).double().numpy()
                kept = maps[cases.KEPT]
                golden[cases.key(name, overlap, blending)] = {
                    "shape": list(maps.shape),
                    "sum": maps.sum((0, 1)).tolist(),
                    "kept": np.round(kept, 7).ravel().tolist(),
                }
    path = pathlib.Path(__file__).with_name("sliding_window.json")
    lines = [f"{json.dumps(key)}: {json.dumps(value)}" for key, value in golden.items()]
    path.write_text("{\n" + ",\n".join(lines) + "\n}\n")


if __name__ == "__main__":
    main()
