"""The builder of RAM-H1200 on release trees that are written to specification."""

import json
import pathlib
import shutil

import cv2
import numpy as np
import openpyxl
import pytest
import tensorflow_datasets as tfds

from ramjax import anatomy
from ramjax.data import features, source
from ramjax.data.report import Report
from ramjax.errors import explain
from ramjax.io import coco, release_tree
from ramjax.io.errors import ReleaseError
from ramjax.io.radiograph import ImageError
from tests.builders import trees
from tfds_builders.ram_h1200 import reading
from tfds_builders.ram_h1200.ram_h1200_dataset_builder import Builder

SCORING = "SvdH_Scoring/SvdH_{}_Scoring/{}/_annotation_{}_scores.json"


def records(detections: bool):
    """Hands as the release has them; some levels of some are not annotated."""
    named = release_tree.as_h1200(trees.hands(), detections=detections)
    for number, levels in {1: ["bones"], 4: ["erosions"], 6: ["be"], 9: ["jsn", "bones"], 12: ["be", "jsn"]}.items():
        named[number] = trees.without(named[number], *levels)
    return trees.split(named)


@pytest.fixture(scope="module")
def tree(tmp_path_factory) -> pathlib.Path:
    """A release with every quirk and without a detection file."""
    folder = tmp_path_factory.mktemp("h1200") / "RAM-H1200-v1"
    release_tree.write_h1200(records(detections=False), folder, quirks=True)
    return folder


@pytest.fixture
def copy(tree, tmp_path) -> pathlib.Path:
    shutil.copytree(tree, tmp_path / "copy")
    return tmp_path / "copy"


@pytest.mark.parametrize("detections", [False, True], ids=["crops", "detections"])
@pytest.mark.parametrize("quirks", [False, True], ids=["plain", "quirks"])
def test_what_went_in_comes_out(tmp_path, detections, quirks):
    expected = records(detections)
    release_tree.write_h1200(expected, tmp_path / "tree", detections=detections, quirks=quirks)
    report = trees.prepare("ram_h1200", tmp_path / "tree", tmp_path / "data")
    for split, hands in expected.items():
        found = trees.read("ram_h1200", tmp_path / "data", split)
        assert found.keys() == {record.id for record in hands}
        for record in hands:
            trees.assert_same(found[record.id], record)
        counts = report["splits"][split]
        assert counts["records"]["images"] == len(hands)
        for level in ("bones", "erosions", "joints", "be", "jsn"):
            with_level = sum(getattr(record, f"has_{level}") for record in hands)
            assert counts["records with"].get(level, 0) == with_level
        joints = [joint for record in hands for joint in record.joints]
        for scale in ("be", "jsn"):
            histogram = {int(score): number for score, number in counts.get(f"{scale} score", {}).items()}
            known = [getattr(joint, scale) for joint in joints if getattr(joint, scale) >= 0]
            assert histogram == {score: known.count(score) for score in set(known)}
        assert sum(counts["joints"].values()) == len(joints)
        key = "of the detection file" if detections else "of crops found in the image"
        assert counts["boxes"][key] >= len(joints)
    assert not report["patients_in_several_splits"]


def test_the_report_tells_what_was_found(tree, tmp_path):
    report = trees.prepare("ram_h1200", tree, tmp_path)
    expected = records(detections=False)
    amiss = report["amiss"]
    assert amiss["train"]["images that _annotations_bone_rle.coco.json does not list"]["count"] == sum(
        not record.has_bones for record in expected["train"]
    )
    assert amiss["all"]["metadata rows without an image"]["count"] == 3
    assert any("published are 793" in line for line in source_table(report))
    names = report["categories"]["train"]["_annotations_bone_rle.coco.json"]
    assert "Pisifrom_Triquetrum" in names and "Ring" in names and len(names) == 33
    boxes = report["splits"]["train"]["boxes"]
    assert 0 < boxes["of two crops that differ"] < boxes["of two crops"]
    differences = report["splits"]["train"]["BE and JSN crops differ at most by (pixels)"]
    assert {int(pixels): n for pixels, n in differences.items()} == {3: boxes["of two crops that differ"]}
    assert sum(report["splits"]["train"]["foreign objects (instances)"].values()) > 0
    assert report["release"]["revision"].startswith("unknown")
    assert "not a medical device" in report["note"]


