"""Weights & Biases itself, offline: what its own file of a run holds."""

import dataclasses
import json
import pathlib
import struct
import time
from collections.abc import Iterator

import pytest

from ramjax.config import TrackingConfig
from ramjax.devices.preemption import Preempted
from tests.training import tiny_job

pytest.importorskip("wandb", reason="wandb is not installed: pip install 'ramjax[wandb]'")

from wandb.proto.wandb_internal_pb2 import Record

BLOCK = 32768


def records(path: pathlib.Path) -> Iterator[Record]:
    """The file is LevelDB's log after 7 bytes: blocks of pieces, each with CRC, length and kind."""
    content, at, whole = path.read_bytes(), 7, b""
    while at + 7 <= len(content):
        left = BLOCK - at % BLOCK
        _, length, kind = struct.unpack_from("<IHB", content, at) if left >= 7 else (0, 0, 0)
        if not kind:
            at += left
            continue
        whole += content[at + 7 : at + 7 + length]
        at += 7 + length
        if kind in (1, 4):  # a whole one, or the last piece of one
            yield Record.FromString(whole)
            whole = b""


def sessions(workdir: pathlib.Path) -> list[list[Record]]:
    """Of a run, when W&B's own process has written them to their ends."""
    found = [session(path) for path in sorted(workdir.glob("tracking/wandb/offline-run-*/*.wandb"))]
    assert found
    return found


def session(path: pathlib.Path) -> list[Record]:
    deadline = time.monotonic() + 20
    while True:
        found = list(records(path))
        if found and any(record.WhichOneof("record_type") == "exit" for record in found):
            return found
        assert time.monotonic() < deadline, f"{path} has no end"
        time.sleep(0.05)


def history(session: list[Record]) -> list[dict]:
    rows = []
    for record in session:
        if record.WhichOneof("record_type") == "history":
            items = {"/".join(item.nested_key) or item.key: item.value_json for item in record.history.item}
            rows.append({key: json.loads(value) for key, value in items.items() if not key.startswith("_")})
    return rows


@pytest.fixture
def config(monkeypatch, debug_config):
    for name in ("WANDB_API_KEY", "WANDB_DIR", "WANDB_MODE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("WANDB_MODE", "offline")
    tiny_job.install(monkeypatch)
    config = tiny_job.tiny(debug_config, steps=9, log_every=2, eval_every=4, checkpoint_every=3, keep_checkpoints=2)
    return dataclasses.replace(config, tracking=TrackingConfig(("wandb",), "hands", "first try"))


def test_a_run_has_its_settings_metrics_test_and_picture(config, tmp_path, capsys):
    tiny_job.go(config, tmp_path)
    (session,) = sessions(tmp_path)
    (run,) = [record.run for record in session if record.WhichOneof("record_type") == "run"]
    assert (run.project, run.display_name) == ("hands", "first try")
    assert run.run_id == json.loads((tmp_path / "tracking" / "wandb.json").read_text())["id"]
    settings = {
        of.key: json.loads(of.value_json)
        for record in session
        if record.WhichOneof("record_type") == "config"
        for of in record.config.update
    }
    assert settings["train"]["steps"] == 9 and settings["tasks"] == ["bones"]
    rows = history(session)
    assert [row["step"] for row in rows if "train/loss" in row] == [2, 4, 6, 8, 9]
    assert [row["step"] for row in rows if "validation/selection" in row] == [4, 8, 9]
    (picture,) = [row for row in rows if "test_grid/path" in row or "test_grid" in row]
    assert "train/loss" not in picture
    assert list(tmp_path.glob("tracking/wandb/*/files/media/images/test_grid*.png"))
    summary = {
        "/".join(of.nested_key) or of.key: of.value_json
        for record in session
        if record.WhichOneof("record_type") == "summary"
        for of in record.summary.update
    }
    test = json.loads((tmp_path / "eval_test.json").read_text())
    assert json.loads(summary["test/bones/dsc"]) == pytest.approx(test["bones/dsc"])
    assert json.loads(summary["test/step"]) == test["step"]
    assert "wandb sync" in capsys.readouterr().out


def test_a_run_that_was_interrupted_goes_on_in_the_same_run(config, tmp_path):
    """Stopped in the test; before, in a validation, after whose step no checkpoint was due."""
    tiny_job.go(config, tmp_path / "whole")
    for look in (8, 9, None):
        if look is None:
            tiny_job.go(config, tmp_path / "run")
        else:
            with pytest.raises(Preempted):
                tiny_job.go(config, tmp_path / "run", look)
    whole = history(sessions(tmp_path / "whole")[0])
    parts = sessions(tmp_path / "run")
    ids = {record.run.run_id for part in parts for record in part if record.WhichOneof("record_type") == "run"}
    assert len(parts) == 3 and len(ids) == 1
    kept = ("step", "train/loss", "validation/selection")
    rows, expected = (
        [{key: row[key] for key in kept if key in row} for row in rows]
        for rows in ([row for part in parts for row in history(part)], whole)
    )
    assert rows == expected


def test_where_nobody_is_logged_in_it_is_offline_and_nothing_is_asked(config, tmp_path, monkeypatch):
    monkeypatch.delenv("WANDB_MODE")
    monkeypatch.setenv("HOME", str(tmp_path))  # no credentials in it
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    monkeypatch.setenv("WANDB_CONFIG_DIR", str(tmp_path))
    tiny_job.go(config, tmp_path / "run", mode="train")
    assert [row["step"] for row in history(sessions(tmp_path / "run")[0]) if "train/loss" in row] == [2, 4, 6, 8, 9]
