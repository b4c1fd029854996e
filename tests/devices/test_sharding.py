"""Which parameters are split, and along which axis; the mesh is abstract, for the rule needs no devices."""

import dataclasses

import jax
import jax.numpy as jnp
import pytest
from jax.sharding import AbstractMesh, PartitionSpec

from ramjax.config import ConfigError
from ramjax.devices import sharding

PARAMS = {
    "encoder": {"kernel": (3, 3, 64, 64), "wide": (3, 3, 128, 64), "scale": (64,), "odd": (3, 3, 7, 65)},
    "heads": {"bones": {"kernel": (1, 1, 32, 64)}},
}


def split(config, *rules) -> dict[str, PartitionSpec]:
    """The specs of `PARAMS` and of an optimiser's copy of them, over four devices, from 512 elements on."""
    mesh = AbstractMesh((2, 4, 1), sharding.AXES)
    shapes = jax.tree.map(lambda shape: jax.ShapeDtypeStruct(shape, jnp.float32), PARAMS, is_leaf=_is_shape)
    settings = dataclasses.replace(config.mesh, split_from=512, rules=rules)
    placed = sharding.state_shardings(settings, mesh, {"params": shapes, "mu": shapes})
    specs = {
        jax.tree_util.keystr(path, simple=True, separator="/"): leaf.spec
        for path, leaf in jax.tree.leaves_with_path(placed)
    }
    for name in [name for name in specs if name.startswith("mu/")]:
        assert specs.pop(name) == specs[name.replace("mu/", "params/")]
    return {name.removeprefix("params/"): spec for name, spec in specs.items()}


def _is_shape(node) -> bool:
    return isinstance(node, tuple)


LAST, THIRD = PartitionSpec(None, None, None, "fsdp"), PartitionSpec(None, None, "fsdp")


def test_the_largest_axis_that_divides_is_split_from_a_size_on(debug_config):
    assert split(debug_config) == {
        "encoder/kernel": LAST,  # the last of two that are as large
        "encoder/odd": PartitionSpec(),  # 3, 3, 7 and 65: nothing divides by 4
        "encoder/scale": PartitionSpec(),  # too small
        "encoder/wide": THIRD,
        "heads/bones/kernel": LAST,
    }


def test_rules_go_before_it_and_the_first_counts(debug_config):
    specs = split(debug_config, "heads/.*=none", "kernel$=2", "wide=3", "scale=0")
    assert specs == {
        "encoder/kernel": THIRD,
        "encoder/odd": PartitionSpec(),
        "encoder/scale": PartitionSpec("fsdp"),  # whatever its size
        "encoder/wide": LAST,
        "heads/bones/kernel": PartitionSpec(),
    }


@pytest.mark.parametrize("rule", ["wide=0", "odd=3", "scale=1"])
def test_a_rule_that_cannot_be_is_named(debug_config, rule):
    with pytest.raises(ConfigError, match=f"mesh.rules has '{rule}', but .*{rule[:-2]}.* 4 devices cannot share"):
        split(debug_config, rule)
