"""The builder of RAM-W600 on release trees that are written to specification, and on real images."""

import dataclasses
import json
import os
import pathlib
import shutil

import cv2
import numpy as np
import openpyxl
import pytest
import tensorflow_datasets as tfds

from ramjax import anatomy
from ramjax.data import source
from ramjax.data.report import Report
from ramjax.io import release_tree
from ramjax.io.errors import ReleaseError
from tests.builders import trees
from tfds_builders.joints import Regions
from tfds_builders.ram_w600 import reading
from tfds_builders.ram_w600.ram_w600_dataset_builder import Builder

REAL = pathlib.Path(os.environ.get("RAMJAX_RADIOGRAPHS", "nowhere")) / "ram_w600"
MASKS, SCORES = "BoneSegmentation/masks", "SvdHBEScoreClassification"


def records() -> dict[str, list]:
    """Wrists with bones, with boxes and scores, and with both; one of a public source."""
    wrists = []
    for number, record in enumerate(trees.wrists()):
        if number % 5 == 3:
            record = trees.without(record, "bones")
        elif number % 4 == 1:
            record = trees.without(record, "be")
            record = dataclasses.replace(
                record, joints=(), joints_known=np.zeros(anatomy.NUM_SITES, bool), has_joints=False
            )
        if number in (4, 5):
            record = dataclasses.replace(record, pixel_spacing_mm=float("nan"), age=float("nan"))
        wrists.append(record)
    return trees.split(wrists)


@pytest.fixture(scope="module")
def tree(tmp_path_factory) -> pathlib.Path:
    folder = tmp_path_factory.mktemp("w600") / "RAM-W600"
    release_tree.write_w600(records(), folder, quirks=True)
    return folder


@pytest.fixture
def copy(tree, tmp_path) -> pathlib.Path:
    shutil.copytree(tree, tmp_path / "copy")
    return tmp_path / "copy"


@pytest.mark.parametrize("quirks", [False, True], ids=["plain", "quirks"])
def test_what_went_in_comes_out(tmp_path, quirks):
    expected = records()
    release_tree.write_w600(expected, tmp_path / "tree", quirks=quirks)
    report = trees.prepare("ram_w600", tmp_path / "tree", tmp_path / "data")
    for split, wrists in expected.items():
        found = trees.read("ram_w600", tmp_path / "data", split)
        assert found.keys() == {record.id for record in wrists}
        for record in wrists:
            trees.assert_same(found[record.id], record)
            assert found[record.id].bones_known.sum() == 14 * record.has_bones
            assert found[record.id].joints_known.sum() == 6 * record.has_joints
    assert set(report["splits"]) == {"train", "validation", "test"}
    assert not report["patients_in_several_splits"]


def test_the_report_tells_what_does_not_belong_together(tree, tmp_path):
    amiss = trees.prepare("ram_w600", tree, tmp_path)["amiss"]["all"]
    for what, name in {
        "score folders without scores": "9998_0001_R",
        "scores without a folder": "9999_0001_L",
        "metadata rows without an image": "9997_0001",
    }.items():
        assert amiss[what] == {"count": 1, "examples": [name]}
    fives = sum(joint.be == 5 for split in records().values() for record in split for joint in record.joints)
    assert amiss.get("scores 5 that the processed file has as 3", {"count": 0})["count"] == fives


def test_the_configs_of_one_level_hold_it_in_its_official_splits(tree, tmp_path):
    for config, level, other in (("bones", "has_bones", "has_be"), ("scores", "has_be", "has_bones")):
        trees.prepare(f"ram_w600/{config}", tree, tmp_path)
        for split, wrists in records().items():
            found = trees.read(f"ram_w600/{config}", tmp_path, split)
            assert found.keys() == {record.id for record in wrists if getattr(record, level)}
            assert all(getattr(record, level) and not getattr(record, other) for record in found.values())


def wrist(stem: str, **splits: str) -> reading.Wrist:
    regions = Regions(scores={"be": {"L": 1}}) if "scores" in splits else Regions()
    mask = pathlib.Path(f"{stem}.npy") if "bones" in splits else None
    return reading.Wrist(stem, {}, mask, splits, regions, None, f"W600_{stem[:4]}", "")


