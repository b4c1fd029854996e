"""What is not known of a record changes nothing: no parameter and no metric, bit for bit."""

import dataclasses
import functools

import jax
import numpy as np
import pytest

from experiments import debug
from ramjax import anatomy
from ramjax import config as config_lib
from ramjax.data import pipeline
from ramjax.evaluation.validation import canvas_metrics_of
from ramjax.record import LABEL_FLAGS, pack_bones, unpack_bones
from ramjax.steps.evaluate import make_eval_step
from ramjax.steps.state import init_state, make_apply
from ramjax.steps.train import make_train_step
from ramjax.tasks import labels_of, make_tasks
from tests.data import handmade
from tests.tasks.batches import random_batch
from tests.training.heads import adam_of

CONFIG = config_lib.from_config_dict(debug.get_config())
CONFIG = dataclasses.replace(
    CONFIG,
    data=handmade.make_data(
        datasets=("ram_h1200", "ram_w600/joint"), weights=(2.0, 1.0), batch_size=6, canvas=handmade.make_canvas(64, 48)
    ),
    scores=dataclasses.replace(CONFIG.scores, jitter=0.0),  # so that a record's outputs are its own in any batch
)
FLAGS = {
    "bones": ("has_bones",),
    "erosions": ("has_erosions",),
    "joints": ("has_joints",),
    "scores": ("has_be", "has_jsn"),
}
TRAIN_STEP = jax.jit(make_train_step(CONFIG))
EVAL_STEP = jax.jit(make_eval_step(CONFIG))


@pytest.fixture(scope="module")
def state():
    """After two steps with every label, so that moments and averages are not what they began with."""
    return functools.reduce(
        lambda state, seed: TRAIN_STEP(state, random_batch(6, seed=seed))[0], (1, 2), init_state(CONFIG)
    )


def assert_same(one, other):
    jax.tree.map(np.testing.assert_array_equal, one, other)


def sources_with_gaps(complete):
    """Hands that lack one kind of label each and half of their bones, and wrists; every plane is filled all the same.

    `complete` is what is done to each record before it is stored.
    """
    gaps = [{}, *({flag: False} for flag in LABEL_FLAGS), {"has_joints": False, "has_erosions": False}]
    hands = [handmade.make_record(seed=seed, **gap) for seed, gap in enumerate(gaps)]
    half = np.random.default_rng(0).random(anatomy.NUM_BONES) < 0.5
    hands.append(handmade.make_record(seed=20, bones_known=half, side="L"))
    wrists = [handmade.make_wrist_record(seed=seed, has_be=seed % 2 == 0) for seed in range(30, 34)]
    return (
        handmade.source_of([complete(record) for record in hands], "hands"),
        handmade.source_of([complete(record) for record in wrists], "wrists"),
    )


def forget(record):
    """The record with nothing where nothing is known."""
    known = record.bones_known & record.has_bones
    return dataclasses.replace(
        record,
        bones=pack_bones(unpack_bones(record.bones) & known),
        erosions=record.erosions * np.uint8(record.has_erosions),
        joints=tuple(
            dataclasses.replace(joint, be=joint.be if record.has_be else -1, jsn=joint.jsn if record.has_jsn else -1)
            for joint in record.joints
            if record.has_joints
        ),
    )


@pytest.fixture(scope="module")
def garbage():
    return sources_with_gaps(lambda record: record)


@pytest.fixture(scope="module")
def clean():
    return sources_with_gaps(forget)


def test_what_is_not_known_of_a_record_changes_no_parameter(garbage, clean):
    ends, seen = [], []
    for sources in (garbage, clean):
        state = init_state(CONFIG)
        seen.append(
            list(
                pipeline.make_train_batches(
                    CONFIG.data, sources, seed=3, start_step=0, steps=4, labels=labels_of(make_tasks(CONFIG))
                )
            )
        )
        for batch in seen[-1]:
            state, _ = TRAIN_STEP(state, batch)
        ends.append(state)
    assert_same(*ends)
    first = init_state(CONFIG).params
    assert all(np.any(a != b) for a, b in zip(jax.tree.leaves(first), jax.tree.leaves(ends[0].params), strict=True))
    for key in ("bones", "erosions"):  # the garbage reached the network's side
        assert any(np.any(one[key] != other[key]) for one, other in zip(*seen, strict=True))


