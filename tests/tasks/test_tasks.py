import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from experiments import debug
from ramjax import anatomy, tasks
from ramjax import config as config_lib
from ramjax.record import pack_bones, unpack_bones
from ramjax.steps.state import init_state, make_apply
from ramjax.tasks.base import Term
from ramjax.tasks.bones import learning as bones
from ramjax.tasks.bones.sums import unpack
from ramjax.tasks.dense import on_grid
from ramjax.tasks.joints import heatmap as joints
from ramjax.tasks.scores import learning as scores
from tests.tasks import contract
from tests.tasks.batches import random_batch
from tests.tasks.canvas_metrics import canvas_metrics

CONFIG = config_lib.from_config_dict(debug.get_config())
CONFIG = dataclasses.replace(
    CONFIG,
    data=dataclasses.replace(CONFIG.data, canvas=dataclasses.replace(CONFIG.data.canvas, height=64, width=48)),
)
LABELS = {
    "bones": ("bones",),
    "erosions": ("erosions",),
    "joints": ("boxes",),
    "scores": ("be", "jsn"),
}
FLAGS = {
    "bones": ("has_bones",),
    "erosions": ("has_erosions",),
    "joints": ("has_joints",),
    "scores": ("has_be", "has_jsn"),
}


@pytest.fixture(scope="module")
def outputs():
    """Raw outputs of an untrained network on `random_batch()`."""
    state = init_state(CONFIG)
    batch = random_batch()
    return jax.jit(make_apply(CONFIG))(state.params, batch["image"], batch["boxes"])


def loss(task, outputs, batch):
    return [(float(term.total), float(term.count)) for term in task.loss(outputs[task.name], batch)]


def task_named(name):
    return next(task for task in tasks.make_tasks(CONFIG) if task.name == name)


FOUR = CONFIG.tasks


@pytest.mark.parametrize("name", FOUR)
def test_the_contract(name):
    contract.check(CONFIG, name)


def test_the_contract_of_a_task_of_the_whole_image():
    contract.check(dataclasses.replace(CONFIG, tasks=("bones", "patient")), "patient")


def test_the_contract_of_positioning():
    contract.check(dataclasses.replace(CONFIG, tasks=("bones", "positioning")), "positioning")


def test_the_contract_finds_a_count_that_depends_on_predictions():
    """The normaliser of a focal loss, which is a sum over predictions, is no count."""

    class Focal(tasks.Bones):
        def loss(self, outputs, batch):
            known = (batch["has_bones"] & batch["valid"])[:, None, None, None]
            hard = jax.nn.sigmoid(-on_grid(outputs["logits"])) * known
            return [Term(hard.sum(), hard.sum())]

    sound, tasks.TASKS = tasks.TASKS, (Focal, *tasks.TASKS[1:])
    try:
        with pytest.raises(AssertionError, match="a count depends on the predictions"):
            contract.check(dataclasses.replace(CONFIG, tasks=("bones", "joints")), "bones")
    finally:
        tasks.TASKS = sound


@pytest.mark.parametrize("name", FOUR)
def test_examples_without_the_label_add_nothing_and_garbage_there_changes_nothing(name, outputs):
    task, batch = task_named(name), random_batch()
    for flag in FLAGS[name]:
        batch[flag] = np.array([True, False])
    garbage = dict(batch)
    for key in LABELS[name]:
        garbage[key] = batch[key].copy()
        garbage[key][1] = random_batch(seed=9)[key][1]
    assert loss(task, outputs, garbage) == loss(task, outputs, batch)
    first = jax.tree.map(lambda x: x[:1], (outputs, random_batch()))
    for (total, count), (total_alone, count_alone) in zip(loss(task, outputs, batch), loss(task, *first), strict=True):
        assert count == pytest.approx(count_alone)
        assert total == pytest.approx(total_alone, rel=1e-4)


