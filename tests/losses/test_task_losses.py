"""The losses of bones and erosions that settings name, on the network's levels."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from experiments import debug
from ramjax import anatomy
from ramjax import config as config_lib
from ramjax.config import BonesConfig, ErosionsConfig, ModelConfig
from ramjax.config.losses import COMBINATIONS, OF_MASKS
from ramjax.models.features import Features
from ramjax.tasks import Bones, Erosions
from ramjax.tasks.dense import DenseHead
from ramjax.typed import ConfigError
from tests.tasks import contract
from tests.tasks.batches import random_batch

CONFIG = config_lib.from_config_dict(debug.get_config())
KINDS = {"bones": (Bones, BonesConfig, anatomy.NUM_BONES), "erosions": (Erosions, ErosionsConfig, 4)}


def task_of(name, **settings):
    task, config, _ = KINDS[name]
    return task(config(**settings))


def logits_of(name, height=8, width=6, seed=0):
    shape = (2, height, width, KINDS[name][2])
    return jnp.asarray(np.random.default_rng(seed).normal(size=shape), jnp.float32)


@pytest.mark.parametrize("name", KINDS)
def test_the_contract(name):
    losses = ("focal", "dice_batch=0.5")
    canvas = dataclasses.replace(CONFIG.data.canvas, height=64, width=48)
    config = dataclasses.replace(
        CONFIG,
        tasks=("bones", "erosions"),
        bones=BonesConfig(losses=losses, deep_supervision=True),
        erosions=ErosionsConfig(losses=losses, deep_supervision=True),
        data=dataclasses.replace(CONFIG.data, canvas=canvas),
        model=dataclasses.replace(CONFIG.model, blocks=(0, 0, 0)),
    )
    contract.check(config, name)


def test_the_pass_over_bones_and_the_table_compute_the_same():
    batch, logits = random_batch(seed=1), logits_of("bones", 32, 24)
    batch["padding"][:, :10] = True
    batch["bones_known"][0, :7] = False
    in_one_pass = task_of("bones").loss({"logits": logits}, batch)
    by_table = task_of("bones", losses=("dice_squared", "bce_area", "mse")).loss({"logits": logits}, batch)[:2]
    for one, other in zip(in_one_pass, by_table, strict=True):
        assert float(one.total) == pytest.approx(float(other.total), rel=1e-5) and one.count == other.count
    heavy = task_of("bones", losses=("dice_squared=2", "bce_area=3")).loss({"logits": logits}, batch)
    for factor, one, other in zip((2, 3), in_one_pass, heavy, strict=True):
        assert float(other.total) == pytest.approx(factor * float(one.total), rel=1e-6)


@pytest.mark.parametrize("name", KINDS)
def test_bfloat16_is_summed_in_float32(name):
    batch, logits = random_batch(seed=1), logits_of(name, 32, 24).astype(jnp.bfloat16)
    task = task_of(name, losses=("dice_bce", "focal", "boundary"))
    for half, whole in zip(
        task.loss({"logits": logits}, batch), task.loss({"logits": logits.astype(jnp.float32)}, batch), strict=True
    ):
        assert half.total.dtype == jnp.float32 and float(half.total) == pytest.approx(float(whole.total), rel=1e-6)


@pytest.mark.parametrize("name", KINDS)
def test_each_level_has_half_the_weight_of_the_one_before(name):
    batch, task = random_batch(seed=2), task_of(name)
    outputs = {"logits": logits_of(name, 32, 24), "level_1": logits_of(name, 8, 6), "level_2": logits_of(name, 4, 3)}
    together = task.loss(outputs, batch)
    alone = [term for logits in outputs.values() for term in task.loss({"logits": logits}, batch)]
    for share, one, term in zip(np.repeat([4, 2, 1], 2) / 7, alone, together, strict=True):
        assert float(term.total) == pytest.approx(share * float(one.total), rel=1e-6) and term.count == one.count


def test_a_coarse_level_learns_the_share_of_its_cells():
    batch = random_batch(seed=3)
    batch["bones"] = np.zeros((2, 64, 48), np.uint32)
    batch["bones"][:, :16] = 1 << 3  # two rows of cells of 8 pixels
    batch["bones"][:, 16:20] = 1 << 3  # and half of the third
    batch["padding"][:, 60:] = True  # the last row of cells is not wholly inside
    logits = jnp.full((2, 8, 6, anatomy.NUM_BONES), -30.0).at[:, :2, :, 3].set(30.0).at[:, 2, :, 3].set(0.0)
    (term,) = task_of("bones", losses=("mse",)).loss({"logits": logits.at[:, 7].set(9.0)}, batch)
    assert float(term.total) < 1e-6 and float(term.count) == 2 * 7 * 6 * anatomy.NUM_BONES


@pytest.mark.parametrize("name", KINDS)
def test_parameters_and_logits_of_levels_are_there_where_they_are_asked_for(name):
    model = ModelConfig()

    def made(supervise):
        task = task_of(name, deep_supervision=supervise)

        def outputs():
            head = task.head(model, rngs=nnx.Rngs(0))
            widths = (model.decoder_width, *model.widths[1:])
            dense = [jnp.zeros((1, 64 >> level, 32 >> level, width)) for level, width in enumerate(widths)]
            return head(Features(jnp.zeros((1, 256, 128, 1)), dense, 4, None)), nnx.state(head)

        values, state = jax.eval_shape(outputs)
        return {key: leaf.shape for key, leaf in values.items()}, len(jax.tree.leaves(state))

    (plain, fewer), (deep, more) = made(False), made(True)
    channels = KINDS[name][2]
    levels = {f"level_{level}": (1, 64 >> level, 32 >> level, channels) for level in (1, 2, 3)}
    assert plain == {"logits": deep["logits"]} and deep == plain | levels and more == fewer + 2 * len(levels)


def test_levels_begin_at_the_prior():
    head = DenseHead(ModelConfig(widths=(8, 8, 8), blocks=(0, 0, 0)), (0.5, -2.0), rngs=nnx.Rngs(0), supervise=True)
    assert head.deep["level_1"].bias[...].tolist() == [0.5, -2.0]


# Settings.


@pytest.mark.parametrize(
    ("losses", "message"),
    [
        (("dise",), "losses has 'dise'; use bce, bce_area, .*cldice, dice_bce, .*, also as NAME=WEIGHT"),
        (("ce",), "losses has 'ce' .which is for labels that exclude each other.; use bce"),
        (("dice_ce",), "losses has 'dice_ce' .which is for labels"),
        (("dice=0",), "weight of dice, is 0.0; it must be above 0"),
        (("dice=much",), "weight of dice, is nan"),
        (("dice=1e12",), "weight of dice, is 1000000000000.0; it must be above 0 and at most 1000000000"),
        (("dice", "dice_bce"), "which has dice twice"),
        ((), "losses is empty; name one loss or more of bce"),
    ],
)
def test_losses_that_cannot_be_are_told(losses, message):
    with pytest.raises(ConfigError, match=message):
        BonesConfig(losses=losses)


def test_the_key_of_a_wrong_loss_is_named_and_erosions_have_all():
    with pytest.raises(ConfigError, match=r"erosions\.losses has 'nothing'; use bce, .*ce, dice_any, .*dice_ce"):
        config_lib.from_dict({"erosions": {"losses": ("nothing",)}})
    for name in (*OF_MASKS, *COMBINATIONS):
        ErosionsConfig(losses=(name,))
    assert ErosionsConfig(losses=("dice_ce=0.5", "boundary=1e-2")).weighted_losses == (
        ("dice_squared", 0.5),
        ("ce", 0.5),
        ("boundary", 0.01),
    )


def test_deep_supervision_needs_a_level_between():
    with pytest.raises(
        ConfigError, match=r"erosions\.deep_supervision is True, but model.encoder=residual has 2 levels"
    ):
        config_lib.from_dict({"erosions": {"deep_supervision": True}, "model": {"widths": (8, 16), "blocks": (0, 0)}})
