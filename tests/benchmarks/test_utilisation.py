"""FLOP utilisation: the peak is a rate, and the program's numbers agree with each other."""

import json

import pytest

from benchmarks import utilisation

TINY = [
    "utilisation", "--config=experiments/debug.py", "--config.tasks=('bones',)", "--config.model.widths=(8,8)",
    "--config.model.blocks=(0,0)", "--config.model.decoder_width=8", "--config.data.canvas.height=32",
    "--config.data.canvas.width=32", "--repeats=1", "--largest=256", "--json",
]  # fmt: skip


def test_peak_is_plausible():
    assert 0.1 < utilisation.peak("float32", 256, 3) < 1e6  # GFLOP a second: a phone's core to a rack


def test_tiny_config(capsys):
    assert utilisation.main(TINY) == 0
    out = capsys.readouterr().out
    numbers = json.loads(out.splitlines()[-1])
    for name in ("train", "inference"):
        rate = numbers[f"{name}_gflop"] / numbers[f"{name}_seconds"]
        assert numbers[f"{name}_gflops_per_second"] == pytest.approx(rate)
        assert numbers[f"{name}_utilisation"] == pytest.approx(rate / numbers["peak_gflops_per_second_float32"])
        assert numbers[f"{name}_gflop_xla"] > numbers[f"{name}_gflop"]  # element-wise work
    # Backward is two products for one forward, but for the image, whose gradient nobody asks for; equal batches.
    assert 2 < numbers["train_gflop"] / numbers["inference_gflop"] <= 3
    assert numbers["peak_gflops_per_second_bfloat16"] is None
    assert "Matrix products of float32" in out
