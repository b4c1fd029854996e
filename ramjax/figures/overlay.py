"""Pictures for people: a radiograph with what was found in it, and a sheet with its scores.

Images are uint8 RGB (H, W, 3). Coordinates are continuous, in input pixels; `scale` takes them to the picture.
"""

import colorsys
import dataclasses
import io
import math
from collections.abc import Sequence
from typing import Any

import cv2
import numpy as np
from PIL import Image, ImageDraw, ImageFont

from ramjax import anatomy
from ramjax.inference.findings import Findings, Region
from ramjax.inference.report import describe_not_judged
from ramjax.notice import NOTE

Colour = tuple[int, int, int]

EROSION_COLOURS: tuple[Colour, ...] = ((0, 0, 0), (255, 45, 45), (255, 150, 20), (235, 70, 225))
"""Of the erosion labels 0 to 3."""

SCORE_COLOURS: tuple[Colour, ...] = (
    (126, 196, 150), (242, 226, 120), (250, 186, 72), (250, 140, 60), (240, 88, 70), (226, 48, 72),
)  # fmt: skip
"""Of scores 0 to 5."""

_INK, _DIM, _GROUND, _PANEL, _WARNING = (236, 239, 242), (150, 158, 166), (12, 14, 17), (24, 28, 33), (255, 196, 84)
_SHIFT = 4  # fractional bits of OpenCV's drawing coordinates


def bone_colour(name: str) -> Colour:
    """A hue of its own for each bone, far from its neighbours'; soft tissue is grey."""
    index = anatomy.BONE_INDEX[name]
    if index == anatomy.SOFT_TISSUE:
        return (130, 138, 146)
    hue = (index * 0.618034 + 0.08) % 1.0
    red, green, blue = colorsys.hls_to_rgb(hue, 0.66 if index % 2 else 0.58, 0.95)
    return round(255 * red), round(255 * green), round(255 * blue)


def grey_to_rgb(pixels: np.ndarray, scale: float = 1.0) -> np.ndarray:
    """uint8 (H, W) to RGB, resampled by `scale`."""
    size = max(1, round(pixels.shape[1] * scale)), max(1, round(pixels.shape[0] * scale))
    if size != pixels.shape[::-1]:
        pixels = cv2.resize(pixels, size, interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC)
    return cv2.cvtColor(pixels, cv2.COLOR_GRAY2RGB)


def outline_bones(picture: np.ndarray, bones: Sequence[Region], scale: float, thickness: int = 1) -> None:
    """Draws each region's outline in its bone's colour, in place."""
    for bone in sorted(bones, key=lambda b: b.name != anatomy.BONES[anatomy.SOFT_TISSUE]):
        # One empty pixel around, so that the outline closes where the mask touches its rectangle.
        mask = np.pad(bone.mask, 1).astype(np.uint8) * 255
        _outline(picture, mask, bone.left - 1, bone.top - 1, scale, bone_colour(bone.name), thickness)


def fill_erosions(picture: np.ndarray, labels: np.ndarray, scale: float, thickness: int = 1) -> None:
    """Fills eroded pixels, uint8 (H, W) labels, translucently and outlines them, in place."""
    height, width = picture.shape[:2]
    for label in range(1, anatomy.NUM_EROSION_LABELS):
        mask = (labels == label).astype(np.uint8) * 255
        if not mask.any():
            continue
        share = cv2.resize(mask, (width, height), interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR)
        share = share[..., None].astype(np.float32) * (0.5 / 255)
        picture[:] = np.rint(picture * (1 - share) + np.float32(EROSION_COLOURS[label]) * share)
        _outline(picture, np.pad(mask, 1), -1, -1, scale, EROSION_COLOURS[label], thickness)


def draw_box(picture: np.ndarray, box: Sequence[float], scale: float, colour: Colour, thickness: int = 1) -> None:
    """Draws the corners of a box (ymin, xmin, ymax, xmax), in place; open sides keep the crowded wrist readable."""
    ymin, xmin, ymax, xmax = (v * scale for v in box)
    arm = 0.28 * min(ymax - ymin, xmax - xmin)
    for x, inward_x in ((xmin, arm), (xmax, -arm)):
        for y, inward_y in ((ymin, arm), (ymax, -arm)):
            points = np.array([(x + inward_x, y), (x, y), (x, y + inward_y)])
            fixed = np.rint((points - 0.5) * 2**_SHIFT).astype(np.int32)
            cv2.polylines(picture, [fixed], False, colour, thickness, cv2.LINE_AA, _SHIFT)


