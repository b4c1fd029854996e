"""The command that makes the network that ships, in miniature."""

import pathlib

import pytest

import ramjax
from experiments import release
from ramjax.runs import weights


@pytest.mark.slow
def test_one_command_makes_the_file_and_its_card(tmp_path, monkeypatch, capsys):
    experiment = pathlib.Path(release.__file__).with_name("debug.py")
    monkeypatch.chdir(tmp_path)
    call = ["release", f"--config={experiment}", "--workdir=run", "--output=out/small.safetensors"]
    assert release.main(call) == 0
    assert "out/small.safetensors (" in capsys.readouterr().out
    about, run = weights.read("out/small.safetensors").about, ramjax.load("out/small.safetensors")
    assert (run.name, run.step) == ("small", ramjax.load("run").step)
    assert about["datasets"] == ["ram_phantom/tiny"] and about["training_minutes"] > 0
    for of in about["decisions"].values():
        assert of["films"] == about["test"]["n"] == 2
        assert 0 <= of["side_right"] <= 2 and 0 <= of["view_right"] <= 2
    card = pathlib.Path("out/small.md").read_text()
    assert "Research use only" in card and f"{about['test']['bones/dsc']:.4g}" in card and "ram_phantom/tiny" in card
    assert "On radiographs" not in card
    # Started again, it trains nothing.
    before = pathlib.Path("run/metrics.jsonl").read_bytes()
    assert release.main(call) == 0 and pathlib.Path("run/metrics.jsonl").read_bytes() == before


def test_an_unknown_preset_is_named():
    with pytest.raises(ValueError, match=r"Unknown preset 'h1200' of experiments/release\.py; use cpu or accelerator"):
        release.get_config("h1200")
