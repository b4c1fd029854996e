import contextlib
import os
import pathlib
import subprocess
import sys

import handmade
import numpy as np
import pytest
import tensorflow_datasets as tfds

from ramjax import anatomy, phantom
from ramjax.data import parallel, source
from tfds_builders.ram_phantom import ram_phantom_dataset_builder as ram_phantom

ROOT = pathlib.Path(__file__).parents[2]


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return handmade.make_data(data_dir=str(tmp_path_factory.mktemp("data")), canvas=handmade.make_canvas(128, 96))


@pytest.fixture(scope="module")
def records(data):
    return {split: list(open_split(data, split)) for split in ram_phantom.SPLITS}


def open_split(data, split):
    return source.open_source(data.datasets[0], data.data_dir, split)


def config(name):
    return ram_phantom.Builder.builder_configs[name]


def run(code: str, **options) -> subprocess.CompletedProcess:
    return subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=60, **options)


def test_records_are_the_phantoms_to_the_pixel(records):
    hands = config("tiny").hands
    expected = {record.id: record for record in (phantom.render(hands, case).record for case in phantom.cases(hands))}
    found = {record.id: record for split in records.values() for record in split}
    assert found.keys() == expected.keys() and sum(map(len, records.values())) == len(expected)
    for key, record in found.items():
        for plane in ("image", "bones", "erosions"):
            np.testing.assert_array_equal(getattr(record, plane), getattr(expected[key], plane))
        scores = [(joint.site, joint.be, joint.jsn) for joint in record.joints]
        assert scores == [(joint.site, joint.be, joint.jsn) for joint in expected[key].joints]
        assert (record.patient, record.side) == (expected[key].patient, expected[key].side)


def test_no_patient_is_in_two_splits(records):
    patients = [{record.patient for record in split} for split in records.values()]
    assert [len(split) for split in records.values()] == [4, 2, 2]
    assert sum(map(len, patients)) == len(set.union(*patients)) == 4


def test_full_has_the_size_and_splits_of_ram_h1200():
    hands = config("full").hands
    cases = phantom.cases(hands)
    splits = ram_phantom.split_cases(cases, config("full").shares)
    assert len(cases) == 1200 and hands.scale == 1.0
    assert np.abs(np.subtract([len(split) for split in splits.values()], (793, 140, 267))).max() <= 3
    patients = [{case.patient for case in split} for split in splits.values()]
    assert sum(map(len, patients)) == len(set.union(*patients)) > 400
    assert any(case.visit == 1 for case in splits["test"])


def test_small_is_enough_to_learn_from():
    splits = ram_phantom.split_cases(phantom.cases(config("small").hands), config("small").shares)
    assert [len(split) for split in splits.values()] == [512, 32, 96]


def test_worker_processes_render_the_same(tmp_path, monkeypatch):
    render = ram_phantom._Render(config("tiny").hands)
    monkeypatch.setattr(parallel, "_FEW", 0)
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: {0, 1}, raising=False)
    cases = list(phantom.cases(config("tiny").hands))[:3]
    for case, made in zip(cases, parallel.in_order(render, cases), strict=True):
        np.testing.assert_array_equal(made.record.image, render(case).record.image)
        np.testing.assert_array_equal(made.record.bones, render(case).record.bones)


PREPARE = """
import os, socket, sys
def refuse(*args): raise OSError("no network in this test")
socket.socket.connect = socket.getaddrinfo = refuse
sys.path.insert(0, "tests/data")
import handmade
from ramjax.data import pipeline
data = handmade.make_data(data_dir={folder!r}, canvas=handmade.make_canvas(128, 96), batch_size=2)
"""


