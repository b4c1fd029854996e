"""Measures a training step and inference of our residual U-Net beside the same network in PyTorch, in one run.

    python -m benchmarks.step [--side=256] [--batch=4] [--repetitions=5] [--seed=0] [--json]

The network is the production one with the bones head and a stem of stride 1: 30 channels on the grid of the image,
float32, pyramid widths 32, 64, 128 and 256, a residual block each. One batch of random images and masks, binary cross
entropy and soft Dice, AdamW. Ours is jitted and its state donated; PyTorch runs eagerly on all cores, once in each
memory layout, of which the faster one counts. PyTorch's copy has our weights; its outputs must agree with ours to 1e-4
of their size and its gradients to 1e-3, or the exit code is 1. The ways take turns of two calls, of which the second
counts; medians of --repetitions turns.

With --json the last line is one JSON object: `train_time_over_pytorch` and `inference_time_over_pytorch` (ours by
PyTorch's, below 1 where we are faster), `train_seconds` and `inference_seconds`,
`pytorch_train_seconds_contiguous`, `pytorch_train_seconds_channels_last`, `pytorch_inference_seconds_contiguous` and
`pytorch_inference_seconds_channels_last`, `max_difference_logits`, `max_difference_gradients`, `train_gflop` and
`inference_gflop` (XLA's count of ours), `train_gigabytes` (buffers of our step beside the state), `parameters`,
`threads`, and the versions `jax` and `pytorch`. What is PyTorch's is null without it.
"""

import functools
import importlib.util
import sys
from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from absl import flags
from flax import nnx
from jaxtyping import Array, Bool, Float

from benchmarks import common
from ramjax import anatomy
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

LAYOUTS = ("contiguous", "channels_last")
_OF_PYTORCH = (
    "train_time_over_pytorch", "inference_time_over_pytorch",
    *(f"pytorch_{what}_seconds_{layout}" for what in ("train", "inference") for layout in LAYOUTS),
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
    side: int, batch: int, repetitions: int, seed: int, *, pytorch: bool, model: ModelConfig = MODEL
) -> dict[str, Any]:
    """Returns all numbers of the module's docstring; those of PyTorch are None without it."""
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
        for layout in LAYOUTS:
            twin = _twin(model, by_path, layout)
            placed = twin.place(*inputs)
            ways["train"][layout] = functools.partial(twin.train, *placed)
            ways["inference"][layout] = functools.partial(twin.infer, placed[0])
        grads = _by_path(compilation.jit(gradient)(params, image, target)[1])
        numbers |= _differences(_twin(model, by_path, LAYOUTS[0]), inputs, infer_of_ours(params, image), grads)
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


def _twin(model: ModelConfig, params: Mapping[str, np.ndarray], layout: str) -> Any:
    from benchmarks import step_pytorch

    return step_pytorch.Twin(model, anatomy.NUM_BONES, params, layout=layout, **OPTIMIZER)


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
    for layout in LAYOUTS:
        if layout in seconds:
            numbers[f"pytorch_{what}_seconds_{layout}"] = seconds[layout]
    if len(seconds) > 1:
        numbers[f"{what}_time_over_pytorch"] = seconds[""] / min(v for name, v in seconds.items() if name)
    return numbers


def _table(numbers: Mapping[str, Any]) -> str:
    lines = [f"{'Seconds':<12}{'ours':>10}{'PyTorch':>12}{'channels last':>16}{'ours / best':>14}"]
    for what in ("train", "inference"):
        columns = [
            (numbers[f"{what}_seconds"], 10),
            *(
                (numbers[f"pytorch_{what}_seconds_{layout}"], width)
                for layout, width in zip(LAYOUTS, (12, 16), strict=True)
            ),
            (numbers[f"{what}_time_over_pytorch"], 14),
        ]
        lines.append(
            f"{what:<12}" + "".join(f"{'-' if v is None else format(v, '.3f'):>{width}}" for v, width in columns)
        )
    return "\n".join(lines)


def main(argv: list[str]) -> int:
    """Runs the command line `argv` (program name first) and returns the exit code."""
    pytorch = importlib.util.find_spec("torch") is not None

    def define(values):
        flags.DEFINE_integer("side", 256, "Pixels a side of the images, a multiple of 16.", 32, flag_values=values)
        flags.DEFINE_integer("batch", 4, "Images in a batch.", 1, flag_values=values)
        flags.DEFINE_integer("repetitions", 5, "Turns, of which the median counts.", 1, flag_values=values)
        flags.DEFINE_integer("seed", 0, "Of images, masks and parameters.", 0, flag_values=values)
        flags.register_validator("side", lambda side: side % 16 == 0, "must be a multiple of 16", values)

    def run(values):
        return measure(values.side, values.batch, values.repetitions, values.seed, pytorch=pytorch)

    def show(numbers):
        lines = [
            _table(numbers),
            f"{numbers['parameters']:,} parameters, {numbers['train_gflop']:.0f} GFLOP a step, "
            f"{numbers['inference_gflop']:.0f} GFLOP forward, {numbers['threads']} cores.",
        ]
        if not pytorch:
            lines.append("PyTorch is not installed, so nothing is compared with it: pip install '.[parity]' here.")
        return "\n".join(lines)

    def faults(numbers):
        far = [name for name, most in AGREEMENT.items() if pytorch and not numbers[name] <= most]
        return [f"PyTorch's network is not ours: {name} is {numbers[name]:.2g}." for name in far]

    return common.run(argv, __doc__, define, run, show, faults)


if __name__ == "__main__":
    sys.exit(main(sys.argv))
