"""Measures one joint pass over a hand beside what published code runs for the same outputs, in one run.

    python -m benchmarks.joint_pass [--config=experiments/multitask.py] [--height=1700] [--width=1300] [--repeats=5]
                                    [--json]

One native radiograph to the maps of 30 bones and of the erosion labels and to the scores of all joints:

- joint: one pass of the config's network with all four heads over the whole radiograph, padded to a multiple of the
  network's stride. It also finds the joints, which the published code is given.
- published: four networks of equal size, each with this project's encoder, decoder and head: one of bones over windows
  of 512 pixels, one of erosions over windows of 256, both at half overlap with Gaussian blending as MONAI's sliding
  window has it; and two that score 16 + 15 crops of 224 x 224, encoder and a linear ordinal output each.

What is not known of the published code, or leaves a choice, favours it: windows and crops come in the batch that is
fastest here (tried before the clock starts), of sizes that divide their number, so that none is computed for nothing;
maps are blended at the network's output stride, not at every pixel; the networks see one image, without the two
coordinate channels that the published ones have beside it; cutting and resampling the crops, finding the joints, and
reading the same file for each of the four is not counted. Masks on the radiograph's own pixels are cut from the maps
afterwards, by the same work on both sides, and not counted on either. Parameters are random, which costs the same.

Time is from the radiograph in the host's memory to all outputs there, compiled before: medians of --repeats turns, in
which the two alternate. FLOPs are those of convolutions and matrix products (`benchmarks.flops`), two a multiply-add;
XLA's own estimate, element-wise work included, stands beside it (of the published side without the blending).

With --json the last line is one JSON object: `flop_ratio`, `time_ratio` (published by joint), `joint_seconds`,
`joint_gflop`, `joint_gflop_xla`, the same three with `published_`, and with `published_bones_`, `published_erosions_`
and `published_crops_` (no XLA), `flop_ratio_xla`, `pixel_ratio`, `windows` of bones and of erosions, `batches` of
bones, erosions, BE and JSN, `joint_gflop_by_task` (what each task adds to those before it, the first with encoder and
decoder), and the machine.
"""

import dataclasses
import functools
import math
import sys
import time
from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from absl import flags
from flax import nnx
from jaxtyping import Array, Float

from benchmarks import common, flops, synthetic
from ramjax import anatomy, command_line
from ramjax import config as config_lib
from ramjax.config import Config
from ramjax.devices import compilation
from ramjax.evaluation.sliding_window import sliding_window, tile_starts
from ramjax.models.network import MultiTaskNetwork
from ramjax.steps.predict import make_predict_step
from ramjax.tasks import make_tasks, predictions_of
from ramjax.tasks.base import Kind
from ramjax.tasks.scores.ordinal import OrdinalOutput, class_probabilities

WINDOWS = {"bones": 512, "erosions": 256}
"""Sides in pixels of the published code's inference windows."""

OVERLAP = 0.5
CROP = 224
BATCHES = (1, 2, 4, 5, 10, 15, 16)
"""Batch sizes that are tried for windows and crops, where they divide their number."""


class Classifier(nnx.Module):
    """Crops to the scores of one scale: the encoder, the mean of its coarsest level, and an ordinal output."""

    def __init__(self, config: Config, top: int, *, rngs: nnx.Rngs):
        self.ordinal = config.scores.ordinal
        self.encoder = MultiTaskNetwork(config.model, {}, rngs=rngs).encoder
        self.output = OrdinalOutput(config.model.widths[-1], top, self.ordinal, rngs=rngs)

    def __call__(self, crops: Float[Array, "n h w 1"]) -> Float[Array, "n classes"]:
        features = self.encoder(crops)[-1].mean((1, 2)).astype(jnp.float32)
        return class_probabilities(self.output(features), self.ordinal)


