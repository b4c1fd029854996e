"""Measures convolutions and their gradients as this project computes them beside those of plain `jax.jit`, in one run.

    python -m benchmarks.convolution [--batch=4] [--side=32] [--channels=128] [--repeats=5] [--json]

Each is a 3x3 convolution of --batch images of --side pixels a side and --channels channels, forward and backward to
input and kernel together: in one group, in 8, in --channels / 4 groups of 4 channels (ResNeXt, arXiv 1611.05431), and
in one a channel (depthwise). Ours is `ramjax.models.convolution`, compiled by `ramjax.devices.compilation.jit`; the
plain one is `jax.lax.conv_general_dilated` with its own gradient, compiled by `jax.jit` with the compiler's defaults.

With --json the last line is one JSON object: `one_group`, `eight_groups`, `groups_of_four` and `depthwise`, each with
`_seconds`, `_plain_seconds` and `_time_over_plain`, and the machine.
"""

import sys
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from absl import flags

from benchmarks import common
from ramjax.devices import compilation
from ramjax.models import convolution


def _define(values: flags.FlagValues) -> None:
    for name, default, about in (
        ("batch", 4, "Images."),
        ("side", 32, "Pixels a side."),
        ("channels", 128, "Channels of input and output, a multiple of 8."),
        ("repeats", 5, "Turns of each way."),
    ):
        flags.DEFINE_integer(name, default, about, lower_bound=1, flag_values=values)


def measure(*, batch: int, side: int, channels: int, repeats: int) -> dict[str, Any]:
    """The numbers of the module's docstring.

    Raises:
      ValueError: `channels` is not a multiple of 8, or a gradient is not that of the plain convolution.
    """
    if channels % 8:
        raise ValueError(f"--channels is {channels}; use a multiple of 8.")
    numbers = {}
    kinds = {"one_group": 1, "eight_groups": 8, "groups_of_four": channels // 4, "depthwise": channels}
    for name, groups in kinds.items():
        seconds = _measure_groups((batch, side, side, channels), groups, repeats)
        numbers |= {f"{name}_seconds": seconds["ours"], f"{name}_plain_seconds": seconds["plain"]}
        numbers[f"{name}_time_over_plain"] = seconds["ours"] / seconds["plain"]
    return numbers | common.machine()


def _measure_groups(shape: tuple[int, ...], groups: int, repeats: int) -> dict[str, float]:
    rng = np.random.default_rng(0)
    x, grad = (jnp.asarray(rng.normal(size=shape), jnp.float32) for _ in range(2))
    kernel = jnp.asarray(rng.normal(size=(3, 3, shape[-1] // groups, shape[-1])), jnp.float32)

    def ours(x, kernel):
        return convolution.conv_general_dilated(x, kernel, (1, 1), "SAME", feature_group_count=groups)

    def plain(x, kernel):
        numbers = ("NHWC", "HWIO", "NHWC")
        return jax.lax.conv_general_dilated(
            x, kernel, (1, 1), "SAME", dimension_numbers=numbers, feature_group_count=groups
        )

    def both_ways(function, x, kernel, grad):
        out, pull = jax.vjp(function, x, kernel)
        return out, *pull(grad)

    compiled = {
        name: jit(lambda *arrays, function=function: both_ways(function, *arrays))
        for name, jit, function in (("ours", compilation.jit, ours), ("plain", jax.jit, plain))
    }
    for one, other in zip(*(function(x, kernel, grad) for function in compiled.values()), strict=True):
        if not np.allclose(one, other, rtol=1e-3, atol=1e-4 * float(jnp.abs(other).max())):
            raise ValueError(f"In {groups} groups, a result is not that of the plain convolution.")
    ways = {
        name: lambda function=function: jax.block_until_ready(function(x, kernel, grad))
        for name, function in compiled.items()
    }
    return common.take_turns(ways, repeats)


def main(argv: list[str]) -> int:
    return common.run(
        argv,
        __doc__,
        _define,
        lambda values: measure(batch=values.batch, side=values.side, channels=values.channels, repeats=values.repeats),
    )


if __name__ == "__main__":
    sys.exit(main(sys.argv))
