"""When a level was reached, on hand-made validations."""

import dataclasses

import pytest

from benchmarks import time_to_accuracy, training

BONES, EROSIONS, BE, JSN = time_to_accuracy.LEVELS


def test_a_level_is_reached_at_the_first_validation_that_measures_it():
    rows = [
        {"step": 5, "train/loss": 1.0},
        {"step": 10, f"validation/{BONES}": 0.90, f"validation/{EROSIONS}": 0.80},
        {"step": 20, f"validation/{BONES}": 0.95, f"validation/{EROSIONS}": 0.70, f"validation/{BE}": 0.1},
        {"step": 30, f"validation/{BONES}": 0.94, f"validation/{EROSIONS}": 0.75, f"validation/{BE}": 0.2},
    ]
    got = time_to_accuracy.until(rows, [100.0, 150.0, 200.0])
    assert got["seconds_until"] == {BONES: 150.0, EROSIONS: 100.0, BE: None, JSN: None}
    assert got["steps_until"] == {BONES: 20, EROSIONS: 10, BE: None, JSN: None}
    assert got["reached"] == {BONES: 0.95, EROSIONS: 0.80, BE: 0.2, JSN: None}
    with pytest.raises(ValueError):  # as many times as validations
        time_to_accuracy.until(rows, [100.0])


def test_a_mixture_is_refused(debug_config):
    data = dataclasses.replace(
        debug_config.data, datasets=("ram_phantom/tiny", "ram_phantom/small"), weights=(1.0, 1.0)
    )
    with pytest.raises(ValueError, match=r"data\.datasets is .*name one"):
        time_to_accuracy.measure(dataclasses.replace(debug_config, data=data), "experiments/debug.py", 2, 1)


def test_a_run_without_a_test_has_costs():
    timeline = training.Timeline(
        (("step", 0.5, 1.0), ("step", 1.5, 2.0), ("save_latest", 2.0, 3.0), ("evaluate", 3.0, 5.0), ("step", 5.5, 6.0))
    )
    costs = training.unit_costs(timeline)
    assert costs["test_seconds"] is None and costs["validation_seconds"] == 2
    assert costs["step_seconds"] == pytest.approx(1) and costs["checkpoint_seconds_blocked"] == pytest.approx(1)
