"""The comparison of one joint pass with the published windows: how many there are, and that it runs and adds up."""

import json

import pytest

from benchmarks import joint_pass
from ramjax.evaluation.sliding_window import tile_starts

TINY = [
    "joint_pass", "--config=experiments/debug.py", "--config.model.widths=(8,8)", "--config.model.blocks=(0,0)",
    "--config.model.decoder_width=8", "--height=70", "--width=52", "--repeats=1", "--json",
]  # fmt: skip


@pytest.mark.parametrize(("task", "rows", "columns"), [("bones", 6, 5), ("erosions", 13, 10)])
def test_windows_of_a_native_hand(task, rows, columns):
    # MONAI: the fewest windows at intervals of half a side of which the last reaches the end of 1700 x 1300.
    side = joint_pass.WINDOWS[task]
    assert len(tile_starts((1700, 1300), (side, side), joint_pass.OVERLAP)) == rows * columns


def test_tiny_hand(monkeypatch, capsys):
    monkeypatch.setattr(joint_pass, "WINDOWS", {"bones": 32, "erosions": 16})
    monkeypatch.setattr(joint_pass, "CROP", 16)
    monkeypatch.setattr(joint_pass, "BATCHES", (1, 5))
    assert joint_pass.main(TINY) == 0
    out = capsys.readouterr().out
    numbers = json.loads(out.splitlines()[-1])
    assert numbers["windows"] == [4 * 3, 8 * 6]
    assert len(numbers["batches"]) == 4
    for what in ("seconds", "gflop"):
        parts = sum(numbers[f"published_{name}_{what}"] for name in ("bones", "erosions", "crops"))
        assert numbers[f"published_{what}"] == pytest.approx(parts)
    assert numbers["flop_ratio"] == pytest.approx(numbers["published_gflop"] / numbers["joint_gflop"])
    assert numbers["time_ratio"] == pytest.approx(numbers["published_seconds"] / numbers["joint_seconds"])
    assert numbers["pixel_ratio"] == pytest.approx((12 * 32**2 + 48 * 16**2 + 31 * 16**2) / (72 * 56))
    assert sum(numbers["joint_gflop_by_task"].values()) == pytest.approx(numbers["joint_gflop"])
    assert min(numbers["joint_gflop_by_task"].values()) > 0
    # XLA counts element-wise work beside the products.
    assert numbers["joint_gflop"] < numbers["joint_gflop_xla"] < 3 * numbers["joint_gflop"]
    assert f"{numbers['flop_ratio']:.2f}" in out.splitlines()[-2]