def encode_png(picture: np.ndarray) -> bytes:
    """The picture as PNG bytes."""
    buffer = io.BytesIO()
    Image.fromarray(picture).save(buffer, format="PNG", compress_level=6)
    return buffer.getvalue()


def font(size: float) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    """The built-in font, so that pictures look the same everywhere."""
    return ImageFont.load_default(size=size)


def sheet(pixels: np.ndarray, findings: Findings, report: dict[str, Any], title: str, height: int = 1400) -> np.ndarray:
    """One picture to read: the radiograph, the same with everything found, and the scores.

    Args:
      pixels: uint8 (H, W).
      findings: what was found in it.
      report: of the same (see `report.to_json`).
      title: name of the radiograph.
      height: of the radiograph in the picture; small ones are magnified, large ones shrunk.
    """
    scale = min(height / pixels.shape[0], 1.25 * height / pixels.shape[1])
    unit = height / 70
    thickness = max(1, round(height / 900))
    original = grey_to_rgb(pixels, scale)
    found = original.copy()
    if findings.erosions is not None:
        fill_erosions(found, findings.erosions, scale, thickness)
    outline_bones(found, findings.bones, scale, thickness)
    labels = _joint_labels(findings)
    for label in labels:
        draw_box(found, label.box, scale, label.colour, thickness)
    found = _with_margin_labels(found, labels, scale, unit)
    parts = [original, found, _panel(findings, report, height, unit)]
    gap = round(unit)
    header = round(4.6 * unit)
    tallest = max(part.shape[0] for part in parts)
    whole = np.full((header + tallest + gap, sum(p.shape[1] for p in parts) + gap * 4, 3), _GROUND, np.uint8)
    left = gap
    for part in parts:
        top = header + (tallest - part.shape[0]) // 2
        whole[top : top + part.shape[0], left : left + part.shape[1]] = part
        left += part.shape[1] + gap
    return _with_header(whole, report, title, unit, gap)


@dataclasses.dataclass(frozen=True)
class _Label:
    """A joint's box with the words that go in the margin."""

    box: tuple[float, float, float, float]
    site: str
    words: str
    colour: Colour


def _joint_labels(findings: Findings) -> list[_Label]:
    labels = []
    for joint in findings.joints:
        grades = [(name, grade) for name, grade in (("BE", joint.be), ("JSN", joint.jsn)) if grade is not None]
        worst = max((grade.score for _, grade in grades), default=None)
        colour = _INK if worst is None else SCORE_COLOURS[worst]
        labels.append(_Label(joint.box, joint.site, "  ".join(f"{n} {g.score}" for n, g in grades), colour))
    return labels


def _with_margin_labels(picture: np.ndarray, labels: Sequence[_Label], scale: float, unit: float) -> np.ndarray:
    """Adds a margin to either side and writes the labels there, each joined to its box by a line."""
    margin, line = round(12.5 * unit), 1.75 * unit
    height, width = picture.shape[:2]
    whole = np.full((height, width + 2 * margin, 3), _GROUND, np.uint8)
    whole[:, margin : margin + width] = picture
    middle = float(np.median([(b.box[1] + b.box[3]) / 2 * scale for b in labels])) if labels else 0.0
    placed = []
    for right in (False, True):
        side = [label for label in labels if ((label.box[1] + label.box[3]) / 2 * scale > middle) == right]
        side.sort(key=lambda label: label.box[0] + label.box[2])
        wanted = [(label.box[0] + label.box[2]) / 2 * scale for label in side]
        placed += [(label, y, right) for label, y in zip(side, _spread(wanted, line, height), strict=True)]
    for label, y, right in placed:
        ymin, xmin, ymax, xmax = (v * scale for v in label.box)
        x_box = margin + (xmax if right else xmin)
        x_label = margin + width + 0.3 * unit if right else margin - 0.3 * unit
        start, end = (_fixed(x_label), _fixed(y)), (_fixed(x_box), _fixed((ymin + ymax) / 2))
        faint = tuple(round(0.6 * c) for c in label.colour)
        cv2.line(whole, start, end, faint, 1, cv2.LINE_AA, _SHIFT)
        cv2.circle(whole, end, _fixed(0.2 * unit + 0.5), label.colour, cv2.FILLED, cv2.LINE_AA, _SHIFT)
    image = Image.fromarray(whole)
    draw = ImageDraw.Draw(image)
    for label, y, right in placed:
        x = margin + width + 0.6 * unit if right else 0.6 * unit
        draw.text((x, y), label.site, _INK, font(1.15 * unit), anchor="lm")
        draw.text((x + 5.0 * unit, y), label.words, label.colour, font(1.05 * unit), anchor="lm")
    return np.asarray(image)


