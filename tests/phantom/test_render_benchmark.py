"""The rendering benchmark, in miniature."""

import json

from benchmarks import render


def test_rates_are_measured_and_printed(monkeypatch, capsys):
    monkeypatch.setattr(render, "SCALES", {"miniature": 0.1})
    assert render.main(["render", "--hands=3", "--repeats=1", "--json"]) == 0
    table, line = capsys.readouterr().out.rstrip().rsplit("\n", 1)
    rates = json.loads(line)
    assert set(rates) == {"hands_per_second_miniature", "hands_per_second_miniature_one_core", "cores"}
    assert all(value > 0 for value in rates.values())
    assert "miniature (0.1)" in table and f"{rates['hands_per_second_miniature']:.2f}" in table


def test_scales_are_the_native_one_and_that_of_the_small_data_set():
    assert render.SCALES == {"native": 1.0, "small": 0.33}


def test_unknown_flags_are_named(capsys):
    assert render.main(["render", "--hand=3"]) == 2
    assert "hand" in capsys.readouterr().err
