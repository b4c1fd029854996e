"""Measures what balancing by gradients and task affinity cost beside a plain training step.

    python -m benchmarks.balancing [--config=experiments/multitask.py] [--repeats=5] [--json]

One batch of a synthetic hand and random parameters. Three programs take turns: the training step of the config with
``balance.method=fixed``, the one with ``balance.method=pcgrad`` (all methods that go by gradients share its passes
through the network), and one measurement of `ramjax.steps.affinity`. FLOPs are those of convolutions and matrix
products (`benchmarks.flops`), two a multiply-add.

With --json the last line is one JSON object: `step_seconds`, `by_gradients_seconds`, `affinity_seconds`, the same three
with `_gflop`, `by_gradients_over_step` and `affinity_over_step` (ratios of seconds), both with `_flops`, `tasks`,
`batch`, and the machine.
"""

import dataclasses
import sys
from typing import Any

import jax
from absl import flags

from benchmarks import common, flops, synthetic
from ramjax import command_line
from ramjax import config as config_lib
from ramjax.config import BalanceConfig, Config
from ramjax.devices import compilation, sharding
from ramjax.steps.affinity import make_affinity
from ramjax.steps.train import make_train_step


def measure(config: Config, repeats: int) -> dict[str, Any]:
    """Returns all numbers of the module's docstring."""
    steps = {
        name: dataclasses.replace(config, balance=BalanceConfig(method=method))
        for name, method in (("step", "fixed"), ("by_gradients", "pcgrad"))
    }
    ready = {name: synthetic.train_step(of) for name, of in steps.items()}
    state, batch = synthetic.random_state(config, sharding.make_mesh(config)), ready["step"].batch
    affinity = make_affinity(config)
    compiled = compilation.jit(affinity).lower(state, batch).compile()

    functions = {name: make_train_step(of) for name, of in steps.items()} | {"affinity": affinity}
    gflop = {name: flops.product_flops(function, state, batch) / 1e9 for name, function in functions.items()}
    ways = {name: synthetic.caller(of) for name, of in ready.items()}
    ways["affinity"] = lambda: jax.block_until_ready(compiled(state, batch))
    seconds = common.take_turns(ways, repeats)
    numbers = {f"{name}_seconds": value for name, value in seconds.items()}
    numbers |= {f"{name}_gflop": value for name, value in gflop.items()}
    for name in ("by_gradients", "affinity"):
        numbers[f"{name}_over_step"] = seconds[name] / seconds["step"]
        numbers[f"{name}_over_step_flops"] = gflop[name] / gflop["step"]
    return {**numbers, "tasks": len(config.tasks), "batch": config.data.batch_size, **common.machine()}


def main(argv: list[str]) -> int:
    """Runs the command line `argv` (program name first) and returns the exit code."""

    def define(values):
        common.define_config(values, argv)
        flags.DEFINE_integer("repeats", 5, "Turns, of which the median counts.", 1, flag_values=values)

    def run(values):
        command_line.set_up_jax()
        return measure(config_lib.from_config_dict(values.config), values.repeats)

    return common.run(argv, __doc__, define, run)


if __name__ == "__main__":
    sys.exit(main(sys.argv))
