"""Pictures of test hands: what was annotated beside what the network sees."""

import pathlib
from collections.abc import Mapping, Sequence

import numpy as np
from PIL import Image, ImageDraw

from ramjax import anatomy, files
from ramjax.data import geometry
from ramjax.figures import overlay
from ramjax.inference.findings import Findings, Grade, JointFinding, Region, from_predictions
from ramjax.inference.search import CONFIDENT
from ramjax.notice import NOTE
from ramjax.record import Record

PANEL_HEIGHT = 640
COLUMNS = 3

_INK, _DIM, _GROUND, _WARNING = (236, 239, 242), (150, 158, 166), (12, 14, 17), (255, 196, 84)
_AGREE, _NEAR, _FAR, _UNKNOWN = (110, 210, 140), (250, 200, 80), (245, 70, 70), (170, 178, 186)


def save_test_grid(path: str | pathlib.Path, pairs: Sequence[np.ndarray]) -> None:
    """Writes a PNG of pictures of `case_picture`, truth on the left and prediction on the right of each.

    Written beside and then renamed, so that the picture is whole or the one before.
    """
    files.write_bytes(path, overlay.encode_png(_arrange(pairs)))


def annotated(record: Record) -> Findings:
    """What is annotated in a record, in the form of findings."""
    words = np.ascontiguousarray(record.bones).view("<u4")[..., 0]
    bones = []
    for channel, name in enumerate(anatomy.BONES):
        mask = (words >> np.uint32(channel)) & 1 > 0
        if record.has_bones and record.bones_known[channel] and mask.any():
            bones.append(Region.tight(name, 0, 0, mask))
    joints = [
        JointFinding(
            joint.site,
            tuple(float(v) for v in np.multiply(joint.bbox, 2 * record.image.shape)),
            1.0,
            be=_annotated_grade(joint.be, anatomy.BE_MAX) if record.has_be else None,
            jsn=_annotated_grade(joint.jsn, anatomy.JSN_MAX) if record.has_jsn else None,
        )
        for joint in sorted(record.joints, key=lambda joint: anatomy.SITE_INDEX[joint.site])
        if record.has_joints
    ]
    return Findings(tuple(bones), record.erosions if record.has_erosions else None, tuple(joints), ())


def predicted(
    record: Record, predictions: Mapping[str, np.ndarray], affine: np.ndarray, canvas_height: int
) -> Findings:
    """What the network found in a record; scores stand at the annotated boxes where joints were not trained.

    Args:
      record: as annotated.
      predictions: of the network, without the batch axis.
      affine: (2, 3), pixels of the record to canvas pixels.
      canvas_height: in pixels.
    """
    if "be" in predictions and "confidence" not in predictions:
        boxes = np.zeros((anatomy.NUM_SITES, 4))
        confidence = np.zeros(anatomy.NUM_SITES)
        for joint in annotated(record).joints:
            boxes[anatomy.SITE_INDEX[joint.site]], confidence[anatomy.SITE_INDEX[joint.site]] = joint.box, 1
        predictions = {**predictions, "boxes": geometry.apply_to_boxes(affine, boxes), "confidence": confidence}
    return from_predictions(predictions, affine, canvas_height, record.image.shape, CONFIDENT)


def case_picture(record: Record, found: Findings, seeks_joints: bool) -> np.ndarray:
    """Truth beside prediction, uint8 RGB, `PANEL_HEIGHT` high but for the lines of text.

    Args:
      record: as annotated.
      found: what was predicted.
      seeks_joints: annotated joints without a box were missed; else nobody looked for them.
    """
    truth = annotated(record)
    truths = {joint.site: joint for joint in truth.joints}
    founds = {joint.site: joint for joint in found.joints}
    colours = {site: _agreement(truths.get(site), founds.get(site)) for site in anatomy.SITE_NAMES}
    left = _panel(record.image, truth, dict.fromkeys(anatomy.SITE_NAMES, _UNKNOWN))
    missed = [joint for site, joint in truths.items() if seeks_joints and site not in founds]
    right = _panel(record.image, found, colours, missed)
    pair = np.full((PANEL_HEIGHT + 74, left.shape[1] + right.shape[1] + 6, 3), _GROUND, np.uint8)
    pair[34 : 34 + PANEL_HEIGHT, : left.shape[1]] = left
    pair[34 : 34 + PANEL_HEIGHT, left.shape[1] + 6 :] = right
    image = Image.fromarray(pair)
    canvas = ImageDraw.Draw(image)
    totals = [_totals(truths, founds, scale) for scale in ("be", "jsn")]
    for x, words, which in ((4, "Annotated", 0), (left.shape[1] + 10, "Predicted", 1)):
        canvas.text((x, 17), words, _DIM, overlay.font(17), anchor="lm")
        scores = [f"{name} {total[which]}" for name, total in zip(("BE", "JSN"), totals, strict=True) if total]
        canvas.text((x + 100, 17), "   ".join(scores), _INK, overlay.font(19), anchor="lm")
    side = {"L": "left", "R": "right"}.get(record.side, "")
    caption = " ".join(word for word in (record.dataset, record.id, side, record.view) if word)
    error = _center_error(truths, founds, record.pixel_spacing_mm)
    canvas.text((4, PANEL_HEIGHT + 54), caption, _INK, overlay.font(17), anchor="lm")
    canvas.text((pair.shape[1] - 4, PANEL_HEIGHT + 54), error, _DIM, overlay.font(17), anchor="rm")
    return np.asarray(image)


