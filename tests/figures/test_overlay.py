"""Pictures: what was found is drawn where it is, in its colour, and nothing else changes."""

import io

import numpy as np
import pytest
from PIL import Image

from ramjax import anatomy
from ramjax.figures import overlay
from ramjax.inference import report as reports
from ramjax.inference.findings import Findings, Grade, JointFinding, NotJudged, Region

ABOUT = {"input": "x", "side": "R", "side_source": "file", "view": "hand", "certainty": 0.9, "notes": ["A note."]}


def _findings(shape=(120, 90)) -> Findings:
    erosions = np.zeros(shape, np.uint8)
    erosions[40:50, 40:50] = 1
    joints = tuple(
        JointFinding(
            site.name,
            (20 + 3 * i, 20.0, 32 + 3 * i, 32.0),
            0.9,
            Grade(i % 6, (1, 0, 0, 0, 0, 0)) if site.be else None,
            Grade(i % 5, (1, 0, 0, 0, 0)) if site.jsn else None,
        )
        for i, site in enumerate(anatomy.SITES)
    )
    bones = (Region("Radius", 70, 30, np.ones((30, 20), bool)), Region("SoftTissue", 0, 0, np.ones(shape, bool)))
    return Findings(bones, erosions, joints, (NotJudged("bone", "Ulna", "not found"),))


@pytest.mark.parametrize("shape", [(120, 90), (90, 120), (2600, 2000), (70, 400)])
def test_a_sheet_is_large_enough_to_read_whatever_the_radiograph(shape):
    pixels = np.random.default_rng(0).integers(0, 255, shape, np.uint8)
    findings = Findings((), np.zeros(shape, np.uint8), _findings().joints, ())
    report = reports.to_json(findings, shape, 0.15, ABOUT)
    picture = overlay.sheet(pixels, findings, report, "hand")
    assert picture.dtype == np.uint8 and picture.ndim == 3
    assert 1200 <= picture.shape[0] <= 2000 and picture.shape[1] <= 6000


def test_a_sheet_shows_the_radiograph_untouched_and_the_findings_beside_it():
    pixels = np.full((120, 90), 90, np.uint8)
    pixels[:5] = 30
    findings = _findings()
    picture = overlay.sheet(pixels, findings, reports.to_json(findings, pixels.shape, 0.5, ABOUT), "hand")
    left, right = picture[:, :1000], picture[:, 1070:]
    grey = np.ptp(left[100:-40, 30:], axis=-1)
    assert grey.max() < 12
    assert (np.ptp(right, axis=-1) > 100).sum() > 5000


def test_a_sheet_grows_until_every_note_has_its_place():
    pixels = np.random.default_rng(0).integers(0, 255, (120, 90), np.uint8)
    sheets = []
    for notes in ([], ["A note that is said."], ["A note that is said."] * 40):
        findings = _findings()
        report = reports.to_json(findings, (120, 90), 0.5, {**ABOUT, "notes": notes})
        sheets.append(overlay.sheet(pixels, findings, report, "hand"))
    assert sheets[0].shape == sheets[1].shape and not np.array_equal(sheets[0], sheets[1])
    assert sheets[2].shape[0] > sheets[0].shape[0] + 200
    lowest = sheets[2][-80:, -480:-30]
    assert (lowest.max(axis=-1) > 120).any()  # the last note, where a sheet without it would have ended


def test_every_task_may_be_missing():
    pixels = np.random.default_rng(0).integers(0, 255, (120, 90), np.uint8)
    missing = tuple(NotJudged("task", task, "the model was not trained on it") for task in ("bones", "joints"))
    findings = Findings((), None, (), missing)
    about = {**ABOUT, "side": "", "side_source": "unknown", "view": ""}
    picture = overlay.sheet(pixels, findings, reports.to_json(findings, (120, 90), float("nan"), about), "x" * 200)
    assert picture.std() > 5


@pytest.mark.parametrize("scale", [0.5, 1.0, 3.0])
def test_outlines_follow_the_mask(scale):
    picture = np.zeros((round(120 * scale), round(90 * scale), 3), np.uint8)
    overlay.outline_bones(picture, [Region("Radius", 40, 20, np.ones((30, 50), bool))], scale)
    rows, columns = np.nonzero(picture.any(axis=-1))
    edges = np.array([rows.min(), columns.min(), rows.max() + 1, columns.max() + 1]) / scale
    np.testing.assert_allclose(edges, (40, 20, 70, 70), atol=2 / scale + 1)
    inner = picture[round(46 * scale) : round(64 * scale), round(26 * scale) : round(64 * scale)]
    assert not inner.any()


def test_erosions_are_filled_in_their_colour_and_see_through():
    picture = np.full((60, 60, 3), 100, np.uint8)
    labels = np.zeros((60, 60), np.uint8)
    labels[10:20, 10:20], labels[30:40, 30:40] = 1, 3
    overlay.fill_erosions(picture, labels, 1.0)
    for label, at in ((1, 15), (3, 35)):
        expected = (100 + np.array(overlay.EROSION_COLOURS[label])) / 2
        np.testing.assert_allclose(picture[at, at], expected, atol=1)
    assert (picture[50:] == 100).all()


def test_boxes_are_drawn_at_their_corners_and_open_at_their_sides():
    picture = np.zeros((100, 100, 3), np.uint8)
    overlay.draw_box(picture, (20, 30, 60, 80), 1.0, (255, 255, 255))
    rows, columns = np.nonzero(picture[..., 0] > 100)
    np.testing.assert_allclose((rows.min(), columns.min(), rows.max(), columns.max()), (20, 30, 60, 80), atol=1)
    assert not picture[40, :].any() and not picture[:, 55].any()


@pytest.mark.parametrize(
    "total, judged, words",
    [(7, 16, "BE 7 of 80  (16 of 16 sites)"), (0, 3, "BE 0 of 15  (3 of 16 sites)"), (None, 0, "BE not judged")],
)
def test_totals_say_what_they_are_over(total, judged, words):
    assert overlay._total_words({"be": total, "be_sites": judged}, "be", anatomy.BE_MAX, 16) == words


def test_bones_have_colours_of_their_own():
    assert len({overlay.bone_colour(name) for name in anatomy.BONES}) == anatomy.NUM_BONES


def test_labels_keep_their_distance():
    places = overlay._spread([10, 11, 12, 500, 990, 995, 1000], 30, 1000)
    assert np.diff(places).min() >= 30 and places[0] >= 15 and places[-1] <= 985
    assert abs(places[3] - 500) < 1


def test_png_holds_the_picture():
    picture = np.random.default_rng(0).integers(0, 255, (20, 30, 3), np.uint8)
    np.testing.assert_array_equal(np.asarray(Image.open(io.BytesIO(overlay.encode_png(picture)))), picture)