def test_patients_go_where_they_are_most_held_out_and_other_labels_are_withheld():
    wrists = [
        wrist("0001_0001_L", bones="train", scores="test"),
        wrist("0001_0001_R", bones="train"),
        wrist("0002_0001_L", bones="validation"),
        wrist("0002_0001_R", scores="train"),
        wrist("0003_0001_L", bones="train", scores="train"),
        wrist("0004_0001_L"),
    ]
    report = Report("x", "")
    splits = reading.assign(wrists, reading.LEVELS, report)
    kept = {
        split: [(w.stem, w.mask is not None, bool(w.regions.scores)) for w in there] for split, there in splits.items()
    }
    assert kept == {
        "train": [("0003_0001_L", True, True)],
        "validation": [("0002_0001_L", True, False)],
        "test": [("0001_0001_L", False, True)],
        "unassigned": [("0004_0001_L", False, False)],
    }
    amiss = report.to_json()["amiss"]
    assert amiss["test"]["bones of the split train, withheld"]["examples"] == ["0001_0001_L", "0001_0001_R"]
    assert amiss["validation"]["scores of the split train, withheld"]["examples"] == ["0002_0001_R"]
    alone = reading.assign(wrists, ("bones",), report)
    assert {split: len(there) for split, there in alone.items()} == {
        "train": 3, "validation": 1, "test": 0, "unassigned": 0,
    }  # fmt: skip
    assert not any(w.regions.scores for there in alone.values() for w in there)


def test_older_folder_names_are_read(copy, tmp_path):
    (copy / MASKS).rename(copy / "BoneSegmentation/mask")
    (copy / "BoneSegmentation/images").rename(copy / "BoneSegmentation/image")
    report = trees.prepare("ram_w600", copy, tmp_path)
    expected = sum(record.has_bones for record in records()["train"])
    assert report["splits"]["train"]["records with"]["bones"] == expected


def test_the_processed_scores_stand_in_for_missing_original_ones(copy, tmp_path):
    (copy / SCORES / "JointBE_SvdH_GT_Ori.json").unlink()
    report = trees.prepare("ram_w600", copy, tmp_path)
    assert f"{SCORES}/JointBE_SvdH_GT_Ori.json" in report["amiss"]["all"]["files are missing"]["examples"]
    for split, wrists in records().items():
        found = trees.read("ram_w600", tmp_path, split)
        for record in wrists:
            scores = {joint.site: joint.be for joint in found[record.id].joints}
            assert scores == {joint.site: 3 if joint.be == 5 else joint.be for joint in record.joints}


def test_crops_stand_in_for_a_missing_detection_file(copy, tmp_path):
    (copy / "JointLocationDetection/Joints.coco.json").unlink()
    trees.prepare("ram_w600", copy, tmp_path)
    for split, wrists in records().items():
        found = trees.read("ram_w600", tmp_path, split)
        for record in wrists:
            assert {j.site: j.be for j in found[record.id].joints} == {j.site: j.be for j in record.joints}


def both_images(copy: pathlib.Path) -> str:
    stems = [{p.stem for p in (copy / f"{name}/images").iterdir()} for name in ("BoneSegmentation", reading.DETECTION)]
    return min(set.intersection(*stems) & {record.id for record in records()["train"]})


def test_boxes_move_to_the_grid_of_the_segmentation_image(copy, tmp_path):
    """The detection folder's image is a part of the other one."""
    stem = both_images(copy)
    path = copy / "JointLocationDetection/images" / f"{stem}.bmp"
    part = cv2.imread(str(path), cv2.IMREAD_GRAYSCALE)[3:, 2:]
    cv2.imwrite(str(path), part)
    edit_json(copy / "JointLocationDetection/Joints.coco.json", lambda v: resize(v, stem, *part.shape))
    content = json.loads((copy / "JointLocationDetection/Joints.coco.json").read_text())
    image = next(image for image in content["images"] if image["file_name"] == f"{stem}.bmp")
    for annotation in content["annotations"]:
        if annotation["image_id"] == image["id"]:
            annotation["bbox"][0] -= 2
            annotation["bbox"][1] -= 3
    (copy / "JointLocationDetection/Joints.coco.json").write_text(json.dumps(content))
    trees.prepare("ram_w600", copy, tmp_path)
    expected = next(record for record in records()["train"] if record.id == stem)
    trees.assert_same(trees.read("ram_w600", tmp_path, "train")[stem], expected)


