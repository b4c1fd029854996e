"""Checks a COCO segmentation before native code sees it, which crashes or takes all memory on what it does not expect.

Every function raises ValueError with the reason, for the caller to say where.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np

from ramjax.io.json_file import shown, whole

REACH = 1.0
"""Image sizes by which a corner may lie outside its image; annotation tools overshoot by a few pixels."""

OUTLINE = 4
"""Times the image's pixels that the outlines of a mask may be long, and eight times its sides. It bounds the memory."""

_MIN_POLYGON = 6
"""Numbers of the smallest polygon, a triangle; the released code skips what is shorter."""

_GROUPS = 7
"""Groups of 5 bits of the longest run that the COCO reference code writes, 32 bits."""


def polygons(segmentation: Any, height: int, width: int) -> list[list[float]]:
    """Returns the polygons of three corners or more, each x, y, x, y, ... in pixels of an image (height, width)."""
    if not isinstance(segmentation, Sequence) or isinstance(segmentation, str):
        raise ValueError(f"{shown(segmentation)} is neither run lengths nor a list of polygons")
    length, kept = 0.0, []
    for polygon in segmentation:
        if not isinstance(polygon, Sequence) or isinstance(polygon, str):
            raise ValueError(f"{shown(polygon)} is no polygon, which is a list x, y, x, y, ...")
        if any(type(v) not in (int, float) for v in polygon):
            raise ValueError(f"the polygon {shown(polygon)} has coordinates that are no numbers")
        if len(polygon) % 2:
            raise ValueError(f"a polygon has {len(polygon)} numbers, an odd count")
        for along, side in ((polygon[0::2], width), (polygon[1::2], height)):
            if not all(-REACH * side <= v <= (1 + REACH) * side for v in along):
                raise ValueError("coordinates that are not finite or far outside the image")
        if len(polygon) >= _MIN_POLYGON:
            corners = np.array(polygon, float).reshape(-1, 2)
            length += np.abs(corners - np.roll(corners, 1, axis=0)).max(1).sum()
            kept.append(list(polygon))
    if length > OUTLINE * height * width + 8 * (height + width):
        raise ValueError("its outline crosses the image more often than it has pixels")
    return kept


def run_lengths(counts: Any, pixels: int) -> np.ndarray:
    """Returns the run lengths, int64 (n,), of an image of so many pixels, from text or a list of whole numbers."""
    if isinstance(counts, str):
        runs = _from_text(counts)
    elif isinstance(counts, Sequence):
        runs = _from_numbers(counts, pixels)
    else:
        raise ValueError(f"its run lengths are {shown(counts)}; text or a list of whole numbers is needed")
    if runs.size and not 0 <= runs.min() <= runs.max() <= pixels:
        raise ValueError(f"it has a run of {runs.min() if runs.min() < 0 else runs.max()} of {pixels} pixels")
    if runs.sum() != pixels:
        raise ValueError(f"its runs cover {runs.sum()} of {pixels} pixels")
    return runs


def without_empty_runs(runs: np.ndarray) -> np.ndarray:
    """The same runs, int64 (n,), none of them empty but perhaps the first: the reference code's boxes need that."""
    if (runs[1:] > 0).all():
        return runs
    kept = np.flatnonzero(runs)
    values = kept % 2
    starts = np.flatnonzero(np.diff(values, prepend=-1))
    merged = np.add.reduceat(runs[kept], starts)
    return np.concatenate([[0], merged]) if values[0] else merged


def _from_numbers(counts: Sequence[Any], pixels: int) -> np.ndarray:
    runs = [whole(count) for count in counts]
    for run, count in zip(runs, counts, strict=True):
        if run is None or not 0 <= run <= pixels:
            raise ValueError(f"the run length {shown(count)} is no whole number in 0..{pixels}")
    return np.array(runs, np.int64)


def _from_text(counts: str) -> np.ndarray:
    """Compressed run lengths as numbers.

    A run is written in groups of 5 bits, lowest first; bit 5 says that another group follows. From the fourth run on,
    the number is the difference to the run two before (`rleToString` of the COCO reference code).
    """
    codes = np.frombuffer(counts.encode("utf-32-le", "surrogatepass"), np.uint32).astype(np.int64) - 48
    if codes.size and not 0 <= codes.min() <= codes.max() < 64:
        raise ValueError("its text has characters that no run lengths have")
    if not codes.size:
        return codes
    ends = np.flatnonzero(codes & 32 == 0)
    if not ends.size or ends[-1] != codes.size - 1:
        raise ValueError("its last run is cut off")
    starts = np.concatenate([[0], ends[:-1] + 1])
    lengths = ends - starts + 1
    if lengths.max() > _GROUPS:
        raise ValueError("it has a run beyond 32 bits")
    place = np.arange(codes.size) - np.repeat(starts, lengths)
    runs = np.add.reduceat((codes & 31) << (5 * place), starts)
    runs -= np.where(codes[ends] & 16, 1 << (5 * lengths), 0)
    runs[1::2] = np.cumsum(runs[1::2])
    runs[2::2] = np.cumsum(runs[2::2])
    return runs