def _annotated_grade(score: int, top: int) -> Grade | None:
    return Grade(score, tuple(float(k == score) for k in range(top + 1))) if score >= 0 else None


def _panel(
    pixels: np.ndarray,
    findings: Findings,
    colours: Mapping[str, overlay.Colour],
    missed: Sequence[JointFinding] = (),
) -> np.ndarray:
    scale = PANEL_HEIGHT / pixels.shape[0]
    picture = overlay.grey_to_rgb(pixels, scale)
    overlay.outline_bones(picture, findings.bones, scale)
    if findings.erosions is not None:
        overlay.fill_erosions(picture, findings.erosions, scale)
    for joint in findings.joints:
        overlay.draw_box(picture, joint.box, scale, colours[joint.site])
    for joint in missed:
        overlay.draw_box(picture, joint.box, scale, _FAR)
    image = Image.fromarray(picture)
    canvas = ImageDraw.Draw(image)
    marks = [(joint, _marks(joint), colours[joint.site]) for joint in findings.joints]
    for joint, words, colour in [*marks, *((joint, "missed", _FAR) for joint in missed)]:
        at = joint.box[3] * scale + 2, (joint.box[0] + joint.box[2]) / 2 * scale
        canvas.text(at, words, colour, overlay.font(14), anchor="lm", stroke_width=2, stroke_fill=(0, 0, 0))
    return np.asarray(image)


def _marks(joint: JointFinding) -> str:
    """BE and JSN of a site; nothing where both are 0, so that disease stands out."""
    grades = [("B", joint.be), ("J", joint.jsn)]
    return " ".join(f"{letter}{grade.score}" for letter, grade in grades if grade is not None and grade.score)


def _agreement(truth: JointFinding | None, found: JointFinding | None) -> overlay.Colour:
    if truth is None or found is None:
        return _UNKNOWN
    pairs = [(truth.be, found.be), (truth.jsn, found.jsn)]
    errors = [abs(a.score - b.score) for a, b in pairs if a is not None and b is not None]
    return (_AGREE, _NEAR, _FAR)[min(max(errors), 2)] if errors else _UNKNOWN


def _totals(
    truths: Mapping[str, JointFinding], founds: Mapping[str, JointFinding], scale: str
) -> tuple[int, int] | None:
    """Sum annotated and sum predicted, over the sites that have both."""
    sites = [s for s in truths if s in founds and getattr(truths[s], scale) and getattr(founds[s], scale)]
    if not sites:
        return None
    return tuple(sum(getattr(joints[s], scale).score for s in sites) for joints in (truths, founds))


def _center_error(truths: Mapping[str, JointFinding], founds: Mapping[str, JointFinding], spacing: float) -> str:
    both = [site for site in truths if site in founds]
    if not both:
        return ""
    boxes = [np.array([joints[site].box for site in both]) for joints in (truths, founds)]
    centers = [(b[:, :2] + b[:, 2:]) / 2 for b in boxes]
    pixels = float(np.linalg.norm(centers[0] - centers[1], axis=1).mean())
    error = f"{pixels * spacing:.1f} mm" if np.isfinite(spacing) else f"{pixels:.1f} px"
    return f"{len(both)} of {len(truths)} sites, {error} apart"


def _arrange(pairs: Sequence[np.ndarray]) -> np.ndarray:
    height, width = pairs[0].shape[0], max(pair.shape[1] for pair in pairs)
    columns = min(COLUMNS, len(pairs))
    rows = -(-len(pairs) // columns)
    gap, header = 14, 54
    grid = np.full((header + rows * (height + gap), columns * (width + gap) + gap, 3), _GROUND, np.uint8)
    for i, pair in enumerate(pairs):
        top, left = header + i // columns * (height + gap), gap + i % columns * (width + gap)
        grid[top : top + height, left : left + pair.shape[1]] = pair
    image = Image.fromarray(grid)
    canvas = ImageDraw.Draw(image)
    x = float(gap)
    for words, colour in (
        ("Joint boxes:", _INK),
        ("scores agree", _AGREE),
        ("off by one", _NEAR),
        ("off by more, or missed", _FAR),
        ("not compared", _UNKNOWN),
        *zip(anatomy.EROSION_LABELS[1:], overlay.EROSION_COLOURS[1:], strict=True),
    ):
        canvas.text((x, header / 2), words, colour, overlay.font(18), anchor="lm")
        x += overlay.font(18).getlength(words) + 22
    canvas.text((grid.shape[1] - gap, header / 2), NOTE, _WARNING, overlay.font(18), anchor="rm")
    return np.asarray(image)