def source_table(report) -> list[str]:
    from ramjax.data.report import to_table

    return to_table(report).splitlines()


def test_numbers_of_patients_start_again_in_every_centre(tree):
    centers = {path.name.split("_")[1] for path in tree.rglob("JP_*_P0001_*.bmp")}
    assert centers == set(release_tree.H1200_CENTERS)


def test_it_works_through_the_api_of_tfds(tree, tmp_path):
    builder = Builder(data_dir=tmp_path, file_format="array_record")
    builder.download_and_prepare(download_config=tfds.download.DownloadConfig(manual_dir=tree.parent))
    data = tfds.builder_from_directory(builder.data_path).as_data_source("test")
    assert len(data) == len(records(False)["test"]) and data[0]["image"].ndim == 3
    assert builder.info.metadata["splits"]["test"]["records"]["images"] == len(data)
    assert "RAM-H1200" in builder.info.description and "yang2026ramh1200" in builder.info.citation


def test_a_release_in_the_manual_folder_is_found(tree, tmp_path):
    manual = tmp_path / "downloads" / "manual"
    manual.mkdir(parents=True)
    (manual / "RAM-H1200-v1").symlink_to(tree)
    assert trees.prepare("ram_h1200", None, tmp_path)["splits"]["test"]["records"]["images"]


def test_val_may_be_called_validation(copy, tmp_path):
    for folder in [copy / "Segmentation", *(copy / "SvdH_Scoring").iterdir()]:
        (folder / "val").rename(folder / "validation")
    report = trees.prepare("ram_h1200", copy, tmp_path)
    assert report["splits"]["validation"]["records with"]["be"] == len(records(False)["validation"])


def test_a_file_under_an_unknown_name_is_recognised_as_the_detection_file(tmp_path):
    expected = records(detections=True)
    release_tree.write_h1200(expected, tmp_path / "tree", detections=True)
    for number, path in enumerate((tmp_path / "tree").rglob("_annotations_joint.coco.json")):
        path.rename(tmp_path / "tree" / f"roi{number}.json")
    report = trees.prepare("ram_h1200", tmp_path / "tree", tmp_path / "data")
    assert report["splits"]["train"]["boxes"] == {
        "of the detection file": sum(len(record.joints) for record in expected["train"])
    }


def test_boxes_of_two_detection_files_are_joined(tmp_path):
    """The BE and the JSN sites may have a file each; a site of both gets the smallest box around both."""
    image = {"id": 1, "file_name": "x.bmp"}
    for name, sites, x in (("be", {"MCP-T": 3, "Tm": 4}, 10), ("jsn", {"MCP-T": 1, "SC": 2}, 13)):
        content = {
            "images": [image],
            "categories": [{"id": key, "name": site} for site, key in sites.items()],
            "annotations": [{"image_id": 1, "category_id": sites["MCP-T"], "bbox": [x, 20, 5, 6]}],
        }
        (tmp_path / f"{name}.json").write_text(json.dumps(content))
    found = reading._read_detections(tmp_path, {"x"}, [])["x"]
    assert found.boxes == {"MCP-T": (20, 10, 26, 18)} and found.searched == {"MCP-T", "Tm", "SC"}


@pytest.fixture
def detected(tmp_path) -> pathlib.Path:
    """A plain release with a detection file."""
    release_tree.write_h1200(records(detections=True), tmp_path / "detected", detections=True)
    return tmp_path / "detected"


def joint_file(tree: pathlib.Path) -> pathlib.Path:
    return tree / "Joint_Detection" / "train" / "_annotations_joint.coco.json"


def first_hand():
    return records(detections=True)["train"][0]


