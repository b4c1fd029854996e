import dataclasses
import importlib.machinery
import io
import json
import math
import re
import zlib

import jax
import numpy as np
import pytest
from PIL import Image
from tensorboardX.proto import plugin_hparams_pb2

from ramjax.config import TrackingConfig
from ramjax.devices.preemption import Preempted
from ramjax.errors import RunError
from ramjax.files import json_line, read_json_lines, split_json_lines
from ramjax.training.writers import Writer
from tests.training import tiny_job
from tests.training.writers import event_files


@pytest.fixture
def config(debug_config):
    return with_writers(debug_config, "tensorboard")


def with_writers(config, *writers):
    return dataclasses.replace(config, tracking=TrackingConfig(writers))


def session(folder, config, start, rows=()):
    with Writer(folder, config) as writer:
        writer.start(start)
        for step, metrics in rows:
            writer.write(step, metrics)


def test_rows_and_events_hold_the_metrics(config, tmp_path):
    session(tmp_path, config, 0, [(2, {"train/loss": 0.5, "train/loss/bones": math.nan}), (4, {"train/loss": 0.25})])
    lines = (tmp_path / "metrics.jsonl").read_text().splitlines()
    rows = [{"step": 2, "train/loss": 0.5, "train/loss/bones": None}, {"step": 4, "train/loss": 0.25}]
    assert [json.loads(line) for line in lines] == [
        row | {"crc32": f"{zlib.crc32(json.dumps(row).encode()):08x}"} for row in rows
    ]
    assert read_json_lines(tmp_path / "metrics.jsonl") == rows
    assert event_files.scalars(tmp_path / "tensorboard") == [(2, "train/loss", 0.5), (4, "train/loss", 0.25)]


def test_a_run_that_goes_on_drops_what_it_does_again(config, tmp_path):
    rows = [(step, {"train/loss": float(step)}) for step in (2, 4, 6)]
    session(tmp_path, config, 0, [*rows, (4, {"validation/dsc": 0.5, "validation/nsd": math.inf})])
    with (tmp_path / "metrics.jsonl").open("a") as file:
        file.write('{"step": 3, "train/lo')  # killed while it wrote
    with Writer(tmp_path, config) as writer:
        assert writer.value(4, "validation/dsc") is None
        writer.start(4)
        assert writer.value(4, "validation/dsc") == 0.5
        assert writer.value(2, "validation/dsc") is writer.value(4, "validation/nsd") is None
        writer.write(6, {"train/loss": 0.0})
    rows = read_json_lines(tmp_path / "metrics.jsonl")
    assert [(row["step"], row.get("train/loss")) for row in rows] == [(2, 2.0), (4, 4.0), (4, None), (6, 0.0)]


def test_no_file_is_no_metrics(tmp_path):
    assert read_json_lines(tmp_path / "metrics.jsonl") == []


def test_tensorboard_has_the_settings(config, tmp_path):
    session(tmp_path, config, 0)
    (started,) = [
        plugin_hparams_pb2.HParamsPluginData.FromString(value.metadata.plugin_data.content).session_start_info
        for _, value in event_files.values(tmp_path / "tensorboard")
        if value.tag == "_hparams_/session_start_info"
    ]
    assert started.hparams["data.canvas.height"].number_value == config.data.canvas.height
    assert started.hparams["tasks"].string_value == "bones, erosions, joints, scores"
    assert started.hparams["data.canvas.mirror_left"].bool_value is config.data.canvas.mirror_left


