"""The mean teacher: what it says of a batch, what the student is shown, and what its consistency adds to the loss."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from experiments import debug
from ramjax import config as config_lib
from ramjax.config import ConfigError, TeacherConfig
from ramjax.record import LABEL_FLAGS
from ramjax.steps.batches import SHOWN_BOXES, join, split
from ramjax.steps.state import init_state, make_apply
from ramjax.steps.teacher import disturb, make_teacher, ramp
from ramjax.steps.train import make_train_step
from ramjax.tasks import Kind, consistency, make_tasks
from ramjax.tasks.consistency import TAUGHT, Taught
from tests.tasks.batches import random_batch

PLAIN = config_lib.from_config_dict(debug.get_config())
PLAIN = dataclasses.replace(
    PLAIN,
    tasks=("joints", "scores"),
    data=dataclasses.replace(PLAIN.data, batch_size=4),
    model=dataclasses.replace(PLAIN.model, widths=(8, 16), blocks=(0, 1), decoder_width=8),
)
CONFIG = dataclasses.replace(PLAIN, teacher=TeacherConfig(weight=2.0, ramp_steps=0))


def batch_of(labelled=1):
    """Four images; of all but the first, or first few, nothing is known."""
    batch = random_batch(4, 32, 32, seed=3)
    batch |= {flag: batch[flag] & (np.arange(4) < labelled) for flag in LABEL_FLAGS}
    return batch


@pytest.fixture(scope="module")
def state():
    """Whose averages are those of another network, so that the teacher disagrees."""
    other = init_state(dataclasses.replace(CONFIG, seed=7))
    return init_state(CONFIG).replace(ema_params=other.params)


@pytest.fixture(scope="module")
def lesson(state):
    """The batch that the student is given, and what the teacher says of the plain images at any boxes."""

    def both(state, key, batch):
        taught = make_teacher(CONFIG)(state, key, batch)
        apply = make_apply(CONFIG)
        said = apply(state.ema_params, batch["image"], taught[SHOWN_BOXES], variables=state.ema_variables)
        found = apply(state.ema_params, batch["image"], variables=state.ema_variables)["joints"]
        return taught, said, found

    batch = batch_of()
    return jax.device_get(jax.jit(both)(state, jax.random.key(1), batch | {SHOWN_BOXES: batch["boxes"]}))


def test_without_a_teacher_the_batch_is_the_one_that_it_was():
    """So the step is the one that it was."""
    off = dataclasses.replace(PLAIN, teacher=TeacherConfig(weight=0.0, noise=0.5, ramp_steps=3))
    batch = batch_of()
    assert make_teacher(PLAIN)(None, None, batch) is make_teacher(off)(None, None, batch) is batch


def test_the_teacher_sees_the_canvas_and_the_student_other_grey_values(lesson):
    batch, (taught, said, _) = batch_of(), lesson
    assert not np.array_equal(taught["image"], batch["image"])
    assert taught["image"].min() >= 0 and taught["image"].max() <= 1
    for task in CONFIG.tasks:
        for name, value in said[task].items():
            np.testing.assert_allclose(taught[TAUGHT].outputs[task][name], value, rtol=1e-4, atol=1e-4)


def test_boxes_are_the_annotated_ones_where_there_are_any_else_those_that_the_teacher_finds(lesson):
    batch, (taught, _, found) = batch_of(), lesson
    annotated = batch["present"] & batch["has_joints"][:, None]
    assert annotated[0].any() and not annotated[1:].any()
    np.testing.assert_array_equal(taught[SHOWN_BOXES][annotated], batch["boxes"][annotated])
    np.testing.assert_allclose(taught[SHOWN_BOXES][~annotated], found["boxes"][~annotated], rtol=1e-4, atol=1e-3)
    assert (taught[TAUGHT].sites[annotated] == 1).all()
    np.testing.assert_allclose(taught[TAUGHT].sites[~annotated], found["confidence"][~annotated], rtol=1e-4, atol=1e-6)


def test_consistency_by_hand():
    """Of 2 x 2 cells with 2 channels, of 22 sites, and of an image; the second image only fills up."""
    batch = {
        "padding": np.zeros((2, 4, 4), bool),
        "valid": np.array([True, False]),
        TAUGHT: Taught({}, np.where(np.arange(22) < 11, 0.5, 0.0) * np.ones((2, 1)), np.array([3.0, 3.0])),
    }
    batch["padding"][0, 0, 0] = True  # of four cells, three are left
    ours = {
        "map": np.full((2, 2, 2, 2), 0.5),
        "box": np.full((2, 22, 4), 9.0),
        "score": np.full((2, 22, 5), 0.2),
        "class": np.array([[0.9, 0.1]] * 2),
    }
    theirs = {"map": np.zeros((2, 2, 2, 2)), "box": np.zeros((2, 22, 4)), "score": np.zeros((2, 22, 5)), "class": 0.5}
    kinds = [Kind.DENSE, Kind.BOXES, Kind.SITE, Kind.IMAGE]
    terms = consistency.of_predictions(dict(zip(ours, kinds, strict=True)), ours, theirs, batch)
    means = [float(term.mean()) for term in terms]
    # 2 channels x 0.25; 5 classes x 0.04, half of the sites by half; 2 classes x 0.16: each times the weight.
    np.testing.assert_allclose(means, [3 * 0.5, 3 * 0.2 * 0.25, 3 * 0.32], rtol=1e-6)
    assert [float(term.count) for term in terms] == [3, 22, 1]


def test_the_patients_age_counts_in_spreads():
    config = dataclasses.replace(CONFIG, tasks=("patient",))
    (task,) = make_tasks(config)
    batch = {"valid": np.ones(1, bool), TAUGHT: Taught({}, np.ones((1, 22)), np.ones(1))}
    ours, theirs = ({"sex": jnp.log(jnp.array([chances])), "age": jnp.array([[age]])} for chances, age in (
        ([0.75, 0.25], 1.0), ([0.5, 0.5], -1.0)
    ))  # fmt: skip
    sex, age = task.consistency(ours, theirs, batch)
    np.testing.assert_allclose([float(sex.mean()), float(age.mean())], [2 * 0.25**2, 4.0], rtol=1e-6)


@pytest.mark.parametrize("task", make_tasks(CONFIG), ids=lambda task: task.name)
def test_agreement_costs_nothing_and_disagreement_pulls_towards_the_teacher(task, lesson):
    taught = lesson[0]
    theirs = taught[TAUGHT].outputs[task.name]

    @jax.jit
    def loss(outputs):
        terms = task.consistency(outputs, theirs, taught)
        return sum(term.mean() for term in terms), [term.count for term in terms]

    assert float(loss(theirs)[0]) == pytest.approx(0, abs=1e-12)
    moved = jax.tree.map(lambda leaf: leaf + 0.5 * np.cos(np.arange(leaf.size, dtype="f4")).reshape(leaf.shape), theirs)
    (value, counts), grads = jax.jit(jax.value_and_grad(loss, has_aux=True))(moved)
    assert value > 0
    nearer = jax.tree.map(lambda leaf, grad: leaf - 1e-2 * grad / (1e-9 + np.abs(grad).max()), moved, grads)
    assert loss(nearer)[0] < value
    assert counts == loss(theirs)[1] and all(counts)  # they do not depend on the outputs


def test_what_is_not_labelled_is_learned_from_in_parts_as_in_a_whole():
    """A head without any label in the batch learns, and the loss of the parts is that of the whole batch."""
    alone = dataclasses.replace(
        CONFIG, tasks=("joints",), optimizer=dataclasses.replace(CONFIG.optimizer, warmup_steps=0)
    )
    state, batch = init_state(alone), batch_of(labelled=0)
    state = state.replace(ema_params=jax.tree.map(lambda leaf: 1.5 * leaf, state.ema_params))

    @jax.jit
    def loss(state, batch):
        taught = make_teacher(alone)(state, jax.random.fold_in(jax.random.key(alone.seed), state.step), batch)
        outputs = make_apply(alone)(state.params, taught["image"])
        return sum(term.mean() for term in consistency.terms_of(make_tasks(alone), outputs, taught)["joints"])

    in_parts = dataclasses.replace(alone, train=dataclasses.replace(alone.train, accumulation_steps=2))
    after, metrics = jax.jit(make_train_step(in_parts))(state, batch)
    assert metrics["loss/joints"] > 0
    np.testing.assert_allclose(metrics["loss/joints"], loss(state, batch | {SHOWN_BOXES: batch["boxes"]}), rtol=1e-4)
    heads = [of.params["heads"]["joints"]["heatmap"]["kernel"] for of in (state, after)]
    assert np.any(heads[0] != heads[1])


def test_parts_come_together_again():
    batch = {"a": np.arange(24).reshape(6, 4), "b": {"c": np.arange(6)}}
    jax.tree.map(np.testing.assert_array_equal, join(split(batch, 3)), batch)


def test_the_teacher_costs_one_forward_pass():
    """Boxes are found in the pass that answers, not in one before."""
    state, batch = jax.eval_shape(lambda: init_state(CONFIG)), batch_of() | {SHOWN_BOXES: batch_of()["boxes"]}

    def flops(function):
        return jax.jit(function).lower(state, batch).compile().cost_analysis()["flops"]

    forward = flops(lambda state, batch: make_apply(CONFIG)(state.ema_params, batch["image"], batch["boxes"]))
    teaching = flops(lambda state, batch: make_teacher(CONFIG)(state, jax.random.key(0), batch)[TAUGHT])
    assert teaching < 1.05 * forward


def test_the_ramp_rises_to_the_weight():
    settings = TeacherConfig(weight=1.0, ramp_steps=10)
    shares = [float(ramp(settings, jnp.int32(step))) for step in (0, 5, 10, 99)]
    np.testing.assert_allclose(shares, [np.exp(-5), np.exp(-1.25), 1, 1], rtol=1e-6)
    assert float(ramp(TeacherConfig(weight=1.0, ramp_steps=0), jnp.int32(0))) == 1


def test_grey_values_are_changed_as_much_as_is_said():
    image = jnp.linspace(0, 1, 4 * 64 * 64).reshape(4, 64, 64, 1)
    padding = jnp.zeros((4, 64, 64), bool)
    same = disturb(TeacherConfig(gamma=0.0, noise=0.0), jax.random.key(0), image, padding)
    np.testing.assert_allclose(same, image, atol=1e-6)
    powers = disturb(TeacherConfig(gamma=1.0, noise=0.0), jax.random.key(0), image, padding)
    exponents = np.log(np.asarray(powers)[:, 9, 9, 0]) / np.log(np.asarray(image)[:, 9, 9, 0])
    assert len(set(exponents.round(4))) == 4 and exponents.min() > 0.5 and exponents.max() < 2
    grey = jnp.full((4, 64, 64, 1), 0.5)
    noise = disturb(TeacherConfig(gamma=0.0, noise=0.05), jax.random.key(0), grey, padding) - grey
    assert float(noise.std()) == pytest.approx(0.05, rel=0.03)


def test_a_teacher_needs_an_average():
    optimizer = dataclasses.replace(CONFIG.optimizer, ema_decay=0.0)
    with pytest.raises(ConfigError, match=r"teacher\.weight is 2, but optimizer\.ema_decay is 0"):
        dataclasses.replace(CONFIG, optimizer=optimizer)
