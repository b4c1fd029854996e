import dataclasses

import handmade
import numpy as np
import pytest

from ramjax.config import AugmentConfig
from ramjax.data import augment, canvas, pipeline, plan
from ramjax.data.labels import Labels


def batches_of(make, data, sources, **more):
    settings = dict(seed=2, start_step=0, steps=4, labels=handmade.LABELS) | more
    return list(make(data, sources, **settings))


@pytest.fixture(scope="module")
def sources():
    return handmade.make_source(5), handmade.make_wrist_source(3)


@pytest.fixture
def data():
    return handmade.make_data(datasets=("ram_phantom/tiny", "ram_phantom/small"), weights=(2.0, 1.0), crops=2)


def test_plans_have_what_batches_have_but_what_is_as_large_as_the_canvas(data, sources):
    plans = batches_of(pipeline.make_train_plans, data, sources)
    batches = batches_of(pipeline.make_train_batches, data, sources)
    dense = {"image", "padding", "bones", "erosions"}
    for planned, batch in zip(plans, batches, strict=True):
        kept = {name: value for name, value in planned.items() if not name.startswith(plan.PREFIX)}
        handmade.assert_equal(kept, {name: value for name, value in batch.items() if name not in dense})
        slots = batch["index"] + np.where(batch["dataset"] == 1, len(sources[0]), 0)
        assert planned["plan/slot"].tolist() == slots.tolist()
    moments = np.concatenate([planned["plan/moment"] for planned in plans])
    assert moments.tolist() == [[step, row] for step in range(4) for row in range(4)]


def test_plans_are_the_same_resumed_by_workers_and_by_processes(data, sources):
    whole = batches_of(pipeline.make_train_plans, data, sources)
    at_work = dataclasses.replace(data, workers=1)
    for one, other in zip(
        batches_of(pipeline.make_train_plans, at_work, sources, start_step=2), whole[2:], strict=True
    ):
        handmade.assert_equal(one, other)
    parts = [batches_of(pipeline.make_train_plans, data, sources, process_index=i, process_count=2) for i in range(2)]
    for step, expected in enumerate(whole):
        together = {name: np.concatenate([part[step][name] for part in parts]) for name in expected}
        handmade.assert_equal(together, expected)


def test_a_plan_is_small_and_needs_no_planes():
    """A few kilobytes where the canvas has 630,784 pixels; the record may be anywhere."""
    record = dataclasses.replace(
        handmade.make_record(), image=np.broadcast_to(np.uint8(0), (1700, 1300)), bones=None, erosions=None
    )
    large, rng = handmade.make_canvas(896, 704), np.random.default_rng(0)
    planned = plan.draw(record, large, AugmentConfig(erase=1.0), rng, handmade.LABELS)
    assert sum(np.asarray(value).nbytes for value in planned.values()) < 32_000


@pytest.mark.parametrize("shape", [(64, 48), (48, 64), (200, 168), (512, 512), (896, 704)])
def test_every_cover_fits_its_square(shape):
    settings = handmade.make_augment(erase=1.0)
    kinds = set()
    for seed in range(60):
        change = augment.draw_grey(settings, *shape, np.random.default_rng(seed))
        planned = plan._grey(change, handmade.make_canvas(*shape), settings)
        side = planned["cover_masks"].shape[1]
        assert side == augment.cover_side(*shape) and 1 <= len(change.covers) <= augment.MOST_COVERS
        masks = np.unpackbits(planned["cover_masks"], axis=-1).astype(bool)
        for number, cover in enumerate(change.covers):
            around = np.zeros((shape[0] + 2 * side, shape[1] + 2 * side), bool)
            top, left = planned["cover_corners"][number] + side
            around[top : top + side, left : left + side] = masks[number]
            inside = around[side : side + shape[0], side : side + shape[1]]
            np.testing.assert_array_equal(inside, cover.drawn(*shape))
            assert inside.sum() == around.sum() and planned["cover_greys"][number] == np.float32(cover.grey)
            kinds.add("bar" if cover.corners is not None else "letter" if cover.letter else "disc")
        assert not masks[len(change.covers) :].any()
    assert kinds == {"bar", "disc", "letter"}


@pytest.mark.parametrize("shape", [(64, 48), (130, 97), (448, 320)])
def test_slow_variation_is_linear(shape):
    """As the devices compute it, by matrices."""
    image = np.random.default_rng(0).random(shape, np.float32)
    (down_y, up_y), (down_x, up_x) = augment.slow_variation_maps(*shape)
    slow = down_y @ image @ down_x.T
    np.testing.assert_allclose(up_y @ (slow - slow.mean()) @ up_x.T, augment.slow_variation(image), atol=1e-5)


def test_labels_that_are_planes_are_made_where_the_task_leaves_them_out():
    record = handmade.make_record()
    bones, *_ = handmade.LABELS
    assert set(bones.planes) == {"bones"} and "bones" not in bones.make(record, None)
    made = canvas.to_canvas(record, handmade.make_canvas(120, 90), labels=(bones,))
    np.testing.assert_array_equal(made["bones"], record.bones.view("<u4")[..., 0])
    wrong = Labels(bones.arrays, lambda record, view: {"bones": 0})
    with pytest.raises(ValueError, match="makes bones; declared are bones_known, has_bones"):
        canvas.to_canvas(record, handmade.make_canvas(120, 90), labels=(wrong,))
