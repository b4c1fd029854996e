"""A profile on demand: the steps asked for are in the trace, and no others."""

import dataclasses

import jax
import pytest

from ramjax.config import ProfileConfig
from tests.training import tiny_job


@pytest.mark.parametrize(("asked", "traced"), [("2:4", {2, 3, 4}), ("8:30", {8, 9}), ("", None), ("20:30", None)])
def test_the_steps_asked_for_are_traced(monkeypatch, debug_config, tmp_path, asked, traced):
    tiny_job.install(monkeypatch)
    config = tiny_job.tiny(debug_config, steps=9, log_every=2, eval_every=9, checkpoint_every=9, keep_checkpoints=2)
    tiny_job.go(dataclasses.replace(config, profile=ProfileConfig(steps=asked)), tmp_path)
    traces = list((tmp_path / "profile").glob("plugins/profile/*/*.xplane.pb"))
    if traced is None:
        assert not traces
        return
    (trace,) = traces
    events = [
        dict(event.stats)
        for plane in jax.profiler.ProfileData.from_file(str(trace)).planes
        for line in plane.lines
        for event in line.events
        if event.name == "train"
    ]
    assert {int(stats["step_num"]) for stats in events} == traced
    assert f"xprof --logdir={tmp_path / 'profile'}" in (tmp_path / "log.txt").read_text()