def test_tensorboard_has_the_latest_test_and_its_picture(config, tmp_path):
    Image.fromarray(np.full((3, 5, 3), 200, np.uint8)).save(tmp_path / "test_grid.png")
    session(tmp_path, config, 0, [(2, {"train/loss": 0.5})])
    before = (tmp_path / "metrics.jsonl").read_bytes()
    for dsc in (0.25, 0.75):  # evaluated again
        with Writer(tmp_path, config) as writer:
            writer.test(2, {"bones/dsc": dsc, "bones/nsd": math.nan}, {"test_grid": tmp_path / "test_grid.png"})
    assert event_files.scalars(tmp_path / "tensorboard") == [(2, "train/loss", 0.5), (2, "test/bones/dsc", 0.75)]
    (image,) = [value for _, value in event_files.values(tmp_path / "tensorboard") if value.tag == "test_grid"]
    assert (image.image.width, image.image.height) == (5, 3)
    assert np.asarray(Image.open(io.BytesIO(image.image.encoded_image_string))).mean() == 200
    assert (tmp_path / "metrics.jsonl").read_bytes() == before  # of eval_test.json it is no copy


def test_without_a_tracker_there_is_metrics_jsonl(debug_config, tmp_path):
    session(tmp_path, with_writers(debug_config), 0, [(2, {"train/loss": 0.5})])
    assert [path.name for path in tmp_path.iterdir()] == ["metrics.jsonl"]


def test_other_processes_read_and_write_nothing(config, tmp_path, monkeypatch):
    session(tmp_path, config, 0, [(2, {"validation/selection": 0.5})])
    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    monkeypatch.setattr(jax, "process_index", lambda: 1)
    with Writer(tmp_path, config) as writer:
        writer.start(2)
        assert writer.value(2, "validation/selection") == 0.5
        writer.write(4, {"train/loss": 0.5})
        writer.test(4, {"bones/dsc": 0.5}, {"test_grid": tmp_path / "absent.png"})
    assert {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()} == before


@pytest.mark.parametrize("name", ["wandb", "mlflow"])
@pytest.mark.parametrize("kind", ["missing", "folder"])
def test_a_package_that_is_missing_is_named_with_its_extra(debug_config, tmp_path, monkeypatch, name, kind):
    """W&B leaves a folder ``wandb`` where it was started, which Python takes for a package without any content."""
    found = None if kind == "missing" else importlib.machinery.ModuleSpec(name, None, is_package=True)
    monkeypatch.setattr("importlib.util.find_spec", lambda package: found)
    with pytest.raises(RunError, match=rf"tracking.writers names {name}, which is not installed.*'ramjax\[{name}\]'"):
        Writer(tmp_path, with_writers(debug_config, "tensorboard", name))
    assert list(tmp_path.iterdir()) == []


def test_a_row_before_the_start_is_a_mistake_of_the_program(config, tmp_path):
    with pytest.raises(ValueError, match="was not started"), Writer(tmp_path, config) as writer:
        writer.write(2, {"train/loss": 0.5})


ROWS = [{"step": step, "train/loss": float(step)} for step in range(5, 55, 5)]


def damage(text: bytes, line: int, damaged: bytes) -> bytes:
    lines = text.splitlines(keepends=True)
    return b"".join([*lines[: line - 1], damaged, *lines[line:]])


