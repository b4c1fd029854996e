import dataclasses

import jax
import numpy as np
import pytest

from ramjax.devices import sharding
from ramjax.evaluation.validation import evaluate, jit_eval_step, selection_score


@pytest.fixture
def mesh(debug_config):
    return sharding.make_mesh(dataclasses.replace(debug_config, mesh=dataclasses.replace(debug_config.mesh, data=1)))


def batches_of(values, size):
    for first in range(0, len(values), size):
        row = np.zeros(size, np.float32)
        part = values[first : first + size]
        row[: len(part)] = part
        row[len(part) :] = 1e6  # padding that would show in any mean
        yield {"x": row, "valid": np.arange(size) < len(part)}


def mean(counts):
    values = np.concatenate([batch["doubled"] for batch in counts])
    return {"mean": float(values.mean()), "mean/n": len(values)}


def run(mesh, batches, size, check=lambda: None):
    step = jit_eval_step(lambda state, batch: {"doubled": batch["x"] * state}, mesh)
    return evaluate(
        step, np.float32(2), batches, mesh=mesh, size=size, summarize=mean, label="test", check=check, quiet=True
    )


@pytest.mark.parametrize("size", [1, 3, 7, 10])
def test_every_record_counts_once_and_padding_never(mesh, size):
    values = np.arange(7, dtype=np.float32)
    assert run(mesh, batches_of(values, size), 7) == {"mean": 6.0, "mean/n": 7}


@pytest.mark.parametrize("size", [6, 8])
def test_a_record_left_out_or_counted_twice_is_an_error(mesh, size):
    with pytest.raises(RuntimeError, match=rf"saw 7 valid examples of a split of {size}"):
        run(mesh, batches_of(np.zeros(7), 3), size)


def test_it_can_be_stopped_before_every_batch(mesh):
    looks = []

    def check():
        looks.append(1)
        if len(looks) == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run(mesh, batches_of(np.zeros(7), 3), 7, check)
    assert len(looks) == 2


DENSE = {"bones": ("bones/dsc",), "erosions": ("erosions/dsc",)}
ALL = DENSE | {"joints": ("joints/iou",), "scores": ("scores/be_qwk", "scores/jsn_qwk")}


def with_counts(*unlabelled, **changes):
    """Metrics of one data set, those named `unlabelled` of no label."""
    metrics = {"bones/dsc": 0.9, "erosions/dsc": 0.5, "joints/iou": 0.7, "scores/be_qwk": 0.2, "scores/jsn_qwk": 0.6}
    metrics |= dict.fromkeys(unlabelled, np.nan) | changes
    return metrics | {f"{name}/n": 0 if name in unlabelled else 5 for name in metrics}


def test_the_best_is_chosen_by_every_task_alike():
    assert selection_score([with_counts()], DENSE) == pytest.approx(0.7)
    assert selection_score([with_counts()], ALL) == pytest.approx((0.9 + 0.5 + 0.7 + 0.4) / 4)
    assert selection_score([with_counts(**{"bones/dsc": np.nan})], DENSE) == pytest.approx(0.25)


def test_what_a_data_set_has_no_label_of_is_left_out_of_the_choice():
    wrists = with_counts("erosions/dsc", "scores/jsn_qwk")
    assert selection_score([wrists], ALL) == pytest.approx((0.9 + 0.7 + 0.2) / 3)
    nothing = with_counts(*with_counts())
    whole = (0.9 + 0.5 + 0.7 + 0.4) / 4
    assert selection_score([with_counts(), wrists], ALL) == pytest.approx((whole + 0.6) / 2)
    assert selection_score([with_counts(), nothing], ALL) == pytest.approx(whole)
    assert selection_score([nothing], ALL) == 0


def test_worse_than_chance_is_worse_than_nothing_known():
    assert (
        selection_score([with_counts(**{"scores/be_qwk": -0.6})], {"scores": ("scores/be_qwk", "scores/jsn_qwk")}) == 0
    )
    assert (
        selection_score([with_counts(**{"scores/be_qwk": -1.0})], {"scores": ("scores/be_qwk", "scores/jsn_qwk")}) < 0
    )


def test_the_summary_sees_numpy(mesh):
    seen = []
    step = jit_eval_step(lambda state, batch: {"doubled": batch["x"]}, mesh)
    evaluate(
        step, 0.0, batches_of(np.zeros(3), 2), mesh=mesh, size=3, label="test", quiet=True,
        summarize=lambda counts: seen.extend(counts) or mean(counts),
    )  # fmt: skip
    assert [type(batch["doubled"]) for batch in seen] == [np.ndarray, np.ndarray]
    assert not any(isinstance(batch["doubled"], jax.Array) for batch in seen)
