"""What a film shows beside the hand: collimator, bars, side marker, ruler, text, ring, cannula; and blur."""

import cv2
import numpy as np

from ramjax.phantom.skeleton import Skeleton
from ramjax.phantom.xray import Grid


def metal(skeleton: Skeleton, grid: Grid, side: str, rng: np.random.Generator) -> np.ndarray | None:
    """Returns the attenuation of ring, cannula and lead marker, float32 (rows, columns), None where there is nothing
    of it.
    """
    ring, cannula, marker = rng.random(3) < (0.07, 0.04, 0.45)
    if not (ring or cannula or marker):
        return None
    canvas = np.zeros(grid.shape, np.uint8)
    if ring:
        bone = skeleton.bone(f"PP{rng.choice((3, 4, 5), p=(0.2, 0.65, 0.15))}")
        u = np.linspace(-1.0, 1.0, 9)
        half = 9.4 * skeleton.size
        local = np.stack((u * half, 0.36 * bone.length + rng.uniform(-0.8, 0.8) * (1.0 - u**2)), axis=1)
        _line(canvas, grid, np.array([bone.at(*point) for point in local]), 255, rng.uniform(2.0, 5.0))
    if cannula:
        bone = skeleton.bone("MC4")
        start = bone.at(rng.uniform(-12.0, 4.0), rng.uniform(-10.0, 20.0))
        end = start + rng.normal(0.0, 9.0, 2) + (0.0, 26.0)
        _line(canvas, grid, np.stack((start, end)), 120, 1.3)
        _line(canvas, grid, np.stack((end, end + (end - start) * 0.35)), 70, 5.0)
    if marker:
        _marker(canvas, grid, side, np.concatenate([bone.outline[::4] for bone in skeleton.bones]), rng)
    return canvas.astype(np.float32) * np.float32(2.2 / 255.0)


def _line(canvas: np.ndarray, grid: Grid, points: np.ndarray, value: int, mm: float) -> None:
    pixels = np.round(grid.pixels(points) * 16).astype(np.int32)
    cv2.polylines(canvas, [pixels], False, value, max(round(mm / grid.mm), 1), cv2.LINE_AA, 4)


def _marker(canvas: np.ndarray, grid: Grid, side: str, bones: np.ndarray, rng: np.random.Generator) -> None:
    """Draws the side's letter in lead, turned, near a border and as clear of the bones' points (n, 2) in mm as one
    of some tries is.
    """
    rows, columns = canvas.shape
    height = rng.uniform(6.0, 15.0) / grid.mm
    text = side if rng.random() < 0.7 else side + " " + "".join(rng.choice(list("ABCDEGHKMT"), 2))
    scale, weight = height / 22.0, max(int(height / rng.uniform(5.0, 9.0)), 1)
    (width, tall), _ = cv2.getTextSize(text, cv2.FONT_HERSHEY_SIMPLEX, scale, weight)
    stamp = np.zeros((tall + 4 * weight + 4, width + 4 * weight + 4), np.uint8)
    cv2.putText(stamp, text, (2 * weight, tall + 2 * weight), cv2.FONT_HERSHEY_SIMPLEX, scale, 255, weight, cv2.LINE_AA)
    angle = rng.choice((rng.normal(0.0, 12.0), rng.uniform(-180.0, 180.0)), p=(0.7, 0.3))
    tries = rng.uniform(0.04, 0.96, (8, 2)) * (columns, rows)
    tries[:, 0] = np.where(rng.random(8) < 0.5, 0.25 * tries[:, 0], columns - 0.25 * (columns - tries[:, 0]))
    away = np.hypot(*(tries[:, None] - grid.pixels(bones)[None]).transpose(2, 0, 1)).min(axis=1) * grid.mm
    x, y = tries[int(np.argmax(np.minimum(away, 22.0 + 0.3 * height * grid.mm)))]
    turn = cv2.getRotationMatrix2D((stamp.shape[1] / 2, stamp.shape[0] / 2), float(angle), 1.0)
    turn[:, 2] += (x - stamp.shape[1] / 2, y - stamp.shape[0] / 2)
    strength = int(rng.uniform(110, 255))
    placed = cv2.warpAffine(stamp, turn, (columns, rows), flags=cv2.INTER_LINEAR)
    np.maximum(canvas, cv2.convertScaleAbs(placed, alpha=strength / 255.0), out=canvas)