@pytest.mark.parametrize("name", FOUR)
def test_padding_examples_add_nothing(name, outputs):
    task, batch = task_named(name), random_batch()
    batch["valid"] = np.zeros(2, bool)
    assert all(total == 0 and count == 0 for total, count in loss(task, outputs, batch))


@pytest.mark.parametrize("name", FOUR)
def test_no_label_at_all_gives_zero_loss_and_zero_gradient(name, outputs):
    task, batch = task_named(name), random_batch()
    batch |= {flag: np.zeros(2, bool) for flag in FLAGS[name]}
    value, grads = jax.value_and_grad(lambda o: sum(term.mean() for term in task.loss(o, batch)))(outputs[name])
    assert float(value) == 0
    assert all(not np.any(np.asarray(g)) for g in jax.tree.leaves(grads))


def test_unknown_bones_take_no_loss(outputs):
    task, batch = task_named("bones"), random_batch()
    batch["bones_known"][:, 5] = False
    changed = batch | {"bones": batch["bones"] ^ np.uint32(1 << 5)}
    assert loss(task, outputs, changed) == loss(task, outputs, batch)


@pytest.mark.parametrize("name", ["bones", "erosions"])
def test_labels_under_padding_are_ignored(name, outputs):
    task, batch = task_named(name), random_batch()
    batch["padding"][:, :16] = True
    changed = batch | {name: batch[name].copy()}
    changed[name][:, :16] = 0
    assert loss(task, outputs, changed) == loss(task, outputs, batch)
    counts, counts_changed = (task.observe(outputs[name], b) for b in (batch, changed))
    np.testing.assert_array_equal(counts["annotated"], counts_changed["annotated"])
    assert int(counts["predicted"].max()) <= 48 * 48


def test_device_unpacking_is_the_records():
    planes = np.random.default_rng(0).random((5, 7, 30)) < 0.5
    words = pack_bones(planes).view("<u4")[..., 0]
    np.testing.assert_array_equal(unpack(jnp.asarray(words)), planes)
    np.testing.assert_array_equal(unpack_bones(pack_bones(planes)), planes)


def test_majority_is_at_least_half_of_four():
    words = [jnp.array(w, jnp.uint32) for w in np.random.default_rng(0).integers(0, 2**30, (4, 50))]
    expected = sum(unpack(w).astype(int) for w in words) >= 2
    np.testing.assert_array_equal(unpack(bones.majority(words)), expected)


def test_perfect_logits_give_dice_one_and_near_zero_loss():
    task, batch = task_named("bones"), random_batch()
    coarse = np.random.default_rng(0).integers(0, 2**30, (2, 8, 6)).astype(np.uint32)
    batch["bones"] = np.kron(coarse, np.ones((8, 8), np.uint32))
    target = unpack(batch["bones"])
    logits = jnp.where(target, 30.0, -30.0)[:, :, :, None, None]
    dice, cross_entropy = task.loss({"logits": logits[:, ::2, ::2]}, batch)
    assert float(dice.mean()) < 1e-3 and float(cross_entropy.mean()) < 1e-3
    metrics = canvas_metrics(task, jax.device_get(task.observe({"logits": logits}, batch)))
    assert metrics["dsc"] == pytest.approx(1) and metrics["dsc/n"] == 2


def test_worst_bone_leaves_sesamoids_and_soft_tissue_aside():
    counts = {
        "intersection": np.full((3, 30), 8.0),
        "predicted": np.full((3, 30), 10.0),
        "annotated": np.full((3, 30), 10.0),
        "known": np.ones((3, 30), bool),
    }
    counts["intersection"][:, [anatomy.SESAMOID, anatomy.SOFT_TISSUE]] = 1
    counts["intersection"][0, 3] = 2
    metrics = canvas_metrics(task_named("bones"), counts)
    assert metrics["dsc_worst_bone"] == pytest.approx((0.2 + 0.8 + 0.8) / 3)
    assert metrics["dsc_worst_bone/n"] == 3