def test_boxes_of_bones_are_no_joints(detected, tmp_path):
    """Scaphoid, Lunate and Trapezium are bones and, in RAM-W600, names of joints."""
    bones = detected / "Segmentation/train/_annotations_bone_rle.coco.json"
    for name in ("_annotations_bone_rle_fixed.coco.json", "_annotations.coco.json"):
        shutil.copy(bones, bones.with_name(name))
    amiss = trees.prepare("ram_h1200", detected, tmp_path / "data")["amiss"]["all"]
    assert amiss["COCO files without a joint site as category, not read"]["examples"] == ["_annotations.coco.json"]
    for record in trees.read("ram_h1200", tmp_path / "data", "train").values():
        trees.assert_same(record, next(r for r in records(True)["train"] if r.id == record.id))


@pytest.mark.parametrize("how", ["no annotation", "no bbox", "outside"])
def test_a_scored_site_without_a_box_is_unknown_not_absent(detected, tmp_path, how):
    hand = first_hand()
    for crop in detected.rglob(f"{hand.id}/MCP-I.bmp"):
        crop.unlink()

    def spoil(values):
        ids = {category["name"]: category["id"] for category in values["categories"]}
        image = next(i["id"] for i in values["images"] if i["file_name"] == f"{hand.id}.bmp")
        mine = [a for a in values["annotations"] if (a["image_id"], a["category_id"]) == (image, ids["MCP-I"])]
        assert len(mine) == 1
        if how == "no annotation":
            values["annotations"].remove(mine[0])
        else:
            mine[0]["bbox"] = [] if how == "no bbox" else [9999, 9999, 5, 5]

    edit(joint_file(detected), spoil)
    report = trees.prepare("ram_h1200", detected, tmp_path / "data")
    found = trees.read("ram_h1200", tmp_path / "data", "train")[hand.id]
    assert {joint.site for joint in hand.joints} - {joint.site for joint in found.joints} == {"MCP-I"}
    assert not found.joints_known[anatomy.SITE_INDEX["MCP-I"]]
    assert report["amiss"]["train"]["BE scores without a box, left out"]["examples"] == [f"{hand.id} MCP-I"]


def test_boxes_of_images_of_another_size_stop(detected, tmp_path):
    edit(joint_file(detected), lambda v: v["images"][0].update(height=640, width=640))
    with pytest.raises(ReleaseError, match=r"_annotations_joint\.coco\.json says 640 x 640"):
        trees.prepare("ram_h1200", detected, tmp_path / "data")


def test_detections_are_joined_by_whichever_name_is_on_disk(detected, tmp_path):
    def rename(values):
        values["images"][0]["extra"] = {"name": "before.bmp"}
        values["images"].append({"id": 999, "file_name": "nobody.bmp"})

    edit(joint_file(detected), rename)
    report = trees.prepare("ram_h1200", detected, tmp_path / "data")
    trees.assert_same(trees.read("ram_h1200", tmp_path / "data", "train")[first_hand().id], first_hand())
    assert report["amiss"]["all"]["detections without an image"]["examples"] == ["nobody.bmp"]


def test_a_release_in_a_cache_folder_keeps_its_boxes(detected, tmp_path):
    tree = tmp_path / ".cache" / "tree"
    tree.parent.mkdir()
    detected.rename(tree)
    report = trees.prepare("ram_h1200", tree, tmp_path / "data")
    assert report["splits"]["train"]["boxes"]["of the detection file"]


@pytest.mark.parametrize("kind", ["be", "bone"])
def test_a_category_of_id_0_that_means_something_counts(detected, tmp_path, kind):
    def from_zero(values):
        for category in values["categories"]:
            category["id"] -= 1
        for annotation in values["annotations"]:
            annotation["category_id"] -= 1

    edit(detected / f"Segmentation/train/_annotations_{kind}_rle.coco.json", from_zero)
    trees.prepare("ram_h1200", detected, tmp_path / "data")
    trees.assert_same(trees.read("ram_h1200", tmp_path / "data", "train")[first_hand().id], first_hand())