def test_preparing_and_reading_needs_neither_tensorflow_nor_network(tmp_path):
    code = PREPARE.format(folder=str(tmp_path)) + (
        "source = pipeline.open_sources(data, 'train[:3]')\n"
        "batch = next(iter(pipeline.make_train_batches(data, source, seed=0, start_step=0, steps=1, labels=())))\n"
        "print(len(source[0]), batch['image'].shape, 'tensorflow' in sys.modules, 'torch' in sys.modules)"
    )
    done = run(code)
    assert done.stdout.split("\n")[0] == "3 (2, 128, 96, 1) False False", done.stderr
    assert "Preparing ram_phantom/tiny train: 100%" in done.stderr


def test_a_killed_preparation_starts_again_cleanly(tmp_path):
    code = PREPARE.format(folder=str(tmp_path)) + (
        "from ramjax import phantom\n"
        "render, seen = phantom.render, []\n"
        "def die(hands, case):\n"
        "    seen.append(case)\n"
        "    return render(hands, case) if len(seen) < 6 else os.kill(os.getpid(), 9)\n"
        "phantom.render = die\n"
        "pipeline.open_sources(data, 'test')"
    )
    folder = tmp_path / "ram_phantom" / "tiny"
    assert run(code).returncode == -9
    assert any(folder.glob("incomplete.*")) and not any(folder.glob("[0-9]*"))
    data = handmade.make_data(data_dir=str(tmp_path))
    assert len(open_split(data, "test")) == 2
    assert not any(folder.glob("incomplete.*"))


def test_two_runs_at_once_prepare_it_once(tmp_path):
    code = PREPARE.format(folder=str(tmp_path)) + "print(len(pipeline.open_sources(data, 'train')[0]))"
    with contextlib.ExitStack() as stack:
        runs = [
            stack.enter_context(
                subprocess.Popen(
                    [sys.executable, "-c", code], cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
                )
            )
            for _ in range(2)
        ]
        outputs = [process.communicate(timeout=60) for process in runs]
    assert [out for out, _ in outputs] == ["4\n", "4\n"], outputs
    assert sum("Preparing ram_phantom" in err for _, err in outputs) == 1


def test_tfds_reads_it_without_the_builder(data, records):
    folder = pathlib.Path(data.data_dir) / "ram_phantom" / "tiny" / str(ram_phantom.Builder.VERSION)
    builder = tfds.builder_from_directory(folder)
    assert builder.info.features["joints"].feature["site"].names == list(anatomy.SITE_NAMES)
    test = builder.as_data_source("test")
    assert [example["id"].decode() for example in test] == [record.id for record in records["test"]]
    np.testing.assert_array_equal(test[0]["image"][..., 0], records["test"][0].image)


def test_the_builder_class_prepares_it_through_tfds(tmp_path):
    builder = ram_phantom.Builder(config="tiny", data_dir=tmp_path, file_format="array_record")
    builder.download_and_prepare()
    assert len(builder.as_data_source("train")) == 4
    assert "synthetic" in builder.info.description and "Buryanov" in builder.info.citation


def test_a_folder_that_cannot_be_written_is_named(tmp_path):
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(OSError, match=r"ram_phantom/tiny/.* could not be prepared in .*file.* data.data_dir"):
        open_split(handmade.make_data(data_dir=str(tmp_path / "file")), "train")


def test_unknown_names_are_errors_that_list_the_known(data):
    with pytest.raises(ValueError, match=r"no split 'tset'; it has .*test.*train"):
        open_split(data, "tset")
    with pytest.raises(ValueError, match=r"ram_phantom has no config 'smal'; it has small, tiny, full"):
        source.make_builder("ram_phantom/smal", data.data_dir)
    with pytest.raises(ValueError, match=r"Unknown data set 'ram_x'; known are ram_phantom"):
        source.make_builder("ram_x", data.data_dir)
    with pytest.raises(ValueError, match=r"Data set 'no_lab.films' cannot be imported \(No module named 'no_lab'\)"):
        source.make_builder("no_lab.films", data.data_dir)


def test_a_package_elsewhere_is_named_by_its_dotted_path(data):
    named = source.make_builder("tfds_builders.ram_phantom/tiny", data.data_dir)
    assert named.data_path == source.make_builder("ram_phantom/tiny", data.data_dir).data_path