@pytest.mark.parametrize("checked", [True, False])
@pytest.mark.parametrize(
    ("damaged", "reason"),
    [
        (b'["step": 10, "train/loss": 10.0}\n', "it is no JSON"),
        (b'{"step\xff: 10, "train/loss": 10.0}\n', "it is not UTF-8"),
        (b"10\n", "it is no JSON object"),
        (b"[10]\n", "it is no JSON object"),
        (b"null\n", "it is no JSON object"),
        (b"\x00\x00\x00\x00\n", "it is no JSON"),
        (b'{"train/loss": 10.0}\n', "its step is None"),
        (b'{"step": "10"}\n', "its step is 10"),
        (b'{"step": true}\n', "its step is True"),
        (b'{"step": -10, "train/loss": 1.0}\n', "its step is -10"),
        (b'{"step": 10.5, "train/loss": 1.0}\n', "its step is 10.5"),
        (b'{"step": 1' + 400 * b"0" + b"}\n", "its step is 1000"),
        (b'{"step": 1' + 5000 * b"0" + b"}\n", "Exceeds the limit"),
        (b'{"step": 10, "train/loss": "10.0"}\n', "its train/loss is no number"),
        (b'{"step": 10, "train/loss": [1]}\n', "its train/loss is no number"),
        (b'{"step": 10, "x": ' + 5000 * b"[" + 5000 * b"]" + b"}\n", "nested too deeply|its x is no number"),
        (b'{"step": 5, "train/loss": 5.0}\n', "it repeats a row of step 5"),
        (b'{"step": 10, "train/lo\n', "it is no JSON"),
        (b'{"step": 10, "train/loss": 11.0, "crc32": "00000000"}\n', "its checksum differs"),
    ],
)
def test_a_damaged_row_costs_that_row_only(debug_config, tmp_path, caplog, checked, damaged, reason):
    write = json_line if checked else lambda row: json.dumps(row) + "\n"
    text = damage("".join(map(write, ROWS)).encode(), 2, damaged)
    path = tmp_path / "metrics.jsonl"
    path.write_bytes(text)
    assert read_json_lines(path) == ROWS[:1] + ROWS[2:]
    assert path.read_bytes() == text  # reading alone changes nothing
    (said,) = [record.getMessage() for record in caplog.records]
    assert re.search(rf"^{re.escape(str(path))}: line 2 is damaged \(.*({reason})", said)
    caplog.clear()
    for _ in range(2):
        session(tmp_path, with_writers(debug_config), 50)
    (said,) = [record.getMessage() for record in caplog.records]
    assert said.startswith(f"{path}: line 2 is damaged (") and said.endswith(f"set aside in {path}.damaged.")
    assert (tmp_path / "metrics.jsonl.damaged").read_bytes() == damaged
    assert read_json_lines(path) == ROWS[:1] + ROWS[2:]
    session(tmp_path, with_writers(debug_config), 50, [(55, {"train/loss": 1.0})])
    assert read_json_lines(path)[-1] == {"step": 55, "train/loss": 1.0}


def test_a_last_line_without_its_end_is_a_row_when_it_is_whole(tmp_path):
    path, text = tmp_path / "metrics.jsonl", "".join(map(json_line, ROWS)).encode()
    path.write_bytes(text[:-1])
    assert read_json_lines(path) == ROWS
    for cut in range(2, len(json_line(ROWS[-1]))):
        path.write_bytes(text[:-cut])
        assert split_json_lines(path) == (ROWS[:-1], [])


def test_every_bit_that_changes_costs_at_most_two_rows_and_is_said_or_changes_no_value(tmp_path):
    """Two, where the line feed between them is gone."""
    path, rows = tmp_path / "metrics.jsonl", ROWS[:3]
    text = "".join(map(json_line, rows)).encode()
    for bit in range(8 * len(text)):
        changed = bytearray(text)
        changed[bit // 8] ^= 1 << bit % 8
        path.write_bytes(changed)
        read, damaged = split_json_lines(path)
        assert read == rows or damaged, bytes(changed)
        assert all(row in rows for row in read) and len(read) >= 1, bytes(changed)


def test_a_whole_run_goes_on_past_a_damaged_row(debug_config, tmp_path, monkeypatch, capsys):
    tiny_job.install(monkeypatch)
    config = tiny_job.tiny(debug_config, steps=8, log_every=1, eval_every=4, checkpoint_every=4, keep_checkpoints=2)
    with pytest.raises(Preempted):
        tiny_job.go(config, tmp_path / "run", look=7)
    path = tmp_path / "run" / "metrics.jsonl"
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join([lines[0], lines[1].replace(b"0", b"1", 1), *lines[2:]]))
    tiny_job.go(config, tmp_path / "run")
    assert "metrics.jsonl: line 2 is damaged (its checksum differs); set aside in" in capsys.readouterr().err
    assert [row["step"] for row in read_json_lines(path) if "train/loss" in row] == [1, 3, 4, 5, 6, 7, 8]
    assert (tmp_path / "run" / "metrics.jsonl.damaged").read_bytes() == lines[1].replace(b"0", b"1", 1)