def test_a_bone_without_a_category_is_unknown_and_named(detected, tmp_path):
    def drop(values):
        gone = next(category for category in values["categories"] if category["name"] == "MP4")
        values["categories"].remove(gone)
        values["annotations"] = [a for a in values["annotations"] if a["category_id"] != gone["id"]]

    edit(detected / "Segmentation/train/_annotations_bone_rle.coco.json", drop)
    report = trees.prepare("ram_h1200", detected, tmp_path / "data")
    assert any("bones without a category" in what and found["examples"] == ["MP4"]
               for what, found in report["amiss"]["train"].items())  # fmt: skip
    known = trees.read("ram_h1200", tmp_path / "data", "train")[first_hand().id].bones_known
    assert known.sum() == 29 and not known[anatomy.BONE_INDEX["MP4"]]


def edit(path: pathlib.Path, change) -> None:
    values = json.loads(path.read_text())
    change(values)
    path.write_text(json.dumps(values))


def test_of_overlapping_lesions_the_lower_label_wins(copy, tmp_path):
    expected = next(record for record in records(False)["train"] if record.has_bones and record.has_erosions)
    height, width = expected.image.shape
    masks = {name: np.zeros((height, width), bool) for name in anatomy.EROSION_LABELS[1:]}
    for label, mask in enumerate(masks.values(), 1):
        mask[10 : 10 + 10 * label, 10 : 10 + 10 * label] = True

    def replace(values):
        ids = {category["name"]: category["id"] for category in values["categories"]}
        image = next(i["id"] for i in values["images"] if i["file_name"] == f"{expected.id}.bmp")
        values["annotations"] = [a for a in values["annotations"] if a["image_id"] != image]
        values["annotations"] += [
            {"image_id": image, "category_id": ids[name], "segmentation": coco.encode_mask(mask, "compressed")}
            for name, mask in masks.items()
        ]

    edit(copy / "Segmentation/train/_annotations_be_rle.coco.json", replace)
    trees.prepare("ram_h1200", copy, tmp_path)
    labels = trees.read("ram_h1200", tmp_path, "train")[expected.id].erosions
    assert [int((labels == k).sum()) for k in (1, 2, 3)] == [100, 300, 500]


def image_of(tree: pathlib.Path) -> pathlib.Path:
    """An image that both mask files list under its own name."""
    listed = json.loads((tree / "Segmentation/train/_annotations_bone_rle.coco.json").read_text())["images"]
    others = json.loads((tree / "Segmentation/train/_annotations_be_rle.coco.json").read_text())["images"]
    both = {image["file_name"] for image in listed} & {image["file_name"] for image in others}
    return tree / "Segmentation/train" / min(both)


def test_levels_whose_files_are_missing_are_unknown_and_said_so(copy, tmp_path):
    (copy / "Segmentation/train/_annotations_be_rle.coco.json").unlink()
    shutil.rmtree(copy / "SvdH_Scoring/SvdH_JSN_Scoring")
    report = trees.prepare("ram_h1200", copy, tmp_path)
    assert report["amiss"]["train"]["annotation files are missing"]["count"] == 2
    found = trees.read("ram_h1200", tmp_path, "train").values()
    assert not any(record.has_erosions or record.has_jsn for record in found)
    assert any(record.has_bones for record in found) and any(record.has_be for record in found)


def test_a_missing_crop_and_a_foreign_one_lose_the_site_and_are_counted(copy, tmp_path):
    expected = next(record for record in records(False)["train"] if record.has_be and record.has_jsn)
    parents = [copy / f"SvdH_Scoring/SvdH_{scale}_Scoring/train" / expected.id for scale in ("BE", "JSN")]
    (parents[0] / "Tm.bmp").unlink()
    cv2.imwrite(str(parents[1] / "SC.bmp"), np.full((9, 9), 77, np.uint8) + np.eye(9, dtype=np.uint8))
    report = trees.prepare("ram_h1200", copy, tmp_path)
    found = trees.read("ram_h1200", tmp_path, "train")[expected.id]
    sites = {joint.site for joint in expected.joints} - {joint.site for joint in found.joints}
    assert sites == {"Tm", "SC"}
    assert not found.joints_known[[anatomy.SITE_INDEX[site] for site in sites]].any()
    amiss = report["amiss"]["train"]
    assert f"{expected.id} Tm" in amiss["BE scores without a box, left out"]["examples"]
    assert amiss["crops that are not in the image"]["examples"] == [f"{expected.id}/SC.bmp"]


