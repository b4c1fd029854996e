"""Masks held as the bits of one word a pixel, measured part by part: areas, and distances between boundaries.

Each part is looked at in the box that holds it, and distances are taken at the pixels of its boundaries only, by a
k-d tree over those of the other boundary (scipy), which is exact: a distance transform of the same box computes the
distances of all pixels to read those of a few.
"""

import dataclasses
import math
from collections.abc import Sequence

import cv2
import numpy as np
from scipy.spatial import cKDTree

MAX_PLANES = 57
"""So many planes fit a 64-bit word that may start at any bit of a byte."""

_BLOCK = 1 << 16
"""Pixels packed at a time: what is read and written stays in the cache."""

_CROSS = cv2.getStructuringElement(cv2.MORPH_CROSS, (3, 3))


@dataclasses.dataclass(frozen=True)
class Measured:
    """Counts and distances of K pairs of masks, from which every metric follows in either mode.

    Attributes:
      intersection, predicted, annotated: int64 (K,), pixels.
      boundary: int64 (K,), boundary pixels of both masks together.
      near: int64 (K,), those of them within the tolerance of the other mask's boundary.
      distance: float64 (K,), sum of the distances of all of them to the other mask's boundary; NaN where either mask is
        empty.
      hd95: float64 (K,), the greater of the two directions' 95th percentile of these distances; NaN likewise.
      diagonal: of the image, in the unit of the distances.
    """

    intersection: np.ndarray
    predicted: np.ndarray
    annotated: np.ndarray
    boundary: np.ndarray
    near: np.ndarray
    distance: np.ndarray
    hd95: np.ndarray
    diagonal: float


def pack(planes: np.ndarray) -> np.ndarray:
    """Packs bool (H, W, K) planes, K <= `MAX_PLANES`, into uint64 (H, W) words, bit k = plane k."""
    height, width, count = planes.shape
    if not 1 <= count <= MAX_PLANES:
        raise ValueError(f"{count} planes cannot be packed; measure 1 to {MAX_PLANES} at a time.")
    # The planes of a pixel follow each other, so packing the whole as one row of bits is quick; then pixel p begins at
    # bit p * count, and pixels a `period` apart begin at the same bit of a byte.
    pixels, period = height * width, 8 // math.gcd(count, 8)
    flat = np.ascontiguousarray(planes).view(np.uint8).reshape(-1)
    words = np.empty(pixels, np.uint64)
    keep = np.uint64((1 << count) - 1)
    for start in range(0, pixels, _BLOCK):
        block = flat[start * count : (start + _BLOCK) * count]
        bits = np.zeros(-(-block.size // 8) + 8, np.uint8)  # a word reads up to 8 bytes on
        packed = np.packbits(block, bitorder="little")
        bits[: packed.size] = packed
        size = block.size // count
        for phase in range(min(period, size)):
            first = phase * count
            strided = np.ndarray(
                len(range(phase, size, period)), "<u8", bits, offset=first // 8, strides=(period * count // 8,)
            )
            words[start + phase : start + size : period] = (strided >> np.uint64(first % 8)) & keep
    return words.reshape(height, width)


def measure(
    predicted: np.ndarray,
    annotated: np.ndarray,
    parts: Sequence[int],
    *,
    tolerance: float,
    spacing: tuple[float, float] = (1.0, 1.0),
) -> Measured:
    """Measures K masks against K masks.

    A boundary is what a mask loses by erosion with a 4-connected cross, with nothing beyond the image: pixels on the
    image's border count.

    Args:
      predicted, annotated: unsigned (H, W) words.
      parts: for each mask the bits a pixel must have to belong to it, one for a plane, two for the overlap of two.
      tolerance: within which boundary pixels count as near, in the unit of `spacing`.
      spacing: between rows and between columns.
    """
    rows = [np.bitwise_or.reduce(words, axis=1) for words in (predicted, annotated)]
    columns = [np.bitwise_or.reduce(words, axis=0) for words in (predicted, annotated)]
    reach = tolerance * (1 + 1e-9)  # 2 pixels of 0.15 mm are 0.3 mm, however they are rounded
    counts = np.zeros((5, len(parts)), np.int64)
    distance, hd95 = np.full(len(parts), np.nan), np.full(len(parts), np.nan)
    for k, part in enumerate(parts):
        bits = predicted.dtype.type(part)
        window = tuple(_span(bits, *lines) for lines in (rows, columns))
        if None in window:
            continue
        masks = [((words[window] & bits) == bits).view(np.uint8) for words in (predicted, annotated)]
        counts[:3, k] = [np.count_nonzero(mask) for mask in (masks[0] & masks[1], *masks)]
        edges = [_boundary(mask, spacing) for mask in masks]
        counts[3, k] = len(edges[0]) + len(edges[1])
        if len(edges[0]) and len(edges[1]):
            apart = distances(edges[0], edges[1]), distances(edges[1], edges[0])
            counts[4, k] = sum(np.count_nonzero(d <= reach) for d in apart)
            distance[k] = apart[0].sum() + apart[1].sum()
            hd95[k] = max(np.percentile(d, 95) for d in apart)
    return Measured(*counts, distance, hd95, math.hypot(*np.multiply(predicted.shape, spacing)))


def distances(points: np.ndarray, others: np.ndarray) -> np.ndarray:
    """Euclidean distance of each of `points` (n, 2) to the nearest of `others` (m, 2), float64 (n,); m > 0."""
    # Points come row by row: splitting at the middle of the range is quicker here than sorting for medians.
    return cKDTree(others, balanced_tree=False, compact_nodes=False).query(points)[0]


def _span(bits: np.unsignedinteger, predicted: np.ndarray, annotated: np.ndarray) -> slice | None:
    """The lines in which either mask may have a pixel; None without any."""
    there = np.flatnonzero(((predicted & bits) == bits) | ((annotated & bits) == bits))
    return slice(int(there[0]), int(there[-1]) + 1) if there.size else None


def _boundary(mask: np.ndarray, spacing: tuple[float, float]) -> np.ndarray:
    """The boundary pixels of a uint8 (h, w) mask, float64 (n, 2), rows and columns times the spacing."""
    inner = cv2.erode(mask, _CROSS, borderType=cv2.BORDER_CONSTANT, borderValue=0)
    row, column = np.divmod(np.flatnonzero(mask != inner), mask.shape[1])
    return np.column_stack([row * spacing[0], column * spacing[1]])
