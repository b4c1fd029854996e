"""Measures a training step and inference of our residual U-Net beside the same network in PyTorch, in one run.

    python -m benchmarks.step [--side=256] [--batch=4] [--pytorch=contiguous,channels_last] [--repetitions=5] [--seed=0]
                              [--json]

The network is the production one with the bones head and a stem of stride 1: 30 channels on the grid of the image. On a
CPU float32, pyramid widths 32, 64, 128 and 256, a residual block each; on a GPU or TPU bfloat16 and the sizes of
experiments/multitask.py:accelerator, and by default 32 images of 384 pixels a side. One batch of random images and
masks, binary cross entropy and soft Dice, AdamW. Ours is jitted and its state donated.

PyTorch runs on the same device, in the ways of --pytorch, of which the fastest counts: eagerly in each memory layout
(``contiguous``, ``channels_last``), or by `torch.compile` with channels last (``compiled``). In bfloat16 it runs under
autocast; on a GPU cuDNN chooses its algorithms by measuring. Its copy has our weights; its outputs must agree with ours
to 1e-4 of their size and its gradients to 1e-3 (`AGREEMENT`; `ROUGH_AGREEMENT` in bfloat16), or the exit code is 1. The
ways take turns of two calls, of which the second counts; medians of --repetitions turns.

With --json the last line is one JSON object: `train_time_over_pytorch` and `inference_time_over_pytorch` (ours by
PyTorch's, below 1 where we are faster), `train_seconds` and `inference_seconds`,
`pytorch_train_seconds_contiguous`, `pytorch_train_seconds_channels_last`, `pytorch_train_seconds_compiled`,
`pytorch_inference_seconds_contiguous`, `pytorch_inference_seconds_channels_last`,
`pytorch_inference_seconds_compiled`, `max_difference_logits`, `max_difference_gradients`, `train_gflop` and
`inference_gflop` (XLA's count of ours), `train_gigabytes` (buffers of our step beside the state), `parameters`,
`threads`, `device`, `dtype`, and the versions `jax` and `pytorch`. What was not measured is null.
"""

import dataclasses
import functools
import importlib.util
import sys
from collections.abc import Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from absl import flags
from flax import nnx
from jaxtyping import Array, Bool, Float

from benchmarks import common
from experiments import multitask
from ramjax import anatomy
from ramjax import config as config_lib
from ramjax.config import BonesConfig, ModelConfig
from ramjax.devices import compilation
from ramjax.models.network import MultiTaskNetwork
from ramjax.tasks.bones import Bones
from ramjax.tasks.dense import on_grid

MODEL = ModelConfig(
    stem_stride=1, widths=(32, 64, 128, 256), blocks=(1, 1, 1, 1), decoder_width=32, dtype="float32", remat="none"
)
OPTIMIZER = {"learning_rate": 1e-3, "weight_decay": 1e-4}
AGREEMENT = {"max_difference_logits": 1e-4, "max_difference_gradients": 1e-3}
"""How far PyTorch's may be from ours. A ReLU that rounding takes to the other side of 0 changes a gradient more than
rounding does, and there are millions of them."""

ROUGH_AGREEMENT = {"max_difference_logits": 5e-2, "max_difference_gradients": 0.5}
"""The same in bfloat16, whose numbers are rounded at 2^-9 some thirty times in a row, and of whose ReLUs one in a
hundred ends on the other side of 0. Another network is off by 1."""

LAYOUTS = ("contiguous", "channels_last")
WAYS = (*LAYOUTS, "compiled")
_OF_PYTORCH = (
    "train_time_over_pytorch", "inference_time_over_pytorch",
    *(f"pytorch_{what}_seconds_{way}" for what in ("train", "inference") for way in WAYS),
    *AGREEMENT, "pytorch",
)  # fmt: skip

Params = dict[str, Any]