@dataclasses.dataclass(frozen=True)
class Part:
    """A network of the published side and how it is run.

    Attributes:
      apply: jitted, with its parameters bound: images (n, h, w, 1) to predictions.
      side: of an image, in pixels.
      count: images of one hand.
      run: the network over all of them, `batch` at a time: ``run(batch) -> predictions`` on the host.
    """

    apply: functools.partial
    side: int
    count: int
    run: Callable[[int], Any]


def measure(config: Config, height: int, width: int, repeats: int) -> dict[str, Any]:
    """Returns all numbers of the module's docstring."""
    rng = np.random.default_rng(0)
    radiograph = rng.random((height, width), np.float32)
    canvas = _padded(radiograph, config.model.max_stride)[None, ..., None]
    joint = _predict(config)
    parts = _parts(config, radiograph, rng.random((len(anatomy.BE_SITES), CROP, CROP, 1), np.float32))
    batches = {name: _fastest_batch(part) for name, part in parts.items()}
    ways = {"joint": lambda: jax.device_get(joint(canvas))}
    ways |= {name: functools.partial(part.run, batches[name]) for name, part in parts.items()}
    seconds = common.take_turns(ways, repeats)
    gflop = {name: part.count * _gflop(part.apply, (1, part.side, part.side, 1)) for name, part in parts.items()}
    by_task = _gflop_by_task(config, canvas.shape)
    gflop["joint"] = sum(by_task.values())
    xla = {
        name: part.count / batches[name] * _gflop_xla(part.apply, (batches[name], part.side, part.side, 1))
        for name, part in parts.items()
    }
    xla["joint"] = _gflop_xla(joint, canvas.shape)
    pixels = {name: part.count * part.side**2 for name, part in parts.items()}

    def total(values: dict[str, float]) -> float:
        return sum(values[name] for name in parts)

    return {
        "flop_ratio": total(gflop) / gflop["joint"],
        "time_ratio": total(seconds) / seconds["joint"],
        "joint_seconds": seconds["joint"],
        "published_seconds": total(seconds),
        **{f"published_{name}_seconds": seconds[name] for name in ("bones", "erosions")},
        "published_crops_seconds": seconds["be"] + seconds["jsn"],
        "joint_gflop": gflop["joint"],
        "published_gflop": total(gflop),
        **{f"published_{name}_gflop": gflop[name] for name in ("bones", "erosions")},
        "published_crops_gflop": gflop["be"] + gflop["jsn"],
        "joint_gflop_xla": xla["joint"],
        "published_gflop_xla": total(xla),
        "flop_ratio_xla": total(xla) / xla["joint"],
        "pixel_ratio": total(pixels) / canvas.size,
        "windows": [parts[name].count for name in WINDOWS],
        "batches": list(batches.values()),
        "joint_gflop_by_task": by_task,
        **common.machine(),
    }


def show(numbers: dict[str, Any]) -> str:
    """The numbers as a table."""
    rows = [("", "seconds", "GFLOP", "GFLOP (XLA)")]
    for name in ("joint", "published", "published_bones", "published_erosions", "published_crops"):
        values = (numbers.get(f"{name}_{unit}") for unit in ("seconds", "gflop", "gflop_xla"))
        rows.append((name.replace("_", ": "), *("" if value is None else f"{value:.4g}" for value in values)))
    rows[2:2] = [(f"joint: {task}", "", f"{gflop:.4g}", "") for task, gflop in numbers["joint_gflop_by_task"].items()]
    rows.append(("ratio", *(f"{numbers[name]:.2f}" for name in ("time_ratio", "flop_ratio", "flop_ratio_xla"))))
    return "\n".join(f"{name:22}{seconds:>10}{gflop:>10}{xla:>14}" for name, seconds, gflop, xla in rows)


def _predict(config: Config) -> Callable[[Array], dict[str, Array]]:
    """The compiled prediction of a network with random parameters: images to predictions."""
    state = synthetic.random_state(config)
    return functools.partial(compilation.jit(make_predict_step(config)), state)