def test_heatmap_of_a_box_decodes_to_the_box():
    boxes = np.array([[[13.0, 22.5, 33.0, 40.5], [30.0, 5.0, 50.0, 21.0]]], np.float32)
    h, w, stride = 16, 12, 4
    rows, columns = np.arange(h) + 0.5, np.arange(w) + 0.5
    center = (boxes[..., :2] + boxes[..., 2:]) / 2 / stride
    distance = (rows[:, None, None] - center[0, :, 0]) ** 2 + (columns[None, :, None] - center[0, :, 1]) ** 2
    regression = np.zeros((1, h, w, 2, 4), np.float32)
    regression[0, ..., 0] = center[0, :, 0] - rows[:, None, None]
    regression[0, ..., 1] = center[0, :, 1] - columns[None, :, None]
    regression[0, ..., 2:] = np.log((boxes[0, :, 2:] - boxes[0, :, :2]) / stride / (joints.USUAL_SIDE * h))
    absence = jnp.array([[-20.0, 20.0]])
    found, confidence = joints.decode(
        {"heatmap": -distance[None], "absence": absence, "regression": regression}, stride
    )
    np.testing.assert_allclose(found, boxes, atol=1e-3)
    np.testing.assert_allclose(confidence[0], [1, 0], atol=5e-3)


def test_joint_metrics_by_hand():
    box = np.array([[10.0, 10.0, 20.0, 20.0]], np.float32)
    shifted = box + np.array([0, 3.0, 0, 3.0], np.float32)
    counts = {
        "predicted": np.stack([np.concatenate([box, shifted]), np.concatenate([box + 30, box])]),
        "annotated": np.tile(box, (2, 2, 1)),
        "present": np.array([[True, True], [True, False]]),
        "pixel_spacing_mm": np.array([0.5, 0.5]),
        "confidence": np.ones((2, 2)),
        "absent": np.zeros((2, 2), bool),
    }
    for name in ("predicted", "annotated", "present", "confidence", "absent"):  # the other 20 sites are not known
        counts[name] = np.pad(counts[name], [(0, 0), (0, 20)] + [(0, 0)] * (counts[name].ndim - 2))
    metrics = canvas_metrics(task_named("joints"), counts)
    assert metrics["recall_50"] == pytest.approx(2 / 3) and metrics["recall_50/n"] == 3
    assert metrics["center_error_mm"] == pytest.approx((0 + 1.5 + 0.5 * 30 * np.sqrt(2)) / 3)


def test_a_scores_weight_multiplies_its_sites_in_sum_and_count(outputs):
    """By hand: with logits of 0 a site of BE costs 5 ln 2 and one of JSN 4 ln 2, whatever its score."""
    weights = dict(be_weights=(0.5, 1.0, 2.0, 0.0, 1.0, 8.0), jsn_weights=(0.25, 1.0, 1.0, 1.0, 3.0))
    task = tasks.Scores(dataclasses.replace(CONFIG.scores, **weights))
    batch = random_batch()
    batch["be"], batch["jsn"] = np.full((2, 22), -1), np.full((2, 22), -1)
    batch["be"][0, :4], batch["be"][1, 0] = (0, 3, 5, 2), 0
    batch["jsn"][1, :2] = 0, 4
    zeros = {name: jnp.zeros_like(logits) for name, logits in outputs["scores"].items()}
    be, jsn = task.loss(zeros, batch)
    assert float(be.count) == 0.5 + 0 + 8 + 2 + 0.5 and float(jsn.count) == 0.25 + 3
    assert float(be.total) == pytest.approx(11 * 5 * np.log(2)) and float(be.mean()) == pytest.approx(5 * np.log(2))
    assert float(jsn.total) == pytest.approx(3.25 * 4 * np.log(2))
    batch["jsn"][1, 1] = -1
    assert float(task.loss(zeros, batch)[1].mean()) == pytest.approx(
        4 * np.log(2)
    )  # a weighted mean below count 1, too


