import collections
import dataclasses

import handmade
import numpy as np

from ramjax import anatomy
from ramjax.data import report as reports
from ramjax.data.report import Finding, Report
from ramjax.record import Joint


def record(**changes):
    return handmade.make_record(
        16,
        12,
        bones=np.zeros((16, 12, 4), np.uint8),
        erosions=np.zeros((16, 12), np.uint8),
        joints=(Joint((0.1, 0.1, 0.2, 0.2), "MCP-T", 2, 0), Joint((0.5, 0.5, 0.6, 0.6), "SC", -1, 4)),
        **changes,
    )


def test_a_record_is_counted_by_what_is_known_of_it():
    hand = record(is_ra=1, age=float("nan"), has_jsn=False)
    hand.bones[3, 4, 0] = 0b11  # the first two channels, of which one is not annotated
    hand.bones_known[1] = False
    hand.erosions[2, 2] = 2
    counts = reports.count_record(hand)
    assert {name for (group, name), n in counts.items() if group == "bones" and n} == {anatomy.BONES[0]}
    assert {name for (group, name), n in counts.items() if group == "erosions" and n} == {"SvdH-BE-50"}
    assert counts["be score", "2"] == 1 and not any(group == "jsn score" for group, _ in counts)
    assert (counts["joints", "MCP-T"], counts["joints", "SC"]) == (1, 1)
    assert (counts["records with", "be"], counts["records with", "jsn"]) == (1, 0)
    assert (counts["rheumatoid arthritis", "yes"], counts["age", "unknown"], counts["sex", "unknown"]) == (1, 1, 1)


def test_what_was_not_annotated_is_not_counted():
    hand = record(has_bones=False, has_erosions=False)
    hand.bones[:], hand.erosions[:] = 255, 1
    assert not any(group in ("bones", "erosions") for group, _ in reports.count_record(hand))


def make() -> Report:
    published = {"train": {("records", "images"): 3}, "test": {("records", "images"): 1}}
    report = Report("ram_x/1.0.0", "For tests.", published, {"revision": "abc"})
    for number in range(2):
        report.add("train", reports.count_record(record()), f"P{number}", [Finding("odd things", f"hand {number}")])
    report.add("test", reports.count_record(record()), "P1")
    report.find("train", [Finding("odd things", f"more {n}") for n in range(9)])
    for split in ("train", "test"):
        report.categories(split, "file.json", ["b", "a"])
    return report


def test_the_report_adds_up_and_names_the_first_few():
    values = make().to_json()
    assert values["splits"]["train"]["records"] == {"images": 2} and values["splits"]["train"]["patients"] == 2
    assert values["splits"]["train"]["be score"] == {"2": 2} and values["splits"]["train"]["jsn score"] == {
        "0": 2,
        "4": 2,
    }
    found = values["amiss"]["train"]["odd things"]
    assert found["count"] == 11 and found["examples"] == ["hand 0", "hand 1", "more 0", "more 1", "more 2"]
    assert values["patients_in_several_splits"] == ["P1"]
    assert values["categories"] == {s: {"file.json": ["b", "a"]} for s in ("train", "test")}
    assert reports.deviations(values) == ["train: 2 records images, published are 3."]


def test_the_table_sets_what_was_found_against_what_was_published():
    lines = reports.to_table(make().to_json()).splitlines()
    rows = {line.split("  ")[0] if line[0] != " " else line.split()[0]: line.split() for line in lines}
    assert lines[0] == "Data set ram_x/1.0.0  revision: abc" and lines[1].split() == ["train", "test"]
    assert rows["images"] == ["images", "2", "[3]", "1", "[1]"]
    order = [lines.index(group) for group in ("records", "be score", "joints", "bones") if group in lines]
    assert order == sorted(order) and len(order) >= 3
    assert "  train: 11 odd things: hand 0, hand 1, more 0, more 1, more 2, ..." in lines
    assert "  1 patients are in several splits: P1" in lines
    assert lines[lines.index("categories") + 1] == "  file.json (train, test): b, a"
    assert reports.findings(make().to_json()) == 3
    clean = Report("ram_x/1.0.0", "For tests.")
    clean.add("train", collections.Counter({("records", "images"): 1}), "P")
    assert reports.to_table(clean.to_json()).endswith("No defects found.") and not reports.findings(clean.to_json())


def test_radiographs_that_no_split_has_do_not_cross_any():
    report = Report("x", "")
    for split in ("train", reports.UNASSIGNED):
        report.add(split, reports.count_record(record()), "P1")
    assert report.to_json()["patients_in_several_splits"] == []


def test_unknown_patients_are_nobody():
    report = Report("x", "")
    for split in ("train", "test"):
        report.add(split, reports.count_record(dataclasses.replace(record())), "")
    values = report.to_json()
    assert values["splits"]["train"]["patients"] == 0 and values["patients_in_several_splits"] == []