def _spread(wanted: Sequence[float], line: float, height: float) -> list[float]:
    """Positions near those wanted, ascending, at least `line` apart and within the height."""
    places: list[float] = []
    for y in wanted:
        places.append(max(y, places[-1] + line if places else line / 2))
    limit = height - line / 2
    for i in reversed(range(len(places))):
        places[i] = min(places[i], limit)
        limit = places[i] - line
    return places


def _panel(findings: Findings, report: dict[str, Any], height: int, unit: float) -> np.ndarray:
    """The scores site by site, erosion areas, the colours of the bones, and what was not judged.

    It is `height` high, or as high as its text needs.
    """
    width = round(25 * unit)
    small, normal = font(0.95 * unit), font(1.1 * unit)
    lines = [
        line
        for text in (*describe_not_judged(findings.not_judged), *report["notes"])
        for line in _wrap(text, small, width - 2 * unit)
    ]
    image = Image.new("RGB", (width, height + math.ceil(1.2 * unit * len(lines))), _PANEL)
    draw = ImageDraw.Draw(image)
    columns = [unit, 9.5 * unit, 14.0 * unit, 18.5 * unit]
    y = 1.2 * unit
    for x, head in zip(columns, ("Site", "BE", "JSN", "Confidence"), strict=True):
        draw.text((x, y), head, _DIM, small, anchor="lm")
    joints = {joint.site: joint for joint in findings.joints}
    for site in anatomy.SITES:
        y += 1.42 * unit
        joint = joints.get(site.name)
        draw.text((columns[0], y), site.name, _INK if joint else _DIM, normal, anchor="lm")
        for x, scored, grade in (
            (columns[1], site.be, joint and joint.be),
            (columns[2], site.jsn, joint and joint.jsn),
        ):
            if grade:
                box = (x - 0.2 * unit, y - 0.58 * unit, x + 1.7 * unit, y + 0.58 * unit)
                draw.rounded_rectangle(box, 0.3 * unit, SCORE_COLOURS[grade.score])
                draw.text((x + 0.75 * unit, y), str(grade.score), (16, 18, 20), normal, anchor="mm")
            else:
                draw.text((x + 0.75 * unit, y), "?" if scored else "", _DIM, normal, anchor="mm")
        draw.text((columns[3], y), f"{joint.confidence:.2f}" if joint else "not found", _DIM, small, anchor="lm")
    y = _erosion_lines(draw, report, y + 1.9 * unit, unit)
    y = _bone_legend(draw, findings.bones, y + 0.9 * unit, width, unit)
    y += 0.9 * unit
    for line in lines:
        draw.text((unit, y), line, _DIM, small, anchor="lm")
        y += 1.2 * unit
    return np.asarray(image)[: max(height, math.ceil(y))]


def _erosion_lines(draw: ImageDraw.ImageDraw, report: dict[str, Any], y: float, unit: float) -> float:
    if report["erosions"] is None:
        return y
    draw.text((unit, y), "Erosions", _DIM, font(0.95 * unit), anchor="lm")
    for colour, label in zip(EROSION_COLOURS[1:], report["erosions"]["labels"], strict=True):
        y += 1.3 * unit
        draw.rectangle((unit, y - 0.4 * unit, 1.8 * unit, y + 0.4 * unit), colour)
        draw.text((2.4 * unit, y), label["name"], _INK, font(unit), anchor="lm")
        draw.text((14.5 * unit, y), _area_words(label), _INK, font(unit), anchor="lm")
    return y + 1.0 * unit