def test_a_scale_that_is_not_learned_has_no_loss_and_selects_no_checkpoint(outputs):
    both = tasks.Scores(CONFIG.scores)
    one = tasks.Scores(dataclasses.replace(CONFIG.scores, scales=("jsn",)))
    (loss,) = one.loss(outputs["scores"], random_batch())
    assert float(loss.total) == float(both.loss(outputs["scores"], random_batch())[1].total)
    assert one.selected_by == ("scores/jsn_qwk",) and both.selected_by == ("scores/be_qwk", "scores/jsn_qwk")


def test_score_metrics_by_hand():
    be, jsn = np.full((2, 22), -1), np.full((2, 22), -1)
    be[0, :3], be[1, 0], jsn[0, 0] = (0, 2, 5), 1, 4
    predicted_be, predicted_jsn = np.zeros((2, 22), int), np.zeros((2, 22), int)
    predicted_be[0, :3], predicted_be[1, 0], predicted_jsn[0, 0] = (1, 2, 3), 1, 3
    counts = {
        "be": be,
        "jsn": jsn,
        "be_probabilities": np.eye(6)[predicted_be],
        "jsn_probabilities": np.eye(5)[predicted_jsn],
    }
    metrics = canvas_metrics(task_named("scores"), counts)
    assert metrics["be_mae"] == pytest.approx(3 / 4) and metrics["be_mae/n"] == 4
    assert metrics["jsn_mae"] == pytest.approx(1)
    assert metrics["total_mae"] == pytest.approx((abs(1 - 2 - 1) + 0) / 2) and metrics["total_mae/n"] == 2


def test_jitter_stays_within_its_amount():
    boxes = jnp.tile(jnp.array([10.0, 20.0, 30.0, 60.0]), (4, 22, 1))
    moved = scores.jitter_boxes(jax.random.key(0), boxes, 0.1)
    centers, sides = (moved[..., :2] + moved[..., 2:]) / 2, moved[..., 2:] - moved[..., :2]
    assert float(jnp.abs(centers - jnp.array([20.0, 40.0])).max()) > 1
    assert np.all(np.abs(centers - np.array([20.0, 40.0])) <= np.array([2.0, 4.0]) + 1e-4)
    assert np.all(sides <= np.array([20.0, 40.0]) * 1.1 + 1e-3) and np.all(sides >= np.array([20.0, 40.0]) / 1.1 - 1e-3)


def test_soft_tissue_counts_only_among_the_30_channels():
    counts = {
        "intersection": np.full((1, 30), 6.0),
        "predicted": np.full((1, 30), 10.0),
        "annotated": np.full((1, 30), 10.0),
        "known": np.ones((1, 30), bool),
    }
    counts["intersection"][0, anatomy.SOFT_TISSUE] = 9
    metrics = canvas_metrics(task_named("bones"), counts)
    assert metrics["dsc"] == pytest.approx(0.6)
    assert metrics["dsc_30_channels"] == pytest.approx((29 * 0.6 + 0.9) / 30)


def test_joints_cut_by_the_border_take_no_loss_and_count_as_nothing(outputs):
    task, batch = task_named("joints"), random_batch()
    batch["present"][:, 4] = False
    batch["boxes"][:, 4] = 0
    cut = batch | {"joints_known": batch["joints_known"].copy()}
    cut["joints_known"][:, 4] = False
    (total, count), _ = loss(task, outputs, batch)
    (total_cut, count_cut), _ = loss(task, outputs, cut)
    assert count == 44 and count_cut == 42 and total_cut < total
    counts, counts_cut = (jax.device_get(task.observe(outputs["joints"], b)) for b in (batch, cut))
    assert counts["absent"].sum() == 2 and counts_cut["absent"].sum() == 0
    counts["confidence"] = np.ones((2, 22))
    metrics = canvas_metrics(task, counts)
    assert metrics["false_finds"] == 1 and metrics["false_finds/n"] == 2 and metrics["recall_50/n"] == 42
