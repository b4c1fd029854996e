"""Counts parameters and FLOPs of every encoder, and times a step of it.

    python -m benchmarks.encoders [--encoders=resnet18,swin_tiny] [--decoders] [--size=512] [--time] [--json]

- parameters: of the encoder of a grey image, in millions. Beside them, those of the published network, with its
  classifier and for colours, as the library that the tests compare with has them.
- GFLOPs: of a pass over one image of --size pixels a side, forward, by `benchmarks.flops`, which counts convolutions
  and matrix products; depthwise convolutions, which a CPU computes without either, are left out.
- with --time: milliseconds of a step, forward and backward, on one such image, float32, on this machine; the median of
  three. Compiling takes up to a minute for each.

With --decoders, the decoders are counted as well, on the levels of resnet34. With --json the last line is one JSON
object: by name, ``parameters``, ``published``, ``gflops`` and ``milliseconds``; and the machine.
"""

import json
import math
import pathlib
import statistics
import sys
import time
from typing import Any

import jax
import jax.numpy as jnp
from absl import flags
from flax import nnx

from benchmarks import common
from benchmarks.flops import product_flops
from ramjax.config import ModelConfig
from ramjax.config.architectures import DECODERS, ENCODERS
from ramjax.devices import compilation
from ramjax.models.decoders import make_decoder
from ramjax.models.encoders import ENCODERS as PUBLISHED
from ramjax.models.encoders import make_encoder

GOLDEN = pathlib.Path(__file__).parents[1] / "tests" / "models" / "golden" / "encoders"

REPETITIONS = 3


def count(make: Any, *inputs: Any) -> dict[str, float]:
    """Parameters and GFLOPs of a network, of the shapes of its inputs."""
    graphdef, state = nnx.split(nnx.eval_shape(make))
    params = jax.tree.leaves(nnx.filter_state(state, nnx.Param))

    def apply(state, *inputs):
        network = nnx.merge(graphdef, state)
        network.eval()
        return network(*inputs)

    return {
        "parameters": float(sum(math.prod(leaf.shape) for leaf in params)),
        "gflops": product_flops(apply, state, *inputs) / 1e9,
    }


def step_milliseconds(make: Any, image: jax.Array) -> float:
    """A pass forward and backward."""
    graphdef, params, rest = nnx.split(make(), nnx.Param, ...)

    def loss(params, image):
        network = nnx.merge(graphdef, params, rest)
        network.eval()
        return sum(jnp.square(level).mean() for level in network(image))

    step, seconds = compilation.jit(jax.grad(loss)), []
    jax.block_until_ready(step(params, image))
    for _ in range(REPETITIONS):
        began = time.perf_counter()
        jax.block_until_ready(step(params, image))
        seconds.append(time.perf_counter() - began)
    return 1e3 * statistics.median(seconds)


def measure(values: flags.FlagValues) -> dict[str, Any]:
    """All numbers of the module's docstring."""
    unknown = set(values.encoders or ()) - {"residual", *ENCODERS}
    if unknown:
        raise ValueError(f"--encoders names {', '.join(unknown)}; name any of residual, {', '.join(ENCODERS)}.")
    names = values.encoders or ["residual", *ENCODERS]
    found, options = {}, {"dtype": jnp.float32, "remat": "none"}
    for name in names:
        config = ModelConfig(encoder=name, stem_stride=min(4, ENCODERS[name].stride) if name in ENCODERS else 4)

        def make(config=config):
            return make_encoder(config, rngs=nnx.Rngs(0), **options)

        image = jax.ShapeDtypeStruct((1, values.size, values.size, 1), jnp.float32)
        numbers = count(make, image) | {"published": _published(name), "milliseconds": None}
        if values.time:
            numbers["milliseconds"] = step_milliseconds(make, jnp.zeros(image.shape))
        found[name] = numbers | {"paper": PUBLISHED[name].paper if name in PUBLISHED else ""}
    decoders = {}
    for name in DECODERS if values.decoders else ():
        config = ModelConfig(encoder="resnet34", decoder=name)
        levels = zip(config.pyramid.strides, config.pyramid.widths, strict=True)
        pyramid = [
            jax.ShapeDtypeStruct((1, values.size // stride, values.size // stride, width), jnp.float32)
            for stride, width in levels
        ]
        decoders[name] = count(lambda config=config: make_decoder(config, rngs=nnx.Rngs(0), **options), pyramid)
    return {"encoders": found, "decoders": decoders, "size": values.size, **common.machine()}


def show(numbers: dict[str, Any]) -> str:
    """The tables in Markdown."""
    timed = any(of["milliseconds"] is not None for of in numbers["encoders"].values())
    head = [
        "encoder",
        "parameters, million",
        "published, with classifier",
        f"GFLOPs at {numbers['size']} x {numbers['size']}",
    ]
    lines = [_row([*head, *(["ms a step"] if timed else []), "paper"])]
    lines.append(_row(["---", *["---:"] * (3 + timed), "---"]))
    for name, of in numbers["encoders"].items():
        published = "" if of["published"] is None else f"{of['published'] / 1e6:.2f}"
        cells = [f"`{name}`", f"{of['parameters'] / 1e6:.2f}", published, f"{of['gflops']:.1f}"]
        lines.append(_row([*cells, *([f"{of['milliseconds']:.0f}"] if timed else []), of["paper"]]))
    if numbers["decoders"]:
        lines += ["", _row(["decoder", "parameters, million", head[-1]]), _row(["---", "---:", "---:"])]
        for name, of in numbers["decoders"].items():
            lines.append(_row([f"`{name}`", f"{of['parameters'] / 1e6:.2f}", f"{of['gflops']:.1f}"]))
    return "\n".join(lines)


def _published(name: str) -> int | None:
    path = GOLDEN / f"{name}.json"
    return json.loads(path.read_text())["parameters_with_classifier"] if path.exists() else None


def _row(cells: list[str]) -> str:
    return "| " + " | ".join(cells) + " |"


def _define(values: flags.FlagValues) -> None:
    flags.DEFINE_list("encoders", None, "Those to count; all if not given.", flag_values=values)
    flags.DEFINE_bool("decoders", False, "Count the decoders as well.", flag_values=values)
    flags.DEFINE_integer("size", 512, "Side of the image in pixels.", 32, flag_values=values)
    flags.DEFINE_bool("time", False, "Time a step of each encoder.", flag_values=values)


def main(argv: list[str]) -> int:
    """Runs the command line `argv` (program name first) and returns the exit code."""
    return common.run(argv, __doc__, _define, measure, show)


if __name__ == "__main__":
    sys.exit(main(sys.argv))
