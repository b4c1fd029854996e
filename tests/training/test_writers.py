import json
import math
import struct

from tensorboardX.proto import event_pb2

from ramjax.files import read_json_lines
from ramjax.training.writers import Writer


def events(folder):
    """(step, tag, value) of every scalar in the event files, read by the format: length, CRC, event, CRC."""
    found = []
    for path in sorted(folder.glob("events.*")):
        content, at = path.read_bytes(), 0
        while at < len(content):
            (length,) = struct.unpack_from("<Q", content, at)
            event = event_pb2.Event.FromString(content[at + 12 : at + 12 + length])
            found += [(event.step, value.tag, value.simple_value) for value in event.summary.value]
            at += 16 + length
    return found


def test_rows_and_events_hold_the_metrics(tmp_path):
    writer = Writer(tmp_path, 0)
    writer.write(2, {"train/loss": 0.5, "train/loss/bones": math.nan})
    writer.write(4, {"train/loss": 0.25})
    writer.close()
    rows = [json.loads(line) for line in (tmp_path / "metrics.jsonl").read_text().splitlines()]
    assert rows == [{"step": 2, "train/loss": 0.5, "train/loss/bones": None}, {"step": 4, "train/loss": 0.25}]
    assert events(tmp_path / "tensorboard") == [(2, "train/loss", 0.5), (4, "train/loss", 0.25)]


def test_a_run_that_goes_on_drops_what_it_does_again(tmp_path):
    writer = Writer(tmp_path, 0)
    for step in (2, 4, 6):
        writer.write(step, {"train/loss": float(step)})
    writer.write(4, {"validation/dsc": 0.5, "validation/nsd": math.inf})
    writer.close()
    with (tmp_path / "metrics.jsonl").open("a") as file:
        file.write('{"step": 3, "train/lo')  # killed while it wrote
    writer = Writer(tmp_path, 4)
    assert writer.value(4, "validation/dsc") == 0.5
    assert writer.value(2, "validation/dsc") is writer.value(4, "validation/nsd") is None
    writer.write(6, {"train/loss": 0.0})
    writer.close()
    rows = read_json_lines(tmp_path / "metrics.jsonl")
    assert [(row["step"], row.get("train/loss")) for row in rows] == [(2, 2.0), (4, 4.0), (4, None), (6, 0.0)]


def test_no_file_is_no_metrics(tmp_path):
    assert read_json_lines(tmp_path / "metrics.jsonl") == []
