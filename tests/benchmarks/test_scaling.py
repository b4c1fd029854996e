"""How cost grows: the sizes that are measured, the hands that are read again and again, and the picture."""

import dataclasses
import json

import cv2
import pytest

from benchmarks import scaling


def test_canvas_of_native_size(debug_config):
    canvas = scaling.with_canvas(debug_config, 1.0).data.canvas
    stride = debug_config.model.max_stride
    assert canvas.height % stride == canvas.width % stride == 0
    assert abs(canvas.height - 1700) <= stride / 2
    assert abs(canvas.width - 1300) <= stride / 2
    quarter = scaling.with_canvas(debug_config, 0.25)
    assert quarter.data.batch_size == 1
    assert abs(quarter.data.canvas.height - 425) <= stride / 2


def test_channels_stay_divisible(debug_config):
    wide = scaling.with_channels(debug_config, 3)
    assert wide.model.widths == tuple(3 * width for width in debug_config.model.widths)
    assert wide.scores.width == 3 * debug_config.scores.width
    narrow = scaling.with_channels(debug_config, 0.5)
    assert all(width % 8 == 0 and width >= 8 for width in narrow.model.widths)


def test_devices_share_one_batch(debug_config):
    config = scaling.with_devices(debug_config, 4)
    assert (config.mesh.data, config.data.batch_size) == (4, scaling.DEVICES_BATCH)


def test_repeated_examples():
    repeated = scaling.Repeated(("a", "b", "c"), 7)
    assert len(repeated) == 7
    assert [repeated[i] for i in range(7)] == list("abcabca")


def test_epoch_of_hands(debug_config):
    point = scaling.of_hands(debug_config, 5)
    assert point["seconds"] > 0
    assert point["gb"] > 0.01


def test_hands_end_to_end(data_dir, tmp_path, capsys):
    picture = tmp_path / "new" / "picture.png"
    command = ["scaling", "--config=experiments/debug.py", "--hands=4,16", "--sides=", "--channels=", "--devices="]
    assert scaling.main([*command, f"--data_dir={data_dir}", f"--picture={picture}", "--json"]) == 0
    numbers = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert numbers["hands"] == [4, 16]
    assert len(numbers["hands_seconds"]) == len(numbers["hands_gb"]) == 2
    assert "pixels" not in numbers
    assert cv2.imread(str(picture)).shape[0] > 300


def test_power_of_the_size(monkeypatch, debug_config):
    monkeypatch.setattr(
        scaling, "_apart", lambda function, config, *rest, **_: lambda: {"seconds": _square(config), "gb": 0.5}
    )
    numbers = scaling.measure(debug_config, [], [], [1, 2, 4], [], repeats=1)
    assert numbers["channels_seconds_power"] == pytest.approx(2)
    assert numbers["channels_gb_power"] == pytest.approx(0)


def test_picture_of_all_parts(tmp_path):
    numbers = {}
    for name in scaling.PARTS:
        numbers |= {name: [1, 2, 4], f"{name}_seconds": [0.1, 0.2, 0.5], f"{name}_gb": [0.3, 0.3, 0.3]}
    scaling.draw(numbers, tmp_path / "all.png")
    height, width, _ = cv2.imread(str(tmp_path / "all.png")).shape
    assert width > 1.5 * height


def _square(config) -> float:
    return dataclasses.asdict(config)["model"]["widths"][0] ** 2 / 1e3