def collimate(light: np.ndarray, mm: float, rng: np.random.Generator) -> None:
    """Darkens the light beyond tilted, soft collimator edges, in place; three in ten films have some."""
    draws = rng.random(5)
    offsets, tilts = np.abs(rng.normal(0.0, 5.0, 4)) + 0.6, rng.normal(0.0, 1.0) + rng.normal(0.0, 0.25, 4)
    softness, leak = rng.uniform(0.4, 1.6), rng.uniform(0.6, 0.95)
    if draws[4] > 0.3:
        return
    rows, columns = light.shape
    along_y = np.arange(rows, dtype=np.float32)
    along_x = np.arange(columns, dtype=np.float32)
    for edge in range(4):
        if draws[edge] > 0.75:
            continue
        vertical = edge < 2
        line = along_y if vertical else along_x
        extent = (columns, rows)[0 if vertical else 1]
        slope = np.tan(np.deg2rad(tilts[edge])) * (1.0 if vertical else -1.0)
        depth = offsets[edge] / mm + slope * (line - line[-1] / 2)
        limit = int(min(max(float(depth.max()), 0.0) + 4.0 * softness / mm + 1, extent))
        across = np.arange(limit, dtype=np.float32)
        inside = np.clip((across[None, :] - depth[:, None]) * np.float32(0.5 * mm / softness) + 0.5, 0.0, 1.0)
        factor = leak + (1.0 - leak) * inside
        if edge == 0:
            light[:, :limit] *= factor
        elif edge == 1:
            light[:, columns - limit :] *= factor[:, ::-1]
        elif edge == 2:
            light[:limit] *= factor.T
        else:
            light[rows - limit :] *= factor.T[::-1]


def overlay(image: np.ndarray, mm: float, rng: np.random.Generator) -> np.ndarray:
    """Adds what is drawn or cut after development: black bars, ruler, text, blanked corners, softness; returns uint8
    (rows, columns).
    """
    rows, columns = image.shape
    bars, ruler, text, blank, soft = rng.random(5)
    extents = rng.uniform(0.0, 0.05, 4)
    which = rng.random(4) < 0.4
    corner = rng.uniform(0.03, 0.11, 2)
    spot = rng.random(2)
    grade = rng.random()
    letters = "".join(rng.choice(list("0123456789.:/ CMAPRL"), 12))
    if soft < 0.1:
        factor = 0.35 + 0.35 * grade
        size = (max(int(columns * factor), 8), max(int(rows * factor), 8))
        image = cv2.resize(
            cv2.resize(image, size, interpolation=cv2.INTER_AREA), (columns, rows), interpolation=cv2.INTER_LINEAR
        )
    elif soft < 0.2:
        _, packed = cv2.imencode(".jpg", image, (cv2.IMWRITE_JPEG_QUALITY, int(35 + 45 * grade)))
        image = cv2.imdecode(packed, cv2.IMREAD_GRAYSCALE)
    if bars < 0.3:
        top, bottom, left, right = (
            int(e * w * n) for e, w, n in zip(extents, which, (rows, rows, columns, columns), strict=True)
        )
        image[:top], image[rows - bottom :], image[:, :left], image[:, columns - right :] = 0, 0, 0, 0
    if blank < 0.15:
        y, x = int(corner[0] * rows), int(corner[1] * columns * 2)
        level = int(image[2, 2])
        if spot[0] < 0.5:
            image[:y, :x] = level
        else:
            image[:y, columns - x :] = level
    white = int(170 + 85 * grade)
    if ruler < 0.12:
        x = int((0.96 if spot[0] < 0.5 else 0.03) * columns)
        y, ten = int((0.2 + 0.3 * spot[1]) * rows), 10.0 / mm
        cv2.line(image, (x, y), (x, int(y + 5 * ten)), white, 1)
        for tick in range(11):
            reach = int((3.0 if tick % 2 else 5.0) * 0.4 / mm)
            cv2.line(image, (x - reach, int(y + 0.5 * tick * ten)), (x, int(y + 0.5 * tick * ten)), white, 1)
    if text < 0.15:
        scale = 3.0 / mm / 22.0
        at = (int(0.02 * columns + 0.5 * spot[0] * columns), int((0.03 if spot[1] < 0.5 else 0.985) * rows))
        cv2.putText(image, letters, at, cv2.FONT_HERSHEY_SIMPLEX, scale, white, max(int(scale * 1.5), 1), cv2.LINE_AA)
    return image