def test_scores_of_no_image_are_left_out_and_counted(copy, tmp_path):
    edit(copy / SCORING.format("BE", "test", "be"), lambda v: v.update({"JP_HMCRD_P0777_20200101_1000_L.bmp": {}}))
    report = trees.prepare("ram_h1200", copy, tmp_path)
    found = report["amiss"]["test"]["BE scores of no image of the split, left out"]
    assert found == {"count": 1, "examples": ["JP_HMCRD_P0777_20200101_1000_L"]}


def test_what_a_score_file_leaves_out_or_contradicts_is_counted(copy, tmp_path):
    first, second, third = [record for record in records(False)["train"] if record.has_be][:3]
    graded = [joint.site for joint in third.joints if joint.be >= 0]
    told = {joint.site: joint.be for joint in second.joints if joint.be >= 0}

    def change(values):
        keys = {name.removesuffix(".bmp"): name for name in values}
        del values[keys[first.id]]
        twin = f"{second.id}.bmp" if keys[second.id] == second.id else second.id
        values[twin] = {"BE_MCP-T": (told["MCP-T"] + 1) % 6, "BE_MCP-I": told["MCP-I"]}
        del values[keys[third.id]][f"BE_{graded[0]}"]

    edit(copy / SCORING.format("BE", "train", "be"), change)
    amiss = trees.prepare("ram_h1200", copy, tmp_path)["amiss"]["train"]
    unscored = sum(not record.has_be for record in records(False)["train"])
    assert amiss["images that _annotation_be_scores.json leaves out"]["count"] == 1 + unscored
    assert amiss["BE scores that differ between two entries, left out"] == {
        "count": 1, "examples": [f"{second.id} MCP-T"],
    }  # fmt: skip
    found = trees.read("ram_h1200", tmp_path, "train")
    assert not found[first.id].has_be
    scores = {joint.site: joint.be for joint in found[second.id].joints}
    assert scores["MCP-T"] == -1 and scores["MCP-I"] == told["MCP-I"]
    assert {joint.site: joint.be for joint in found[third.id].joints}[graded[0]] == -1


def test_boxes_that_are_fractions_stop(detected, tmp_path):
    def divide(values):
        sizes = {image["id"]: (image["width"], image["height"]) * 2 for image in values["images"]}
        for a in values["annotations"]:
            a["bbox"] = [v / side for v, side in zip(a["bbox"], sizes[a["image_id"]], strict=True)]

    edit(joint_file(detected), divide)
    with pytest.raises(ReleaseError, match=r"_annotations_joint\.coco\.json: the boxes look like fractions"):
        reading.read_splits(detected, Report("x", ""))


@pytest.mark.parametrize("factor", [0.6, 1.8])
def test_boxes_of_another_scale_are_told_by_the_released_crops(detected, factor):
    """Such as boxes of the image at another size, or in percent of a small one, which lie well within the image."""
    hand = first_hand()

    def findings():
        hands = reading.read_splits(detected, Report("x", ""))["train"]
        made = reading.make_record(next(h for h in hands if h.path.stem == hand.id))
        return [finding for finding in made.findings if "size of their released crops" in finding.what]

    assert not findings()
    edit(joint_file(detected), lambda v: [a.update(bbox=[factor * n for n in a["bbox"]]) for a in v["annotations"]])
    (found,) = findings()
    assert found.where.startswith(f"{hand.id} (sides {factor:.2g}")


def test_boxes_of_two_corners_stop(detected):
    def corners(values):
        for a in values["annotations"]:
            x, y, width, height = a["bbox"]
            a["bbox"] = [x, y, x + width, y + height]

    edit(joint_file(detected), corners)
    hands = reading.read_splits(detected, Report("x", ""))["train"]
    for hand in hands:
        with pytest.raises(ReleaseError, match=r"_annotations_joint\.coco\.json, .* look like two corners"):
            reading.make_record(hand)


