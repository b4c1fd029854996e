"""The sheet of a radiograph: all that was found is there to read, and the radiograph beside it is untouched."""

import dataclasses

import numpy as np
import pytest

from ramjax import anatomy
from ramjax.figures import panel
from ramjax.inference import report as reports
from ramjax.inference import sheet as sheets
from ramjax.tasks import make_tasks
from ramjax.tasks.base import NotJudged
from ramjax.tasks.bones.finding import Region, colour
from ramjax.tasks.findings import Findings
from ramjax.tasks.joints.finding import JointFinding
from ramjax.tasks.patient import Patient
from ramjax.tasks.scores.finding import Grade, total_words
from tests.inference import fakes

ABOUT = {"input": "x", "side": "R", "side_source": "file", "view": "hand", "certainty": 0.9, "notes": ["A note."]}
TASKS = make_tasks(fakes.config())
PATIENT = {"sex": {"value": "F", "probabilities": {"F": 0.8, "M": 0.2}}, "age": 54.1}


def findings_of(shape=(120, 90), **changes) -> Findings:
    erosions = np.zeros(shape, np.uint8)
    erosions[40:50, 40:50] = 1
    joints = tuple(
        JointFinding(site.name, (20 + 3 * i, 20.0, 32 + 3 * i, 32.0), 0.9) for i, site in enumerate(anatomy.SITES)
    )
    scores = {
        site.name: {
            scale: Grade(i % (top + 1), (1.0, *[0.0] * top))
            for scale, (top, sites) in anatomy.SCALES.items()
            if i in sites
        }
        for i, site in enumerate(anatomy.SITES)
    }
    bones = (Region("Radius", 70, 30, np.ones((30, 20), bool)), Region("SoftTissue", 0, 0, np.ones(shape, bool)))
    found = {"bones": bones, "erosions": erosions, "joints": joints, "scores": scores, **changes}
    return Findings(found, (NotJudged("bone", "Ulna", "not found", plain=True),))


def sheet(pixels, findings, tasks=TASKS, spacing=0.5, **about) -> np.ndarray:
    report = reports.to_json(tasks, findings, pixels.shape, spacing, {**ABOUT, **about})
    return sheets.sheet(pixels, tasks, findings, report, "hand")


def noise(shape) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 255, shape, np.uint8)


@pytest.mark.parametrize("shape", [(120, 90), (90, 120), (2600, 2000), (70, 400)])
def test_a_sheet_is_large_enough_to_read_whatever_the_radiograph(shape):
    found = {name: findings_of().by_task[name] for name in ("joints", "scores")}
    findings = Findings({"bones": (), "erosions": np.zeros(shape, np.uint8), **found})
    picture = sheet(noise(shape), findings, spacing=0.15)
    assert picture.dtype == np.uint8 and picture.ndim == 3
    assert 1200 <= picture.shape[0] <= 2000 and picture.shape[1] <= 6000


def test_a_sheet_shows_the_radiograph_untouched_and_the_findings_beside_it():
    pixels = np.full((120, 90), 90, np.uint8)
    pixels[:5] = 30
    picture = sheet(pixels, findings_of())
    left, right = picture[:, :1000], picture[:, 1070:]
    grey = np.ptp(left[100:-40, 30:], axis=-1)
    assert grey.max() < 12
    assert (np.ptp(right, axis=-1) > 100).sum() > 5000


def test_a_sheet_grows_until_every_note_has_its_place():
    pixels = noise((120, 90))
    cases = ([], ["A note that is said."], ["A note that is said."] * 40)
    made = [sheet(pixels, findings_of(), notes=notes) for notes in cases]
    assert made[0].shape == made[1].shape and not np.array_equal(made[0], made[1])
    assert made[2].shape[0] > made[0].shape[0] + 200
    lowest = made[2][-80:, -480:-30]
    assert (lowest.max(axis=-1) > 120).any()  # the last note, where a sheet without it would have ended


def test_every_task_may_be_missing():
    missing = tuple(NotJudged("task", task, "the model was not trained on it") for task in ("bones", "joints"))
    about = {"side": "", "side_source": "unknown", "view": ""}
    assert sheet(noise((120, 90)), Findings({}, missing), (), spacing=float("nan"), **about).std() > 5


def blocks_of(tasks, findings) -> list[panel.Block]:
    report = reports.to_json(tasks, findings, (120, 90), 0.5, ABOUT)
    blocks: list[panel.Block] = []
    for task in tasks:
        blocks = task.panel(findings.of(task), report, blocks)
    return blocks


