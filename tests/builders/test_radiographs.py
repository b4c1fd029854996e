"""A folder of radiographs without labels as a data set."""

import pathlib

import cv2
import numpy as np
import pytest

from ramjax.data import pipeline
from ramjax.data.source import open_source
from ramjax.io.errors import ReleaseError
from ramjax.record import LABEL_FLAGS
from ramjax.tasks import labels_of, make_tasks
from tests.builders import trees
from tfds_builders.radiographs import radiographs_dataset_builder as radiographs

SPLITS = ("train", "validation", "test")


def film(seed: int) -> np.ndarray:
    return cv2.GaussianBlur(np.random.default_rng(seed).integers(0, 255, (80, 70), dtype=np.uint8), (0, 0), 2)


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> pathlib.Path:
    """Five patients with two films each, and three films side by side; a damaged file, notes and a hidden file."""
    made = tmp_path_factory.mktemp("films") / "films"
    for patient in range(5):
        for visit in range(2):
            path = made / f"P{patient}" / f"visit {visit}" / "hand.png"
            path.parent.mkdir(parents=True)
            cv2.imwrite(str(path), film(2 * patient + visit))
    for number in range(3):
        cv2.imwrite(str(made / f"single{number}.bmp"), film(100 + number))
    (made / "P0" / "broken.png").write_bytes((made / "single0.bmp").read_bytes()[:60])
    (made / "P0" / "notes.txt").write_text("no radiograph")
    cv2.imwrite(str(made / ".hidden.png"), film(0))
    return made


@pytest.fixture(scope="module")
def prepared(folder, tmp_path_factory):
    data_dir = tmp_path_factory.mktemp("prepared")
    report = trees.prepare("radiographs", folder, data_dir)
    return data_dir, report, {split: trees.read("radiographs", data_dir, split) for split in SPLITS}


def test_every_readable_file_is_a_record_of_which_nothing_is_known(prepared):
    _, report, splits = prepared
    records = {name: record for of in splits.values() for name, record in of.items()}
    assert sorted(records) == sorted(
        [*(f"P{p}/visit {v}/hand.png" for p in range(5) for v in range(2)), *(f"single{n}.bmp" for n in range(3))]
    )
    np.testing.assert_array_equal(records["P3/visit 1/hand.png"].image, film(7))
    for record in records.values():
        assert not any(getattr(record, flag) for flag in LABEL_FLAGS) and not record.joints
        assert not record.bones_known.any() and not record.joints_known.any()
        assert record.dataset == "radiographs" and record.is_ra == -1 and np.isnan(record.age)
    [(split, found)] = [(split, found) for split, found in report["amiss"].items() if found]
    assert found["files that cannot be read"]["count"] == 1
    assert found["files that cannot be read"]["examples"][0].startswith("P0/broken.png")
    assert report["splits"][split]["records"]["images"] == len(splits[split])


def test_splits_keep_patients_together(prepared):
    _, report, splits = prepared
    patients = [{record.patient for record in splits[split].values()} for split in SPLITS]
    assert [len(of) for of in patients] == [6, 1, 1] and len(set.union(*patients)) == 8
    assert not report["patients_in_several_splits"]
    assert {record.patient for name, record in splits["train"].items() if name.startswith("P")} <= {
        f"P{number}" for number in range(5)
    }


def test_the_choice_depends_on_the_names_alone(folder, tmp_path):
    files = radiographs.find_images(folder)
    moved = [tmp_path / file.relative_to(folder) for file in files[::-1]]
    one, other = radiographs.assign(files, folder), radiographs.assign(moved, tmp_path)
    for split in SPLITS:
        assert {f.relative_to(folder) for f in one[split]} == {f.relative_to(tmp_path) for f in other[split]}


def test_batches_are_made_of_them(prepared, debug_config):
    data_dir, *_ = prepared
    source = open_source("radiographs", str(data_dir), "train")
    labels = labels_of(make_tasks(debug_config))
    make = pipeline.make_train_batches
    batch = next(iter(make(debug_config.data, [source], seed=0, start_step=0, steps=1, labels=labels)))
    assert batch["image"].std() > 0.05 and batch["valid"].all()
    assert not any(batch[flag].any() for flag in LABEL_FLAGS)


@pytest.mark.parametrize(
    ("files", "said"),
    [
        ((), "has no radiographs; name a folder of PNG"),
        (("a.png", "b.png"), r"has radiographs of 2 patient\(s\), and the three splits need one each"),
        (("A/a.png", "A/b.png", "A/c/d.png"), r"of 1 patient\(s\)"),
    ],
)
def test_a_folder_that_does_not_serve(files, said, tmp_path):
    for file in files:
        (tmp_path / "films" / file).parent.mkdir(parents=True, exist_ok=True)
        cv2.imwrite(str(tmp_path / "films" / file), film(0))
    (tmp_path / "films").mkdir(exist_ok=True)
    (tmp_path / "films" / "notes.txt").write_text("")
    with pytest.raises(ReleaseError, match=said):
        trees.prepare("radiographs", tmp_path / "films", tmp_path / "data")


def test_without_a_folder_it_says_so(tmp_path):
    with pytest.raises(ReleaseError, match=r"There is no folder .*manual/radiographs; name that .* --source"):
        trees.prepare("radiographs", None, tmp_path)