def _classify(config: Config, top: int) -> Callable[[Array], Array]:
    """The compiled classification of crops on the scale 0..top."""
    graph, state = nnx.split(Classifier(config, top, rngs=nnx.Rngs(0)))
    return functools.partial(compilation.jit(lambda state, crops: nnx.merge(graph, state)(crops)), state)


def _parts(config: Config, radiograph: np.ndarray, crops: np.ndarray) -> dict[str, Part]:
    """The published side, in the order in which it is run."""
    parts = {}
    for task, side in WINDOWS.items():
        one = dataclasses.replace(config, tasks=(task,))
        predict = _predict(one)
        count = len(tile_starts([max(side, size) for size in radiograph.shape], (side, side), OVERLAP))
        run = functools.partial(_run_windows, predict, predictions_of(make_tasks(one)), radiograph, side)
        parts[task] = Part(predict, side, count, run)
    for scale, (top, sites) in anatomy.SCALES.items():
        classify = _classify(config, top)
        parts[scale] = Part(classify, CROP, len(sites), functools.partial(_run_crops, classify, crops[: len(sites)]))
    return parts


def _run_windows(
    predict: Callable, kinds: Mapping[str, Kind], radiograph: np.ndarray, side: int, batch: int
) -> dict[str, np.ndarray]:
    return sliding_window(predict, radiograph, kinds=kinds, tile=(side, side), overlap=OVERLAP, batch=batch)


def _run_crops(classify: Callable, crops: np.ndarray, batch: int) -> list[np.ndarray]:
    return jax.device_get([classify(crops[i : i + batch]) for i in range(0, len(crops), batch)])


def _fastest_batch(part: Part) -> int:
    seconds = {}
    for batch in BATCHES:
        if part.count % batch == 0:
            part.run(batch)
            began = time.perf_counter()
            part.run(batch)
            seconds[batch] = time.perf_counter() - began
    return min(seconds, key=seconds.get)


def _padded(radiograph: np.ndarray, stride: int) -> np.ndarray:
    """Zeros after the last row and column, to whole strides."""
    return np.pad(radiograph, [(0, math.ceil(side / stride) * stride - side) for side in radiograph.shape])


def _gflop(function: functools.partial, shape: tuple[int, ...]) -> float:
    images = jax.ShapeDtypeStruct(shape, np.float32)
    before_jit = function.func.__wrapped__
    return flops.product_flops(before_jit, *function.args, images) / 1e9


def _gflop_by_task(config: Config, shape: tuple[int, ...]) -> dict[str, float]:
    """What each task adds to the FLOPs of the network of those before it; the first is the network of it alone."""
    first = [config.tasks[: i + 1] for i in range(len(config.tasks))]
    totals = [_gflop(_predict(dataclasses.replace(config, tasks=tasks)), shape) for tasks in first]
    return dict(zip(config.tasks, np.diff(totals, prepend=0).tolist(), strict=True))


def _gflop_xla(function: functools.partial, shape: tuple[int, ...]) -> float:
    compiled = function.func.lower(*function.args, jax.ShapeDtypeStruct(shape, np.float32)).compile()
    return flops.cost_flops(compiled) / 1e9


def main(argv: list[str]) -> int:
    """Runs the command line `argv` (program name first) and returns the exit code."""

    def define(values):
        common.define_config(values, argv)
        for name, default, about in (
            ("height", 1700, "Height of the radiograph in pixels."),
            ("width", 1300, "Width of the radiograph in pixels."),
            ("repeats", 5, "Turns, of which the median counts."),
        ):
            flags.DEFINE_integer(name, default, about, 1, flag_values=values)

    def run(values):
        command_line.set_up_jax()
        config = config_lib.from_config_dict(values.config)
        return measure(config, values.height, values.width, values.repeats)

    return common.run(argv, __doc__, define, run, show)


if __name__ == "__main__":
    sys.exit(main(sys.argv))
