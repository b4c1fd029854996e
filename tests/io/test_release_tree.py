"""What a release tree looks like on disk; that it reads back is tested with the builders."""

import dataclasses
import json
import pathlib

import numpy as np
import openpyxl
import pytest
from PIL import Image

from ramjax import anatomy
from ramjax.io import release_parts, release_tree
from ramjax.record import Joint
from tests.builders import trees


@pytest.fixture(scope="module")
def h1200(tmp_path_factory):
    records = release_tree.as_h1200(trees.hands(), detections=True)
    folder = tmp_path_factory.mktemp("tree") / "RAM-H1200-v1"
    release_tree.write_h1200(trees.split(records), folder, detections=True, quirks=True)
    return folder, records


@pytest.fixture(scope="module")
def w600(tmp_path_factory):
    folder = tmp_path_factory.mktemp("tree") / "RAM-W600"
    release_tree.write_w600(trees.split(trees.wrists()), folder, quirks=True)
    return folder


def load(path: pathlib.Path):
    return json.loads(path.read_text())


def test_folders_and_files_have_the_names_of_ram_h1200(h1200):
    folder, records = h1200
    files = {path.relative_to(folder).as_posix() for path in folder.rglob("*.[jx]*")}
    assert files == {
        "Metadata.xlsx",
        *(f"Segmentation/{s}/_annotations_{k}_rle.coco.json" for s in ("train", "val", "test") for k in ("bone", "be")),
        *(f"Joint_Detection/{s}/_annotations_joint.coco.json" for s in ("train", "val", "test")),
        *(
            f"SvdH_Scoring/SvdH_{k.upper()}_Scoring/{s}/_annotation_{k}_scores.json"
            for s in ("train", "val", "test")
            for k in ("be", "jsn")
        ),
    }
    assert {path.stem for path in folder.glob("Segmentation/*/*.bmp")} == {record.id for record in records}
    crops = {path.stem for path in folder.glob("SvdH_Scoring/SvdH_JSN_Scoring/*/*/*.bmp")}
    assert {"MCP-T", "PIP-S", "CMC-M", "SC", "SR", "STT"} < crops and any(name.endswith("_2") for name in crops)


def test_ids_start_again_in_every_centre_and_hands_of_one_visit_may_differ_in_tag(h1200):
    _, records = h1200
    stems = [record.id.split("_") for record in records]
    assert {center for _, center, number, *_ in stems if number == "P0001"} == set(release_tree.H1200_CENTERS)
    assert len({record.patient for record in records}) == len({record.patient for record in trees.hands()})
    tags = {}
    for _, center, number, date, tag, side in stems:
        tags.setdefault((center, number, date), {})[side] = tag
    assert any(hands["L"] != hands["R"] for (center, *_), hands in tags.items() if center == "SARC")
    assert len({record.visit for record in records if record.patient == records[0].patient}) == len(
        {record.visit for record in trees.hands() if record.patient == trees.hands()[0].patient}
    )


def test_the_quirks_are_there(h1200):
    folder, _ = h1200
    train, val = (load(folder / f"Segmentation/{s}/_annotations_bone_rle.coco.json") for s in ("train", "val"))
    names = {category["id"]: category["name"] for category in train["categories"]}
    assert names[0] == "bone-6U7D-RuyD" and {"Pisifrom_Triquetrum", "Ring"} < set(names.values()) and len(names) == 34
    assert names != {category["id"]: category["name"] for category in val["categories"]}
    kinds = {
        type(a["segmentation"]["counts"]) if isinstance(a["segmentation"], dict) else list for a in train["annotations"]
    } | {"polygons" for a in train["annotations"] if isinstance(a["segmentation"], list)}
    assert kinds == {str, list, "polygons"}
    assert any("extra" in image and "_bmp.rf." in image["file_name"] for image in train["images"])
    modes = {Image.open(path).mode for path in folder.rglob("*.bmp")}
    assert modes == {"L", "RGB"}
    scores = load(folder / "SvdH_Scoring/SvdH_BE_Scoring/train/_annotation_be_scores.json")
    values = [value for entry in scores.values() for key, value in entry.items() if key.startswith("BE_")]
    assert {type(value) for value in values} == {int, str, float}
    assert any(not name.endswith(".bmp") for name in scores) and any("reader" in entry for entry in scores.values())
    rows = list(openpyxl.load_workbook(folder / "Metadata.xlsx").active.values)
    assert rows[0][:4] == ("Mapped Image Stem", "StudyID", "Normalized PatientID", "isRA")
    assert {row[9] for row in rows[1:] if row[6] == "SARC"} == {"L", "R"}
    assert {row[9] for row in rows[1:] if row[6] != "SARC"} == {"LR"}
    assert sum(row[0].startswith("JP_HMCRD_P9") for row in rows[1:]) == 3
    assert {"x" in row[8] for row in rows[1:]} == {True, False}