def make_inputs(batch: int, side: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Random images, float32 (batch, side, side, 1) in 0..1, and masks, bool (batch, side, side, 30)."""
    rng = np.random.default_rng(seed)
    image = rng.random((batch, side, side, 1), np.float32)
    return image, rng.random((batch, side, side, anatomy.NUM_BONES), np.float32) < 0.1


def loss_of(logits: Float[Array, "b h w c"], target: Bool[Array, "b h w c"]) -> Float[Array, ""]:
    """Binary cross entropy and soft Dice (Milletari et al., arXiv 1606.04797), means."""
    probability = jax.nn.sigmoid(logits)
    overlap = jnp.where(target, probability, 0).sum((1, 2))
    sizes = jnp.square(probability).sum((1, 2)) + target.sum((1, 2))
    dice = 1 - (2 * overlap + 1) / (sizes + 1)
    cross_entropy = jax.nn.softplus(logits) - jnp.where(target, logits, 0)
    return cross_entropy.mean() + dice.mean()


def measure(
    side: int, batch: int, repetitions: int, seed: int, *, pytorch: Sequence[str], model: ModelConfig = MODEL
) -> dict[str, Any]:
    """Returns all numbers of the module's docstring; `pytorch` are the ways of PyTorch that are measured."""
    network = MultiTaskNetwork(model, {"bones": Bones(BonesConfig(weight=1.0)).head}, rngs=nnx.Rngs(seed))
    graphdef, variables = nnx.split(network, nnx.Param)
    params = _shaken(nnx.to_pure_dict(variables), seed)
    optimizer = optax.adamw(**OPTIMIZER)

    def infer(params, image):
        nnx.replace_by_pure_dict(variables, params)
        return on_grid(nnx.merge(graphdef, variables)(image)["bones"]["logits"])

    def gradient(params, image, target):
        return jax.value_and_grad(lambda params: loss_of(infer(params, image), target))(params)

    def train(state, image, target):
        params, opt_state = state
        loss, grads = gradient(params, image, target)
        updates, opt_state = optimizer.update(grads, opt_state, params)
        return (optax.apply_updates(params, updates), opt_state), loss

    inputs = make_inputs(batch, side, seed)
    image, target = map(jnp.asarray, inputs)
    state = [jax.tree.map(jnp.copy, (params, optimizer.init(params)))]  # in a list, as the step donates it
    infer_of_ours = compilation.jit(infer).lower(params, image).compile()
    train_of_ours = compilation.jit(train, donate_argnums=0).lower(state[0], image, target).compile()

    def take_step():
        state[0], loss = train_of_ours(state[0], image, target)
        return loss.block_until_ready()

    numbers = {
        **dict.fromkeys(_OF_PYTORCH),
        "train_gflop": train_of_ours.cost_analysis()["flops"] / 1e9,
        "inference_gflop": infer_of_ours.cost_analysis()["flops"] / 1e9,
        "train_gigabytes": train_of_ours.memory_analysis().temp_size_in_bytes / 1e9,
        "parameters": sum(leaf.size for leaf in jax.tree.leaves(params)),
        "threads": common.cores(),
        "device": jax.devices()[0].device_kind,
        "dtype": model.dtype,
        "jax": jax.__version__,
    }
    ways = {
        "train": {"": take_step},
        "inference": {"": lambda: infer_of_ours(params, image).block_until_ready()},
    }
    if pytorch:
        import torch

        numbers["pytorch"] = torch.__version__
        torch.set_num_threads(numbers["threads"])
        by_path = _by_path(params)
        for way in pytorch:
            twin = _twin(model, by_path, way)
            placed = twin.place(*inputs)
            ways["train"][way] = functools.partial(twin.train, *placed)
            ways["inference"][way] = functools.partial(twin.infer, placed[0])
        grads = _by_path(compilation.jit(gradient)(params, image, target)[1])
        logits = np.asarray(infer_of_ours(params, image), np.float32)
        numbers |= _differences(_twin(model, by_path, LAYOUTS[0]), inputs, logits, grads)
    for what in ways:
        numbers |= _compared(what, common.take_turns(ways[what], repetitions))
    return numbers


def _shaken(params: Params, seed: int) -> Params:
    """The parameters with some noise, as an initial bias of 0 or scale of 1 would hide that it is not used."""
    rng = np.random.default_rng(seed)
    return jax.tree.map(lambda leaf: leaf + 0.01 * rng.standard_normal(leaf.shape, np.float32), params)


def _by_path(params: Params) -> dict[str, np.ndarray]:
    leaves = jax.tree_util.tree_leaves_with_path(params)
    return {jax.tree_util.keystr(path, simple=True, separator="."): np.asarray(leaf) for path, leaf in leaves}


def _twin(model: ModelConfig, params: Mapping[str, np.ndarray], way: str) -> Any:
    from benchmarks import step_pytorch

    layout = way if way in LAYOUTS else LAYOUTS[1]
    device = "cuda" if jax.default_backend() == "gpu" else "cpu"
    settings = {"layout": layout, "device": device, "compiled": way == "compiled"}
    return step_pytorch.Twin(model, anatomy.NUM_BONES, params, **settings, **OPTIMIZER)


def _differences(
    twin: Any, inputs: tuple[np.ndarray, np.ndarray], logits: np.ndarray, grads: Mapping[str, np.ndarray]
) -> dict[str, float]:
    """How far PyTorch's logits and the gradient of any parameter are from ours: root of the squares, relative."""
    placed = twin.place(*inputs)
    twin.gradient(*placed)
    apart = np.linalg.norm(twin.to_numpy(twin.infer(placed[0])) - logits) / np.linalg.norm(logits)
    return dict(zip(AGREEMENT, (float(apart), max(twin.distances(grads).values())), strict=True))


def _compared(what: str, seconds: Mapping[str, float]) -> dict[str, float]:
    numbers = {f"{what}_seconds": seconds[""]}
    numbers |= {f"pytorch_{what}_seconds_{way}": seconds[way] for way in WAYS if way in seconds}
    if len(seconds) > 1:
        numbers[f"{what}_time_over_pytorch"] = seconds[""] / min(v for name, v in seconds.items() if name)
    return numbers


def _table(numbers: Mapping[str, Any]) -> str:
    lines = [f"{'Seconds':<12}{'ours':>10}{'PyTorch':>12}{'channels last':>16}{'compiled':>12}{'ours / best':>14}"]
    for what in ("train", "inference"):
        columns = [
            (numbers[f"{what}_seconds"], 10),
            *((numbers[f"pytorch_{what}_seconds_{way}"], width) for way, width in zip(WAYS, (12, 16, 12), strict=True)),
            (numbers[f"{what}_time_over_pytorch"], 14),
        ]
        lines.append(
            f"{what:<12}" + "".join(f"{'-' if v is None else format(v, '.3f'):>{width}}" for v, width in columns)
        )
    return "\n".join(lines)


def main(argv: list[str]) -> int:
    """Runs the command line `argv` (program name first) and returns the exit code."""
    there = importlib.util.find_spec("torch") is not None

    def define(values):
        about = "Pixels a side of the images, a multiple of 16, on an accelerator of 32; 256 or 384 if not given."
        flags.DEFINE_integer("side", None, about, 32, flag_values=values)
        flags.DEFINE_integer("batch", None, "Images in a batch; 4, on an accelerator 32.", 1, flag_values=values)
        about = "Ways of PyTorch; both layouts, on an accelerator channels_last."
        flags.DEFINE_list("pytorch", None, about, flag_values=values)
        flags.DEFINE_integer("repetitions", 5, "Turns, of which the median counts.", 1, flag_values=values)
        flags.DEFINE_integer("seed", 0, "Of images, masks and parameters.", 0, flag_values=values)
        flags.register_validator("side", lambda side: (side or 0) % 16 == 0, "must be a multiple of 16", values)
        unknown = f"must name any of {', '.join(WAYS)}"
        flags.register_validator("pytorch", lambda ways: set(ways or ()) <= set(WAYS), unknown, values)

    def run(values):
        if jax.default_backend() == "cpu":
            model, side, batch, ways = MODEL, 256, 4, LAYOUTS
        else:
            preset = config_lib.from_config_dict(multitask.get_config("accelerator")).model
            model, side, batch, ways = dataclasses.replace(preset, stem_stride=1), 384, 32, LAYOUTS[1:]
        ways = (ways if values.pytorch is None else values.pytorch) if there else ()
        sizes = values.side or side, values.batch or batch
        return measure(*sizes, values.repetitions, values.seed, pytorch=ways, model=model)

    def show(numbers):
        lines = [
            _table(numbers),
            f"{numbers['parameters']:,} parameters, {numbers['train_gflop']:.0f} GFLOP a step, "
            f"{numbers['inference_gflop']:.0f} GFLOP forward, {numbers['threads']} cores.",
        ]
        if not there:
            lines.append("PyTorch is not installed, so nothing is compared with it: pip install '.[parity]' here.")
        return "\n".join(lines)

    def faults(numbers):
        agreement = AGREEMENT if numbers["dtype"] == "float32" else ROUGH_AGREEMENT
        far = [name for name, most in agreement.items() if numbers["pytorch"] and not numbers[name] <= most]
        return [f"PyTorch's network is not ours: {name} is {numbers[name]:.2g}." for name in far]

    return common.run(argv, __doc__, define, run, show, faults)


if __name__ == "__main__":
    sys.exit(main(sys.argv))