def _bone_legend(draw: ImageDraw.ImageDraw, bones: Sequence[Region], y: float, width: int, unit: float) -> float:
    if not bones:
        return y
    small, columns = font(0.88 * unit), 3
    draw.text((unit, y), "Outlines", _DIM, font(0.95 * unit), anchor="lm")
    rows = -(-len(bones) // columns)
    for i, bone in enumerate(bones):
        column, row = divmod(i, rows)
        x = unit + column * (width - 2 * unit) / columns
        at = y + (row + 1) * 1.18 * unit
        draw.line((x, at, x + 0.9 * unit, at), bone_colour(bone.name), max(2, round(unit / 6)))
        words = "Pisif.+Triq." if bone.name == "PisiformTriquetrum" else bone.name
        draw.text((x + 1.3 * unit, at), words, _INK, small, anchor="lm")
    return y + (rows + 1) * 1.18 * unit


def _with_header(whole: np.ndarray, report: dict[str, Any], title: str, unit: float, gap: int) -> np.ndarray:
    image = Image.fromarray(whole)
    draw = ImageDraw.Draw(image)
    words = [
        _total_words(report["totals"], *scale)
        for scale in (("be", anatomy.BE_MAX, len(anatomy.BE_SITES)), ("jsn", anatomy.JSN_MAX, len(anatomy.JSN_SITES)))
    ]
    side = {"L": "left", "R": "right"}.get(report["side"], "side unknown")
    about = [f"{side} {report['view']}".strip() + (" (estimated)" if report["side_source"] == "estimated" else "")]
    spacing = report["pixel_spacing_mm"]
    about.append(f"{spacing:.4g} mm a pixel" if spacing else "pixel size unknown")
    draw.text((gap, 1.4 * unit), _shorten(title, 60), _INK, font(1.7 * unit), anchor="lm")
    draw.text((gap, 3.3 * unit), ", ".join(about), _DIM, font(1.1 * unit), anchor="lm")
    right = image.width - gap
    draw.text((right, 1.4 * unit), "     ".join(words), _INK, font(1.7 * unit), anchor="rm")
    draw.text((right, 3.3 * unit), NOTE, _WARNING, font(1.1 * unit), anchor="rm")
    return np.asarray(image)


def _outline(
    picture: np.ndarray, mask: np.ndarray, left: int, top: int, scale: float, colour: Colour, thickness: int
) -> None:
    """Draws the outline of a uint8 mask (0, 255) whose corner lies at (left, top), smoothed where it is magnified."""
    size = max(1, round(mask.shape[1] * scale)), max(1, round(mask.shape[0] * scale))
    shown = cv2.resize(mask, size, interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC)
    contours, _ = cv2.findContours((shown >= 128).astype(np.uint8), cv2.RETR_LIST, cv2.CHAIN_APPROX_NONE)
    shift = np.array((left, top)) * scale
    fixed = [np.rint((contour + shift) * 2**_SHIFT).astype(np.int32) for contour in contours]
    cv2.polylines(picture, fixed, True, colour, thickness, cv2.LINE_AA, _SHIFT)


def _fixed(value: float) -> int:
    return round((value - 0.5) * 2**_SHIFT)


def _wrap(text: str, face: Any, width: float) -> list[str]:
    lines = [""]
    for word in text.split():
        longer = f"{lines[-1]} {word}".strip()
        if face.getlength(longer) > width and lines[-1]:
            lines.append(word)
        else:
            lines[-1] = longer
    return lines


def _area_words(area: dict[str, Any]) -> str:
    return f"{area['area_px']} px" if area["area_mm2"] is None else f"{area['area_mm2']:.1f} sq mm"


def _total_words(totals: dict[str, Any], key: str, top: int, sites: int) -> str:
    """A total beside its highest value, over the sites that were judged; one over none is no 0."""
    judged = totals[f"{key}_sites"]
    if not judged:
        return f"{key.upper()} not judged"
    return f"{key.upper()} {totals[key]} of {top * judged}  ({judged} of {sites} sites)"


def _shorten(text: str, length: int) -> str:
    return text if len(text) <= length else f"{text[: length - 1]}…"