def test_without_quirks_the_tree_is_plain(tmp_path):
    records = release_tree.as_h1200(trees.hands()[:4])
    release_tree.write_h1200({"train": records}, tmp_path / "tree")
    content = load(tmp_path / "tree/Segmentation/train/_annotations_bone_rle.coco.json")
    assert len(content["categories"]) == 30 and content["categories"][0]["id"] == 1
    assert all(isinstance(a["segmentation"]["counts"], str) for a in content["annotations"])
    assert {Image.open(path).mode for path in (tmp_path / "tree").rglob("*.bmp")} == {"L"}
    assert not list((tmp_path / "tree").rglob("*_2.bmp"))


def test_folders_and_files_have_the_names_of_ram_w600(w600):
    wrists = trees.wrists()
    assert {path.stem for path in (w600 / "BoneSegmentation/images").iterdir()} == {record.id for record in wrists}
    masks = {path.parent.name: np.load(path) for path in sorted(w600.glob("BoneSegmentation/masks/*/*.npy"))}
    assert set(masks) == {"train", "val", "test"}
    assert {np.load(path).dtype for path in w600.rglob("*.npy")} == {np.dtype(bool), np.dtype(np.uint8)}
    assert {14} == {min(np.load(path).shape) for path in w600.rglob("*.npy")}
    case = w600 / "SvdHBEScoreClassification" / "train" / trees.wrists()[0].id
    assert {path.name for path in case.iterdir()} <= {f"{name}.bmp" for name in release_tree.W600_SITES.values()}
    assert (case / "Trapzium.bmp").exists()
    for name, most in (("JointBE_SvdH_GT_Ori.json", 5), ("JointBE_SvdH_GT.json", 4)):
        entries = load(w600 / "SvdHBEScoreClassification" / name)
        assert all(score <= most for entry in entries for score in entry["joints"].values())
        assert "9999_0001_L" in [entry["identifier"] for entry in entries]


def test_boxes_of_a_release_have_whole_pixels():
    for record in release_tree.as_h1200(trees.hands()[:3]):
        height, width = record.image.shape
        edges = np.array([joint.bbox for joint in record.joints]) * (height, width, height, width)
        np.testing.assert_allclose(edges, np.rint(edges), atol=1e-9)


def test_records_that_a_release_cannot_tell_apart_are_refused():
    hand = trees.hands()[0]
    with pytest.raises(ValueError, match="the name of another; give each record a patient, a visit and a side"):
        release_tree.as_h1200([hand, hand])
    with pytest.raises(ValueError, match="no side"):
        release_tree.as_w600([dataclasses.replace(hand, side="")])


def test_bones_of_which_some_are_unknown_are_not_written_as_absent():
    hand = trees.hands()[0]
    known = hand.bones_known.copy()
    known[anatomy.BONE_INDEX["Lunate"]] = False
    for (record,) in (make([dataclasses.replace(hand, bones_known=known)]) for make in MAKERS):
        assert not record.has_bones and not record.bones_known.any() and not record.bones.any()
    (wrist,) = release_tree.as_w600(
        [dataclasses.replace(hand, bones_known=np.isin(anatomy.BONES, anatomy.WRIST_BONES))]
    )
    assert wrist.has_bones and wrist.bones_known.sum() == 14


MAKERS = (release_tree.as_h1200, release_tree.as_w600)


def test_a_folder_that_exists_is_refused_and_a_failure_leaves_none(tmp_path):
    (tmp_path / "there").mkdir()
    with pytest.raises(FileExistsError, match="there exists; name a new folder"):
        release_tree.write_h1200({}, tmp_path / "there")

    def broken():
        yield release_tree.as_h1200(trees.hands()[:1])[0]
        raise RuntimeError("no more")

    with pytest.raises(RuntimeError, match="no more"):
        release_tree.write_h1200({"train": broken()}, tmp_path / "tree")
    assert [path.name for path in tmp_path.iterdir()] == ["there"]


@pytest.mark.parametrize("value", [float("nan"), float("inf"), 57.0, -3.0])
def test_boxes_that_are_no_fractions_are_not_written(value):
    with pytest.raises(ValueError, match=r"box of MCP-T is .*fractions of the image"):
        release_parts.pixel_box(Joint((0.1, 0.1, value, 0.2), "MCP-T"), (90, 70))
