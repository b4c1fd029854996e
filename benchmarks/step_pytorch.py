"""The network of `benchmarks.step` once more, in PyTorch.

The modules are those of `ramjax.models`, with the same names, so that a parameter's path tells where its values belong.
The twin sees everything mirrored, top to bottom and left to right: before a strided convolution XLA pads an even side
at its end, PyTorch at its start, and no copy is spent on that. Arrays are (b, c, h, w).
"""

import itertools
from collections.abc import Mapping

import numpy as np
import torch
from torch import nn
from torch.nn import functional

from ramjax.config import ModelConfig
from ramjax.models.encoders.residual import CELL, FLOOR
from ramjax.models.layers import EPSILON, GROUP_SIZE

LAYOUTS = {"contiguous": torch.contiguous_format, "channels_last": torch.channels_last}


class Twin:
    """A network with its optimiser in one memory layout.

    Args:
      model: the network's sizes.
      channels: of the output.
      params: parameters of the network of `ramjax.models`, by their path.
      layout: a key of `LAYOUTS`.
      device: ``cpu`` or ``cuda``.
      compiled: whether `torch.compile` compiles the network and the loss.
      learning_rate, weight_decay: of AdamW.
    """

    def __init__(
        self,
        model: ModelConfig,
        channels: int,
        params: Mapping[str, np.ndarray],
        *,
        layout: str,
        device: str = "cpu",
        compiled: bool = False,
        learning_rate: float,
        weight_decay: float,
    ):
        self.layout, self.device, self.dtype = LAYOUTS[layout], device, getattr(torch, model.dtype)
        torch.backends.cudnn.benchmark = True
        self.network = Network(model, channels)
        self.network.load_state_dict({_name(path): _to_torch(path, value, channels) for path, value in params.items()})
        self.network.to(device, memory_format=self.layout)
        self._forward, self._loss = self.network, self._loss_of
        if compiled:
            self._forward, self._loss = torch.compile(self.network), torch.compile(self._loss_of)
        self.optimizer = torch.optim.AdamW(
            self.network.parameters(), lr=learning_rate, weight_decay=weight_decay, fused=True
        )
        self.channels = channels

    def place(self, image: np.ndarray, target: np.ndarray) -> tuple[torch.Tensor, torch.Tensor]:
        """Arrays (b, h, w, c) as float32 tensors of this layout."""
        return tuple(
            torch.from_numpy(_mirror(x)).float().movedim(-1, 1).to(self.device).contiguous(memory_format=self.layout)
            for x in (image, target)
        )

    def infer(self, image: torch.Tensor) -> torch.Tensor:
        """Logits (b, c, h, w)."""
        with torch.inference_mode(), self._casting():
            return self._done(self._forward(image))

    def to_numpy(self, maps: torch.Tensor) -> np.ndarray:
        """(b, c, h, w) as (b, h, w, c), the right way round."""
        return _mirror(maps.float().cpu().movedim(1, -1).numpy())

    def gradient(self, image: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        """Leaves the gradients in the parameters and returns the loss."""
        self.optimizer.zero_grad(set_to_none=True)
        loss = self._loss(image, target)
        loss.backward()
        return loss.detach()

    def train(self, image: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        """Takes a step and returns the loss before it."""
        loss = self.gradient(image, target)
        self.optimizer.step()
        return self._done(loss)

    def _loss_of(self, image: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        with self._casting():
            logits = self.network(image)
        return loss_of(logits.float(), target)

    def _casting(self) -> torch.autocast:
        return torch.autocast(self.device, torch.bfloat16, enabled=self.dtype == torch.bfloat16)

    def _done(self, result: torch.Tensor) -> torch.Tensor:
        """The same, once the device has computed it."""
        if self.device == "cuda":
            torch.cuda.synchronize()
        return result

    def distances(self, grads: Mapping[str, np.ndarray]) -> dict[str, float]:
        """How far this network's gradients are from those given by path: root of the squares, relative to theirs."""
        mine = {name: parameter.grad.cpu() for name, parameter in self.network.named_parameters()}
        theirs = {path: _to_torch(path, value, self.channels) for path, value in grads.items()}
        return {path: float((mine[_name(path)] - value).norm() / value.norm()) for path, value in theirs.items()}


def loss_of(logits: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
    """As in `benchmarks.step`."""
    probability = logits.sigmoid()
    overlap = (probability * target).sum((2, 3))
    sizes = probability.square().sum((2, 3)) + target.sum((2, 3))
    dice = 1 - (2 * overlap + 1) / (sizes + 1)
    return functional.binary_cross_entropy_with_logits(logits, target) + dice.mean()


class Network(nn.Module):
    """Encoder, decoder and the bones head; `ramjax.models.network`."""

    def __init__(self, model: ModelConfig, channels: int):
        super().__init__()
        self.encoder = Encoder(model)
        self.decoder = Decoder(model)
        self.heads = nn.ModuleDict({"bones": Head(model, channels)})

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        return self.heads["bones"](self.decoder(self.encoder(image)))


class Encoder(nn.Module):
    """`ramjax.models.encoders.residual`, with a stem of stride 1."""

    def __init__(self, model: ModelConfig):
        super().__init__()
        self.stem = ConvNorm(2, model.widths[0])
        self.down = nn.ModuleList([ConvNorm(i, o, stride=2) for i, o in itertools.pairwise(model.widths)])
        self.levels = nn.ModuleList(
            [
                nn.Sequential(*[ResidualBlock(width) for _ in range(n)])
                for n, width in zip(model.blocks, model.widths, strict=True)
            ]
        )

    def forward(self, image: torch.Tensor) -> list[torch.Tensor]:
        pyramid = [self.levels[0](self.stem(torch.cat([image, local_contrast(image)], 1)))]
        for down, blocks in zip(self.down, self.levels[1:], strict=True):
            pyramid.append(blocks(down(pyramid[-1])))
        return pyramid


class Decoder(nn.Module):
    """`ramjax.models.decoders.additive`."""

    def __init__(self, model: ModelConfig):
        super().__init__()
        outs = (model.decoder_width, *model.widths[1:-1])
        ins = (*outs[1:], model.widths[-1])
        self.project = nn.ModuleList([nn.Conv2d(i, o, 1, bias=False) for i, o in zip(ins, outs, strict=True)])
        self.skip = nn.ModuleList([nn.Conv2d(i, o, 1, bias=False) for i, o in zip(model.widths, outs, strict=False)])
        self.norm = nn.ModuleList([group_norm(o) for o in outs])
        self.refine = nn.ModuleList([ResidualBlock(o) if level else ConvNorm(o, o) for level, o in enumerate(outs)])

    def forward(self, pyramid: list[torch.Tensor]) -> list[torch.Tensor]:
        dense = [pyramid[-1]]
        for level in reversed(range(len(self.refine))):
            coarse = upsample(self.project[level](dense[0]), 2)
            mixed = functional.relu(self.norm[level](self.skip[level](pyramid[level]) + coarse), inplace=True)
            dense.insert(0, self.refine[level](mixed))
        return dense


class Head(nn.Module):
    """`ramjax.tasks.dense.DenseHead` after a stem of stride 1."""

    def __init__(self, model: ModelConfig, channels: int):
        super().__init__()
        self.mix = ConvNorm(model.decoder_width, model.decoder_width)
        self.fine = nn.Conv2d(model.decoder_width, channels, 1)
        self.coarse = nn.Conv2d(model.widths[1], channels * 4, 1, bias=False)

    def forward(self, dense: list[torch.Tensor]) -> torch.Tensor:
        return self.fine(self.mix(dense[0])) + functional.pixel_shuffle(self.coarse(dense[1]), 2)


class ConvNorm(nn.Module):
    """Convolution, normalisation, ReLU."""

    def __init__(self, i: int, o: int, stride: int = 1):
        super().__init__()
        self.conv, self.norm = conv(i, o, stride), group_norm(o)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return functional.relu(self.norm(self.conv(x)), inplace=True)


class ResidualBlock(nn.Module):
    """Two convolutions and a shortcut."""

    def __init__(self, features: int):
        super().__init__()
        self.first, self.second, self.norm = (
            ConvNorm(features, features),
            conv(features, features),
            group_norm(features),
        )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return functional.relu(x + self.norm(self.second(self.first(x))), inplace=True)


def conv(i: int, o: int, stride: int = 1) -> nn.Conv2d:
    """A padded 3x3 convolution."""
    return nn.Conv2d(i, o, 3, stride=stride, padding=1, bias=False)


def group_norm(features: int) -> nn.GroupNorm:
    """Groups of `GROUP_SIZE` channels."""
    return nn.GroupNorm(max(1, features // GROUP_SIZE), features, eps=EPSILON)


def upsample(x: torch.Tensor, factor: int) -> torch.Tensor:
    """Bilinear interpolation, pixel centres at half integers."""
    return functional.interpolate(x, scale_factor=factor, mode="bilinear", align_corners=False)


def local_contrast(image: torch.Tensor) -> torch.Tensor:
    """`ramjax.models.encoders.residual.local_contrast`, of sides that are multiples of `CELL`."""

    def moment(x):
        return upsample(functional.avg_pool2d(x, CELL), CELL)

    mean = moment(image)
    spread = (moment(image.square()) - mean.square()).clamp_min(0).sqrt()
    return (image - mean) / (spread + FLOOR)


def _name(path: str) -> str:
    """The name here of a parameter of ours."""
    return path.replace("kernel", "weight").replace("scale", "weight")


def _to_torch(path: str, value: np.ndarray, channels: int) -> torch.Tensor:
    """A parameter of ours, mirrored, in PyTorch's order."""
    if path.endswith("coarse.kernel"):  # (i, 2, 2, channels): the channels of a square of pixels
        square = value.reshape(len(value), 2, 2, channels)[:, ::-1, ::-1]
        value = square.transpose(0, 3, 1, 2).reshape(value.shape)
    if value.ndim == 2:
        value = value[None, None]
    if value.ndim == 4:
        value = value[::-1, ::-1].transpose(3, 2, 0, 1)
    return torch.from_numpy(value.copy())


def _mirror(x: np.ndarray) -> np.ndarray:
    return np.ascontiguousarray(x[:, ::-1, ::-1])