@pytest.mark.parametrize("dataset", [0, 1])
def test_what_is_not_known_of_a_record_changes_no_metric(garbage, clean, state, dataset):
    one, other = (evaluate(state, sources[dataset]) for sources in (garbage, clean))
    np.testing.assert_equal(one, other)
    assert one["canvas/bones/dsc/n"] == (8, 4)[dataset] - (1 - dataset)  # one of the hands has no bones


def summarize(counts):
    return canvas_metrics_of(make_tasks(CONFIG), "made", counts)


def evaluate(state, source):
    counts = []
    for batch in pipeline.make_eval_batches(CONFIG.data, source, labels=labels_of(make_tasks(CONFIG))):
        counts.append(
            jax.tree.map(lambda value, valid=batch["valid"]: np.asarray(value)[valid], EVAL_STEP(state, batch))
        )
    return summarize(counts)


def test_unknown_bones_take_no_metric(garbage, state):
    metrics = evaluate(state, garbage[1])
    for name in anatomy.BONES:
        assert metrics[f"canvas/bones/dsc_{name}/n"] == (4 if name in anatomy.WRIST_BONES else 0), name
    assert metrics["canvas/bones/dsc_worst_bone/n"] == 4
    assert (
        metrics["canvas/erosions/dsc/n"]
        == metrics["canvas/erosions/false_area_mm2/n"]
        == metrics["canvas/scores/jsn_qwk/n"]
        == 0
    )
    assert 0 < metrics["canvas/scores/be_qwk/n"] <= 2 * 6
    assert metrics["canvas/joints/iou/n"] == 4 * 6 and metrics["canvas/joints/false_finds/n"] == 0


def unknown_bones(batch, rng):
    batch["bones_known"] = rng.random((6, anatomy.NUM_BONES)) < 0.5
    words = sum((~batch["bones_known"][:, k]).astype(np.uint32) << np.uint32(k) for k in range(anatomy.NUM_BONES))
    return {
        "bones": batch["bones"]
        ^ (rng.integers(0, 2**30, batch["bones"].shape).astype(np.uint32) & words[:, None, None])
    }


def unknown_erosions(batch, rng):
    batch["has_erosions"] = np.arange(6) % 2 == 0
    other = rng.integers(0, 4, batch["erosions"].shape).astype(np.uint8)
    return {"erosions": np.where(batch["has_erosions"][:, None, None], batch["erosions"], other)}


def absent_sites(batch, rng):
    """Some known to be absent, some unknown."""
    batch["present"] = rng.random((6, anatomy.NUM_SITES)) < 0.5
    batch["joints_known"] = batch["present"] | (rng.random((6, anatomy.NUM_SITES)) < 0.5)
    corner = rng.uniform(-20, 60, (6, anatomy.NUM_SITES, 2))
    other = np.concatenate([corner, corner + rng.uniform(0, 30, corner.shape)], -1)
    return {"boxes": np.where(batch["present"][..., None], batch["boxes"], other).astype(np.float32)}


def unknown_scores(batch, rng):
    batch["has_be"], batch["has_jsn"] = np.arange(6) % 2 == 0, np.arange(6) % 3 == 0
    batch["present"] = rng.random((6, anatomy.NUM_SITES)) < 0.5
    changes = {}
    for name, top, sites in (("be", 5, anatomy.BE_SITES), ("jsn", 4, anatomy.JSN_SITES)):
        known = batch["present"] & batch[f"has_{name}"][:, None] & np.isin(np.arange(anatomy.NUM_SITES), sites)
        changes[name] = np.where(known, batch[name], rng.integers(0, top + 1, known.shape)).astype(np.int32)
    return changes


