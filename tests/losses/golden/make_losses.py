"""Writes losses.json: values and gradients of the losses of MONAI and PyTorch for the cases of loss_cases.py.

    python tests/losses/golden/make_losses.py

Needs MONAI and PyTorch; losses.json says which versions wrote it. Means are taken over images and masks. Gradients are
given along the directions of loss_cases.py. In float64.
"""

import json
import pathlib
import sys

import monai
import numpy as np
import torch
from monai.losses import BoundaryLoss, DiceCELoss, DiceLoss, FocalLoss, SoftclDiceLoss, TverskyLoss

FOLDER = pathlib.Path(__file__).parent
sys.path.insert(0, str(FOLDER))
import loss_cases  # noqa: E402

SMOOTH = {"smooth_nr": 1.0, "smooth_dr": 1.0}


def each_alone(x: torch.Tensor) -> torch.Tensor:
    """(b, c, h, w) to (b c, 1, h, w)."""
    return x.reshape(-1, 1, *x.shape[2:])


def of_masks() -> dict:
    sigmoid = {"sigmoid": True, "include_background": True}
    tversky = TverskyLoss(**sigmoid, alpha=0.3, beta=0.7, smooth_nr=0.5, smooth_dr=0.5, reduction="none")
    cldice = SoftclDiceLoss(iter_=10, smooth=1e-12, sigmoid=True)
    return {
        "bce": torch.nn.functional.binary_cross_entropy_with_logits,
        "mse": lambda z, t: torch.nn.functional.mse_loss(torch.sigmoid(z), t),
        "focal": FocalLoss(gamma=2.0),
        "dice": DiceLoss(**sigmoid, **SMOOTH),
        "dice_squared": DiceLoss(**sigmoid, **SMOOTH, squared_pred=True),
        "dice_batch": DiceLoss(**sigmoid, **SMOOTH, batch=True),
        "tversky": lambda z, t: tversky(z, t).mean(),
        "focal_tversky": lambda z, t: (tversky(z, t) ** 0.75).mean(),
        "boundary": BoundaryLoss(sigmoid=True),
        "cldice": lambda z, t: cldice(each_alone(z), each_alone(t)),
    }


def of_labels() -> dict:
    return {
        "ce": torch.nn.functional.cross_entropy,
        "dice_ce": DiceCELoss(softmax=True, include_background=False, squared_pred=True, **SMOOTH),
    }


def golden(loss, logits: np.ndarray, target: np.ndarray) -> dict:
    z, t = (torch.from_numpy(np.moveaxis(x, -1, 1).astype(np.float64)) for x in (logits, target))
    z.requires_grad_(True)
    value = loss(z, t)
    value.backward()
    slope = np.moveaxis(z.grad.numpy(), 1, -1)
    return {"value": value.item(), "slopes": [float((slope * way).sum()) for way in loss_cases.directions()]}


def main() -> None:
    values = {name: golden(loss, *loss_cases.masks()) for name, loss in of_masks().items()}
    values |= {name: golden(loss, *loss_cases.labels()) for name, loss in of_labels().items()}
    versions = {"monai": monai.__version__, "torch": torch.__version__}
    (FOLDER / "losses.json").write_text(json.dumps({"versions": versions, "losses": values}, indent=1) + "\n")


if __name__ == "__main__":
    main()
