"""The benchmark of preparing and loading runs, and its numbers are what its docstring names."""

import re

import pytest

from benchmarks import data


@pytest.mark.slow
def test_it_measures_what_it_says(tmp_path):
    numbers = data.measure(tmp_path, hands=8, crops=4, seconds=0.5, steps=0)
    named = set(re.findall(r"`(\w+)`", data.__doc__)) - {"data_wait_share"}
    endings = {name for name in named if name.startswith("_")}
    assert named - endings <= numbers.keys()
    assert {f"crops_per_second_per_core{ending}" for ending in endings} <= numbers.keys()
    assert all(value > 0 for value in numbers.values()) and numbers["hands"] == 8
    assert numbers["rss_gb"] < 1.5
    # Dense planes: 30 bytes a pixel, of hands of 761-1300 x 1431-1700 pixels.
    assert 30 * 761 * 1431 / 1e9 < numbers["rss_gb_per_hand_dense"] < 30 * 1300 * 1700 / 1e9 * 1.1


def test_mistakes_are_usage_errors(capsys):
    assert data.main(["data", "--crops=3"]) == 2
    assert "crops" in capsys.readouterr().err