@pytest.mark.parametrize("unknown", [unknown_bones, unknown_erosions, absent_sites, unknown_scores])
def test_what_is_not_known_in_a_batch_changes_no_parameter_and_no_metric(state, unknown):
    batch = random_batch(6)
    changes = unknown(batch, np.random.default_rng(7))
    changed = batch | changes
    assert all(np.any(changed[key] != batch[key]) for key in changes)
    assert_same(TRAIN_STEP(state, changed), TRAIN_STEP(state, batch))
    one, other = (summarize([jax.device_get(EVAL_STEP(state, b))]) for b in (changed, batch))
    np.testing.assert_equal(one, other)


@pytest.mark.parametrize("task", CONFIG.tasks)
def test_a_batch_without_any_label_of_a_task_leaves_its_head_alone(state, task):
    after = state
    for seed in (4, 5):
        batch = random_batch(6, seed=seed) | {flag: np.zeros(6, bool) for flag in FLAGS[task]}
        after, metrics = TRAIN_STEP(after, batch)
        assert float(metrics[f"loss/{task}"]) == 0
    for name in CONFIG.tasks:
        for one, other in zip(head(after, name), head(state, name), strict=True):
            assert np.array_equal(one, other) == (name == task), name
    encoders = [jax.tree.leaves((s.params["encoder"], s.ema_params["encoder"])) for s in (state, after)]
    assert not any(np.array_equal(one, other) for one, other in zip(*encoders, strict=True))


def head(state, task):
    """Every array that belongs to a head: parameters, their average, the moments and their count."""
    adam = adam_of(state.opt_state, task)
    return jax.tree.leaves((state.params["heads"][task], state.ema_params["heads"][task], adam))


def test_a_mixed_batchs_loss_is_the_sum_over_its_records_by_the_sum_of_their_counts(state, garbage):
    batch = next(
        iter(
            pipeline.make_train_batches(
                CONFIG.data, garbage, seed=0, start_step=0, steps=1, labels=labels_of(make_tasks(CONFIG))
            )
        )
    )
    assert set(batch["dataset"]) == {0, 1}
    _, metrics = TRAIN_STEP(state, batch)
    outputs = jax.jit(make_apply(CONFIG))
    singles = [{key: value[row : row + 1] for key, value in batch.items()} for row in range(6)]
    outputs = [outputs(state.params, single["image"], single["boxes"]) for single in singles]
    total = 0.0
    for task in make_tasks(CONFIG):
        terms = [task.loss(out[task.name], single) for out, single in zip(outputs, singles, strict=True)]
        sums = [sum(float(term.total) for term in of_records) for of_records in zip(*terms, strict=True)]
        counts = [sum(float(term.count) for term in of_records) for of_records in zip(*terms, strict=True)]
        expected = sum(value / count for value, count in zip(sums, counts, strict=True))
        assert float(metrics[f"loss/{task.name}"]) == pytest.approx(expected, rel=1e-4)
        assert counts[COUNTED[task.name]] == pytest.approx(counted(task.name, batch))
        total += task.weight * expected
    assert float(metrics["loss"]) == pytest.approx(total, rel=1e-4)


COUNTED = {"bones": 0, "erosions": 1, "joints": 0, "scores": 0}
"""The term of each task's loss that counts things: of erosions the second, since the first counts pixels."""


def counted(task, batch):
    """How many things that term of a task's loss counts, from the batch alone."""
    if task == "bones":
        return batch["bones_known"].sum()
    if task == "joints":
        return batch["joints_known"].sum()
    if task == "scores":
        return (batch["be"] >= 0).sum()
    # An image with an eroded cell wholly inside; these hands' erosions are everywhere.
    return batch["has_erosions"].sum()
