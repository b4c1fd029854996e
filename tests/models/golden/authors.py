"""Networks in their authors' own code, for `make_encoders`.

Needs ``pip install --no-deps dynamic-network-architectures`` (0.4.4), nnU-Net's, and, but for nnU-Net, vmamba.py of
github.com/MzeroMiko/VMamba (2ed52ead) and umamba/nnunetv2/nets/UMambaEnc_2d.py of github.com/bowang-lab/U-Mamba
(28459e33) in a folder of PYTHONPATH. What they import but do not need here is replaced by nothing, and the Mamba
layer, whose package needs a GPU, by that of transformers.
"""

import importlib
import re
import sys
import types
from collections.abc import Iterable, Mapping
from types import MappingProxyType
from unittest import mock

import torch
import transformers
from transformers.models.mamba.modeling_mamba import MambaMixer

NNUNET = {
    "conv_op": torch.nn.Conv2d,
    "conv_bias": True,
    "norm_op": torch.nn.InstanceNorm2d,
    "norm_op_kwargs": {"eps": 1e-5, "affine": True},
    "nonlin": torch.nn.LeakyReLU,
    "nonlin_kwargs": {"inplace": True},
}
"""Layers of nnU-Net's plans in two dimensions."""


class Released:
    """A network whose parameters have the names and shapes that its authors' files have.

    Args:
      network: in code that is newer than the files, or that holds a layer under two names.
      names: of its parameters, and what each is called in files.
      shapes: in files, of those whose shape differs.
    """

    def __init__(
        self,
        network: torch.nn.Module,
        names: dict[str, str],
        shapes: Mapping[str, tuple[int, ...]] = MappingProxyType({}),
    ):
        self.network, self.names, self.shapes = network, names, shapes

    def state_dict(self) -> dict[str, torch.Tensor]:
        state = self.network.state_dict()
        return {new: state[old].reshape(self.shapes.get(new, state[old].shape)) for old, new in self.names.items()}

    def load_state_dict(self, tensors: dict[str, torch.Tensor]) -> None:
        state = self.network.state_dict()
        self.network.load_state_dict({old: tensors[new].reshape(state[old].shape) for old, new in self.names.items()})

    def parameters(self) -> Iterable[torch.nn.Parameter]:
        return self.network.parameters()


def vmamba_tiny():
    """VMamba-T, its pyramid, and a function that computes it."""
    with mock.patch.dict(sys.modules, {"fvcore": mock.Mock(), "fvcore.nn": mock.Mock()}):
        code = importlib.import_module("vmamba")

    def released(network):
        names, shapes = {}, {}
        for name, value in network.state_dict().items():
            names[name] = re.sub(r"(x_proj|dt_projs)\.weight", r"\1_weight", name)
            if names[name] != name:
                shapes[names[name]] = (4, value.shape[0] // 4, value.shape[1])
        return Released(network, names, shapes)

    whole, network = code.vmamba_tiny_s1l8(), code.vmamba_tiny_s1l8().eval()
    del network.classifier

    def run(image):
        x, levels = network.patch_embed(image), []
        for layer in network.layers:
            levels.append(layer.blocks(x))
            x = layer.downsample(levels[-1])
        return [level.permute(0, 2, 3, 1) for level in levels]

    return released(whole), released(network), run


def nnunet():
    """nnU-Net's residual U-Net as its planner makes it for 225 to 448 pixels a side, its encoder, and a function that
    computes the pyramid of that: in float64, as float32 rounds to almost a ten-thousandth over 65 convolutions."""
    code = importlib.import_module("dynamic_network_architectures.architectures.unet")
    whole = code.ResidualEncoderUNet(
        input_channels=3,
        n_stages=7,
        features_per_stage=[32, 64, 128, 256, 512, 512, 512],
        kernel_sizes=[[3, 3]] * 7,
        strides=[[1, 1]] + [[2, 2]] * 6,
        n_blocks_per_stage=[1, 3, 4, 6, 6, 6, 6],
        num_classes=2,
        n_conv_per_stage_decoder=[1] * 6,
        **NNUNET,
    ).eval()
    others = [name for name in whole.state_dict() if re.match(r"decoder\.seg_layers|encoder\.stem.*all_modules", name)]

    def run(image):
        return [level.permute(0, 2, 3, 1) for level in whole.encoder.double()(image.double())]

    return Released(whole, {name: name for name in others}), Released(whole.encoder, first_names(whole.encoder)), run


def first_names(encoder: torch.nn.Module) -> dict[str, str]:
    """What the parameters of an encoder are called in files, where its blocks hold each layer under two names."""
    names = {name: f"encoder.{name}" for name in encoder.state_dict()}
    for again, first in (("all_modules.0", "conv"), ("all_modules.1", "norm")):
        names = {old: new.replace(again, first) for old, new in names.items()}
    return names


class Mamba(MambaMixer):
    """With the arguments of the package that U-Mamba uses."""

    def __init__(self, d_model: int, d_state: int, d_conv: int, expand: int):
        super().__init__(
            transformers.MambaConfig(
                hidden_size=d_model, state_size=d_state, conv_kernel=d_conv, expand=expand, num_hidden_layers=1
            ),
            layer_idx=0,
        )


def umamba():
    """U-Mamba_Enc for large images, its encoder, and a function that computes the pyramid of that."""
    package = types.ModuleType("mamba_ssm")
    package.Mamba = Mamba
    unneeded = ["nnunetv2", "nnunetv2.utilities", "nnunetv2.utilities.plans_handling"]
    unneeded += ["nnunetv2.utilities.plans_handling.plans_handler", "nnunetv2.utilities.network_initialization"]
    with mock.patch.dict(sys.modules, {"mamba_ssm": package, **{name: mock.Mock() for name in unneeded}}):
        code = importlib.import_module("UMambaEnc_2d")
    whole = code.UMambaEnc(
        input_size=(2048, 2048),  # so large that pixels are scanned at all levels, not channels
        input_channels=3,
        n_stages=7,
        features_per_stage=[32, 64, 128, 256, 512, 512, 512],
        kernel_sizes=[[3, 3]] * 7,
        strides=[[1, 1]] + [[2, 2]] * 6,
        n_conv_per_stage=[2] * 7,
        num_classes=2,
        n_conv_per_stage_decoder=[2] * 6,
        **NNUNET,
    ).eval()
    heads = {name: name for name in whole.state_dict() if name.startswith("decoder.seg_layers")}

    def run(image):
        return [level.permute(0, 2, 3, 1) for level in whole.encoder(image)]

    return Released(whole, heads), Released(whole.encoder, first_names(whole.encoder)), run