def test_files_that_a_file_manager_leaves_are_not_read(detected):
    for name in ("._annotations_joint.coco.json", ".ipynb_checkpoints/a.json"):
        path = joint_file(detected).parent / name
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(b"\0\5\x16\7")
    assert reading.read_splits(detected, Report("x", ""))


def test_erosions_of_an_unknown_category_are_left_out_and_said(detected):
    path = detected / "Segmentation/train/_annotations_be_rle.coco.json"
    gone = {}

    def rename(values):
        category = values["categories"][0]
        gone["id"], category["name"] = category["id"], category["name"] + " "

    edit(path, rename)
    hands = reading.read_splits(detected, Report("x", ""))["train"]
    found = [finding for hand in hands for finding in reading.make_record(hand).findings]
    expected = sum(a["category_id"] == gone["id"] for a in json.loads(path.read_text())["annotations"])
    assert expected and sum("no erosion label" in finding.what for finding in found) == expected


def test_what_fails_without_a_sentence_names_the_file_it_was_at(detected, tmp_path, monkeypatch):
    path = image_of(detected)

    def out_of_memory(hand):
        if hand.path == path:
            raise MemoryError
        return make_record(hand)

    make_record = reading.make_record
    monkeypatch.setattr(reading, "make_record", out_of_memory)
    with pytest.raises(MemoryError) as error:
        trees.prepare("ram_h1200", detected, tmp_path / "data")
    assert explain(error.value).startswith(f"The memory does not suffice (at {path}); ")


def test_a_patient_in_two_splits_is_named(copy, tmp_path):
    path = image_of(copy)
    path.rename(copy / "Segmentation/test" / path.name)
    report = trees.prepare("ram_h1200", copy, tmp_path)
    assert report["patients_in_several_splits"] == ["_".join(path.stem.split("_")[:3])]


def test_a_renamed_metadata_column_is_named(copy, tmp_path):
    book = openpyxl.load_workbook(copy / "Metadata.xlsx")
    next(cell for cell in book.active[1] if cell.value == "Sex").value = "Gender"
    book.save(copy / "Metadata.xlsx")
    report = trees.prepare("ram_h1200", copy, tmp_path)
    assert report["amiss"]["all"]["metadata columns are missing"]["examples"] == ["Sex"]
    assert {record.sex for record in trees.read("ram_h1200", tmp_path, "train").values()} == {""}


def test_a_study_without_a_metadata_row_keeps_its_image(copy, tmp_path):
    path = image_of(copy)
    book = openpyxl.load_workbook(copy / "Metadata.xlsx")
    sheet = book.active
    for row in range(sheet.max_row, 1, -1):
        if sheet.cell(row, 1).value == path.stem[:-2]:
            sheet.delete_rows(row)
    book.save(copy / "Metadata.xlsx")
    report = trees.prepare("ram_h1200", copy, tmp_path)
    found = trees.read("ram_h1200", tmp_path, "train")[path.stem]
    assert np.isnan(found.pixel_spacing_mm) and np.isnan(found.age) and (found.sex, found.is_ra) == ("", -1)
    assert path.stem in report["amiss"]["train"]["images without a metadata row"]["examples"]


def pointer(copy):
    path = image_of(copy)
    path.write_text("version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n")
    return path.name


def truncated(copy):
    path = image_of(copy)
    path.write_bytes(path.read_bytes()[:500])
    return path.name


def png_by_another_name(copy):
    path = image_of(copy)
    image = cv2.imread(str(path), cv2.IMREAD_GRAYSCALE)
    path.write_bytes(cv2.imencode(".png", image)[1].tobytes())
    return path.name


def smaller_image(copy):
    path = image_of(copy)
    cv2.imwrite(str(path), cv2.imread(str(path), cv2.IMREAD_GRAYSCALE)[:-1])
    return path.name