def test_the_panel_says_in_order_what_each_task_found():
    findings = findings_of(patient=PATIENT)
    table, erosions, outlines, patient = blocks_of((*TASKS, Patient()), findings)
    assert [column.head for column in table.columns] == ["BE", "JSN", "Confidence"] and table.dim == set()
    be, jsn, confidence = table.columns
    assert (be.cells["MCP-M"].text, jsn.cells["MCP-M"].text, confidence.cells["MCP-M"].text) == ("2", "2", "0.90")
    assert "SC" not in be.cells and "IP" not in jsn.cells
    assert [(entry.name, entry.value) for entry in erosions.entries] == [
        ("SvdH-BE-90", "25.0 sq mm"),
        ("SvdH-BE-50", "0.0 sq mm"),
        ("Non-SvdH-BE", "0.0 sq mm"),
    ]
    assert [words for _, words in outlines.entries] == ["Radius", "SoftTissue"]
    assert patient.heading == "Patient"
    assert [(entry.name, entry.value) for entry in patient.entries] == [("Sex", "F (0.80)"), ("Age", "54.1 years")]


def test_a_panel_without_scores_has_no_columns_of_them():
    tasks = tuple(task for task in TASKS if task.name != "scores")
    findings = Findings({name: of for name, of in findings_of().by_task.items() if name != "scores"})
    table = blocks_of(tasks, findings)[0]
    assert [column.head for column in table.columns] == ["Confidence"]


def test_sites_that_were_not_found_are_said_to_be_so():
    joints = findings_of().by_task["joints"][:3]
    scores = {joint.site: findings_of().by_task["scores"][joint.site] for joint in joints}
    table = blocks_of(TASKS, findings_of(joints=joints, scores=scores))[0]
    be, _, confidence = table.columns
    assert table.dim == set(anatomy.SITE_NAMES[3:])
    assert confidence.cells["U"].text == "not found" and be.cells["U"].text == "?" and be.cells["MCP-I"].text == "1"


def test_a_sheet_without_boxes_has_no_margins_for_their_words():
    findings = Findings({"bones": findings_of().by_task["bones"]})
    narrow, wide = sheet(noise((120, 90)), findings, TASKS[:1]), sheet(noise((120, 90)), findings, TASKS)
    assert wide.shape[1] - narrow.shape[1] == 2 * 250


def test_the_patient_is_read_off_the_sheet():
    pixels = noise((120, 90))
    without, with_patient = (
        sheet(pixels, findings_of()),
        sheet(pixels, findings_of(patient=PATIENT), (*TASKS, Patient())),
    )
    assert without.shape == with_patient.shape
    different = np.argwhere((without != with_patient).any(axis=-1))
    assert different[:, 1].min() > without.shape[1] - 600, "only the panel is another"


@pytest.mark.parametrize(
    "total, judged, words",
    [(7, 16, "BE 7 of 80  (16 of 16 sites)"), (0, 3, "BE 0 of 15  (3 of 16 sites)"), (0, 0, "BE not judged")],
)
def test_totals_say_what_they_are_over(total, judged, words):
    assert total_words("be", total, judged) == words


def test_what_the_picture_shows_anyhow_is_not_said():
    entries = [
        NotJudged("bone", "Ulna", "not found", plain=True),
        NotJudged("site", "U", "not found with confidence (0.10)"),
        NotJudged("site", "R", "not found with confidence (0.12)"),
    ]
    assert sheets.describe_not_judged(entries) == ["U, R: not found with confidence"]


def test_bones_have_colours_of_their_own():
    assert len({colour(name) for name in anatomy.BONES}) == anatomy.NUM_BONES


def test_soft_tissue_lies_below_the_bones():
    drawn = TASKS[0].draw(findings_of().by_task["bones"], [])
    assert [shape.colour for shape in drawn] == [colour("SoftTissue"), colour("Radius")]


def test_labels_keep_their_distance():
    places = sheets._spread([10, 11, 12, 500, 990, 995, 1000], 30, 1000)
    assert np.diff(places).min() >= 30 and places[0] >= 15 and places[-1] <= 985
    assert abs(places[3] - 500) < 1


def test_words_that_are_too_long_end_in_an_ellipsis():
    face = sheets.font(20)
    assert panel.fitted("short", face, 200) == "short"
    shown = panel.fitted("a word after another", face, 80)
    assert shown.endswith("…") and face.getlength(shown) <= 80 and "a word after another".startswith(shown[:-1])


def test_a_box_is_worded_by_the_worst_of_its_scores():
    drawn = []
    for task in TASKS:
        drawn = task.draw(findings_of().by_task[task.name], drawn)
    box = next(shape for shape in drawn if getattr(shape, "name", "") == "MCP-S")  # BE 4, JSN 4
    plain = next(shape for shape in drawn if getattr(shape, "name", "") == "MCP-T")  # BE 0, JSN 0
    assert (box.words, box.mark) == ("BE 4  JSN 4", "B4 J4") and (plain.words, plain.mark) == ("BE 0  JSN 0", "")
    assert box.colour != plain.colour
    assert dataclasses.replace(box, words="", mark="", colour=(236, 239, 242)) in TASKS[2].draw(
        findings_of().by_task["joints"], []
    )