def test_grey_values_may_differ_between_both_images(copy, tmp_path):
    stem = both_images(copy)
    path = copy / "JointLocationDetection/images" / f"{stem}.bmp"
    cv2.imwrite(str(path), cv2.imread(str(path), cv2.IMREAD_GRAYSCALE) // 2 + 40)
    report = trees.prepare("ram_w600", copy, tmp_path)
    assert report["amiss"]["train"]["images that differ in grey values between both folders"]["examples"] == [stem]
    expected = next(record for record in records()["train"] if record.id == stem)
    trees.assert_same(trees.read("ram_w600", tmp_path, "train")[stem], expected)


@pytest.mark.parametrize("other", ["noise of another size", "shifted"])
def test_boxes_of_another_picture_are_left_out_and_counted(copy, tmp_path, other):
    stem = both_images(copy)
    path = copy / "JointLocationDetection/images" / f"{stem}.bmp"
    if other == "shifted":
        cv2.imwrite(str(path), np.roll(cv2.imread(str(path), cv2.IMREAD_GRAYSCALE), (6, 5), (0, 1)))
    else:
        edit_json(copy / "JointLocationDetection/Joints.coco.json", lambda v: resize(v, stem, 80, 70))
        cv2.imwrite(str(path), np.random.default_rng(0).integers(0, 255, (80, 70), dtype=np.uint8))
    shutil.rmtree(copy / SCORES / "train" / stem)
    report = trees.prepare("ram_w600", copy, tmp_path)
    found = report["amiss"]["train"]["images of other content in both folders, boxes left out"]
    assert found["examples"] == [stem]
    record = trees.read("ram_w600", tmp_path, "train")[stem]
    assert record.has_bones and not record.has_joints


def edit_json(path: pathlib.Path, change) -> None:
    values = json.loads(path.read_text())
    change(values)
    path.write_text(json.dumps(values))


def resize(values, stem: str, height: int, width: int) -> None:
    image = next(image for image in values["images"] if image["file_name"] == f"{stem}.bmp")
    image.update(height=height, width=width)


def edit_sheet(copy: pathlib.Path, change) -> None:
    book = openpyxl.load_workbook(copy / "Metadata.xlsx")
    header = [cell.value for cell in book.active[1]]
    for row in book.active.iter_rows(min_row=2):
        change(dict(zip(header, row, strict=True)))
    book.save(copy / "Metadata.xlsx")


def test_a_row_without_a_centre_does_not_make_another_patient(copy, tmp_path):
    """A leak would follow: one patient under two keys, in two splits."""
    blank = records()["train"][0].id[:-2]

    def forget(row):
        if row["Mapped Image Stem"].value == blank:
            row["InstitutionName"].value = None

    edit_sheet(copy, forget)
    folder = copy / "BoneSegmentation/masks/test"
    moved = copy / "BoneSegmentation/masks/train" / f"{records()['train'][0].id}.npy"
    moved.rename(folder / moved.name)
    report = trees.prepare("ram_w600", copy, tmp_path)
    assert not report["patients_in_several_splits"]
    tests = trees.read("ram_w600", tmp_path, "test")
    trains = trees.read("ram_w600", tmp_path, "train")
    number = blank[:4]
    assert any(key.startswith(number) for key in tests) and not any(key.startswith(number) for key in trains)


def test_patients_of_public_sources_are_those_of_the_sheet(copy, tmp_path):
    stem = both_images(copy)
    names = ("BTXRD_7_0001_L", "BTXRD_7_0002_L")
    for folder in ("BoneSegmentation/images", "JointLocationDetection/images"):
        for name in names:
            shutil.copy(copy / folder / f"{stem}.bmp", copy / folder / f"{name}.bmp")
    book = openpyxl.load_workbook(copy / "Metadata.xlsx")
    for name in names:
        book.active.append([name[:-2], "7", "1", "BTXRD", 0, 50, "F", 0, "", ""])
    book.save(copy / "Metadata.xlsx")
    trees.prepare("ram_w600", copy, tmp_path)
    found = trees.read("ram_w600", tmp_path, "unassigned")
    assert {found[name].patient for name in names} == {"W600_BTXRD_7"}


def test_cases_with_processed_scores_alone_keep_them(copy, tmp_path):
    values = json.loads((copy / SCORES / "JointBE_SvdH_GT_Ori.json").read_text())
    gone = values.pop(0)["identifier"]
    (copy / SCORES / "JointBE_SvdH_GT_Ori.json").write_text(json.dumps(values))
    report = trees.prepare("ram_w600", copy, tmp_path)
    assert report["amiss"]["all"]["cases with processed scores alone, which count"]["examples"] == [gone]
    assert trees.read("ram_w600", tmp_path, "train")[gone].has_be


def test_a_level_that_is_not_there_is_said_and_leaves_nothing(copy, tmp_path):
    partial = tmp_path / "partial"
    shutil.copytree(copy / "JointLocationDetection" / "images", partial / "JointLocationDetection" / "images")
    with pytest.raises(ReleaseError, match=r"has nothing for ram_w600/bones.* official split of bones"):
        trees.prepare("ram_w600/bones", partial, tmp_path / "data")
    report = trees.prepare("ram_w600/bones", copy, tmp_path / "data")
    assert report["splits"]["train"]["records with"]["bones"]


def short_mask(copy):
    path = next((copy / MASKS / "train").iterdir())
    np.save(path, np.load(path)[:13])
    return path.name, "14 planes"


def other_size(copy):
    path = next((copy / MASKS / "train").iterdir())
    np.save(path, np.zeros((14, 7, 9), np.uint8))
    return path.name, "(14, 7, 9)"


def damaged_mask(copy):
    path = next((copy / MASKS / "train").iterdir())
    path.write_bytes(path.read_bytes()[:99])
    return (path.name,)


def pickled_mask(copy):
    path = next((copy / MASKS / "train").iterdir())
    np.save(path, np.array([{"a": 1}], object))
    return (path.name,)


def zipped_mask(copy):
    path = next((copy / MASKS / "train").iterdir())
    with path.open("wb") as file:
        np.savez(file, np.zeros((14, 4, 4)))
    return path.name, "another format"


def other_size_of_boxes(copy):
    path = copy / "JointLocationDetection/Joints.coco.json"
    edit_json(path, lambda values: values["images"][0].update(height=640, width=640))
    return path.name, "640 x 640"


def twice(copy):
    path = next((copy / MASKS / "train").iterdir())
    (copy / MASKS / "test").mkdir(exist_ok=True)
    shutil.copy(path, copy / MASKS / "test" / path.name)
    return path.stem, "also in the split train"


def edit_scores(change):
    def spoil(copy):
        path = copy / SCORES / "JointBE_SvdH_GT_Ori.json"
        values = json.loads(path.read_text())
        words = change(values)
        path.write_text(json.dumps(values))
        return path.name, *words

    spoil.__name__ = change.__name__
    return spoil


@edit_scores
def score_of_6(values):
    values[0]["joints"]["Lunate"] = 6
    return values[0]["identifier"], "Lunate is 6"


@edit_scores
def unknown_joint(values):
    values[1]["joints"]["Patella"] = 0
    return values[1]["identifier"], "Patella"


@edit_scores
def no_list(values):
    values[0] = {"joints": {}}
    return "identifier", "list"


def unknown_categories(copy):
    path = copy / "JointLocationDetection/Joints.coco.json"
    values = json.loads(path.read_text())
    for number, category in enumerate(values["categories"]):
        category["name"] = f"joint{number}"
    path.write_text(json.dumps(values))
    return path.name, "joint1", "Metacarpal1st"


def no_images(copy):
    for name in ("BoneSegmentation", "JointLocationDetection"):
        shutil.rmtree(copy / name / "images")
    return "copy", "no images"


@pytest.mark.parametrize(
    "spoil",
    [
        short_mask, other_size, damaged_mask, pickled_mask, zipped_mask, other_size_of_boxes, twice, score_of_6,
        unknown_joint, no_list, unknown_categories, no_images,
    ],
    ids=lambda spoil: spoil.__name__,
)  # fmt: skip
def test_what_cannot_be_trusted_stops_with_file_and_key(copy, tmp_path, spoil):
    words = spoil(copy)
    with pytest.raises(ReleaseError) as error:
        trees.prepare("ram_w600", copy, tmp_path / "data")
    for word in words:
        assert word in str(error.value)


def test_a_joint_that_is_not_scored_is_left_out_and_counted(copy, tmp_path):
    path = copy / "JointLocationDetection/Joints.coco.json"
    values = json.loads(path.read_text())
    values["categories"].append({"id": 77, "name": "Pisiform"})
    image = values["images"][0]
    values["annotations"].append({"image_id": image["id"], "category_id": 77, "bbox": [1, 2, 3, 4]})
    path.write_text(json.dumps(values))
    amiss = trees.prepare("ram_w600", copy, tmp_path)["amiss"]["all"]
    expected = {"count": 1, "examples": [f"{pathlib.Path(image['file_name']).stem} Pisiform"]}
    assert amiss["detections of no site of the score"] == expected


def test_names_of_another_pattern_are_patients_of_their_own(copy, tmp_path):
    stem = both_images(copy)
    for folder in ("BoneSegmentation/images", "JointLocationDetection/images"):
        image = cv2.imread(str(copy / folder / f"{stem}.bmp"))
        cv2.imwrite(str(copy / folder / "DHA-77_L.bmp"), image)
    report = trees.prepare("ram_w600", copy, tmp_path)
    (record,) = trees.read("ram_w600", tmp_path, "unassigned").values()
    assert (record.id, record.patient, record.side, record.center) == ("DHA-77_L", "DHA-77", "L", "")
    assert np.isnan(record.pixel_spacing_mm) and record.is_ra == -1
    assert "file names of an unknown pattern" in report["amiss"]["unassigned"]


@pytest.mark.skipif(not REAL.is_dir(), reason="RAMJAX_RADIOGRAPHS names no folder of real radiographs")
def test_real_wrists_without_masks_and_scores_prepare_with_warnings(tmp_path):
    """8 and 24-bit images as released, the images alone: what a partial download leaves."""
    images = tmp_path / "RAM-W600/JointLocationDetection/images"
    images.parent.mkdir(parents=True)
    images.symlink_to(REAL.absolute())
    report = trees.prepare("ram_w600", tmp_path, tmp_path / "data")
    assert report["splits"]["unassigned"]["records"]["images"] == 24
    missing = report["amiss"]["all"]["files are missing"]["examples"]
    assert any("Joints.coco.json" in name for name in missing) and "Metadata.xlsx" in missing
    found = trees.read("ram_w600", tmp_path / "data", "unassigned")
    for path in REAL.glob("*.bmp"):
        np.testing.assert_array_equal(found[path.stem].image, cv2.imread(str(path), cv2.IMREAD_GRAYSCALE))
        assert found[path.stem].side == path.stem[-1] and not found[path.stem].has_bones
    with pytest.raises(ValueError, match="no split 'train'; it has unassigned"):
        source.open_source("ram_w600", str(tmp_path / "data"), "train")


def test_it_works_through_the_api_of_tfds(tree, tmp_path):
    builder = Builder(config="bones", data_dir=tmp_path, file_format="array_record")
    builder.download_and_prepare(download_config=tfds.download.DownloadConfig(manual_dir=tree))
    assert len(builder.as_data_source("test")) == sum(record.has_bones for record in records()["test"])