def unknown_bone(copy):
    edit(
        copy / "Segmentation/val/_annotations_bone_rle.coco.json",
        lambda v: v["categories"].append({"id": 99, "name": "Femur"}),
    )
    return "val/_annotations_bone_rle.coco.json", "'Femur'"


def unknown_erosions(copy):
    def rename(values):
        for category in values["categories"]:
            category["name"] = "BE" + str(category["id"])

    edit(copy / "Segmentation/train/_annotations_be_rle.coco.json", rename)
    return "_annotations_be_rle.coco.json", "SvdH-BE-90"


def score(value, scale="BE", key="BE_MCP-I"):
    def spoil(copy):
        path = copy / SCORING.format(scale, "train", scale.lower())

        def change(values):
            next(iter(values.values()))[key] = value

        edit(path, change)
        return path.name, key

    spoil.__name__ = f"score_{value}_{key}"
    return spoil


def twice(copy):
    path = image_of(copy)
    shutil.copy(path, copy / "Segmentation/test" / path.name)
    return path.name, "also in another split"


def no_splits(copy):
    shutil.rmtree(copy / "Segmentation")
    (copy / "Segmentation").mkdir()
    return "Segmentation", "train, val, test"


def both_names(copy):
    shutil.copytree(copy / "Segmentation/val", copy / "Segmentation/validation")
    return "Segmentation/val", "are both there"


def no_stems(copy):
    book = openpyxl.load_workbook(copy / "Metadata.xlsx")
    book.active.cell(1, 1).value = "Image"
    book.save(copy / "Metadata.xlsx")
    return "Metadata.xlsx", "Mapped Image Stem"


def damaged_sheet(copy):
    (copy / "Metadata.xlsx").write_bytes(b"PK")
    return ("Metadata.xlsx",)


def annotate(**changes):
    """The first bone annotation with other values; the error names the file, and the image where that is known."""

    def spoil(copy):
        path = copy / "Segmentation/train/_annotations_bone_rle.coco.json"
        edit(path, lambda values: values["annotations"][0].update(changes))
        return ("train/_annotations_bone_rle.coco.json",)

    spoil.__name__ = f"annotation_{'_'.join(changes)}"
    return spoil


def damaged_json(copy):
    path = copy / "Segmentation/train/_annotations_bone_rle.coco.json"
    path.write_text(path.read_text()[:200])
    return (path.name,)


@pytest.mark.parametrize(
    "spoil",
    [
        pointer, truncated, png_by_another_name, smaller_image, unknown_bone, unknown_erosions, score(6), score(-1),
        score(2.5), score("NA"), score(None), score(True), score(5, "JSN", "JSN_MCP-I"), score(0, "BE", "BE_CMC-M"),
        score(0, "BE", "BE_Toe"), twice, no_splits, both_names, no_stems, damaged_sheet, damaged_json,
        score(10**400), score("1_0"), score([1]), score("2,0"), annotate(segmentation=[[0, 0, 1e12, 0, 1e12, 1e12]]),
        annotate(segmentation=None), annotate(image_id=7777), annotate(category_id="1"),
        annotate(bbox=[0, 0, 10**400, 1]),
    ],
    ids=lambda spoil: spoil.__name__,
)  # fmt: skip
def test_what_cannot_be_trusted_stops_with_file_and_key(copy, tmp_path, spoil):
    words = spoil(copy)
    with pytest.raises((ReleaseError, ImageError)) as error:
        trees.prepare("ram_h1200", copy, tmp_path / "data")
    for word in (words,) if isinstance(words, str) else words:
        assert word in str(error.value)
    left = [path for path in (tmp_path / "data").rglob("*") if path.is_file() and path.name != ".lock"]
    assert not left, "nothing half-written stays"


def test_training_on_a_release_that_was_not_prepared_says_how(tmp_path):
    with pytest.raises(ValueError, match=r"not prepared in .*python -m ramjax\.prepare --dataset=ram_h1200 --data_dir"):
        source.open_source("ram_h1200", str(tmp_path), "train")


def test_the_features_are_those_of_every_data_set(tmp_path):
    assert Builder(data_dir=tmp_path).info.features.keys() == features.features().keys()
