"""Masks held as the bits of one word a pixel: areas, and distances between boundaries.

One pass over the image serves all masks: runs of equal words give the areas, and a few bitwise operations find the
boundary pixels of every plane, among which each mask then has its own. Distances are computed at boundary pixels only,
by a k-d tree of the other boundary (scipy). This is exact, and cheaper than a distance transform, which computes the
distances of all pixels although only a few are needed.
"""

import dataclasses
import math
from collections.abc import Sequence

import numpy as np

MAX_PLANES = 57
"""So many planes fit a 64-bit word that may start at any bit of a byte."""

_BLOCK = 1 << 16
"""Pixels packed at a time: what is read and written stays in the cache."""


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
    """Packs bool (H, W, K) planes into words (H, W), bit k = plane k: uint32, or uint64 for K = 33 to `MAX_PLANES`."""
    height, width, count = planes.shape
    if not 1 <= count <= MAX_PLANES:
        raise ValueError(f"{count} planes cannot be packed; measure 1 to {MAX_PLANES} at a time.")
    # The planes of a pixel follow each other, so packing the whole as one row of bits is quick; then pixel p begins at
    # bit p * count, and pixels a `period` apart begin at the same bit of a byte.
    pixels, period = height * width, 8 // math.gcd(count, 8)
    flat = np.ascontiguousarray(planes).view(np.uint8).reshape(-1)
    words = np.empty(pixels, np.uint32 if count <= 32 else np.uint64)
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
            words[start + phase : start + size : period] = strided >> np.uint64(first % 8)
        words[start : start + size] &= words.dtype.type((1 << count) - 1)
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
    reach = tolerance * (1 + 1e-9)  # 2 pixels of 0.15 mm are 0.3 mm, however they are rounded
    rows = _rows(predicted, annotated, parts)
    runs, pixels = _runs(predicted[rows], annotated[rows])
    edges = [_edges(image[rows], spacing) for image in (predicted, annotated)]
    counts = np.zeros((5, len(parts)), np.int64)
    distance, hd95 = np.full(len(parts), np.nan), np.full(len(parts), np.nan)
    for k, part in enumerate(parts):
        bits = predicted.dtype.type(part)
        masks = [(words & bits) == bits for words in runs]
        # Of integers, so that NumPy sums them itself: the threads of BLAS would slow down one process a core.
        counts[:3, k] = [pixels @ mask for mask in (masks[0] & masks[1], *masks)]
        found, there = (edge.of(bits) for edge in edges)
        counts[3, k] = len(found) + len(there)
        if len(found) and len(there):
            apart = distances(found, there), distances(there, found)
            counts[4, k] = sum(np.count_nonzero(d <= reach) for d in apart)
            distance[k] = apart[0].sum() + apart[1].sum()
            hd95[k] = max(np.percentile(d, 95) for d in apart)
    return Measured(*counts, distance, hd95, math.hypot(*np.multiply(predicted.shape, spacing)))


def distances(points: np.ndarray, others: np.ndarray) -> np.ndarray:
    """Euclidean distance of each of `points` (n, 2) to the nearest of `others` (m, 2), float64 (n,); m > 0."""
    from scipy.spatial import cKDTree  # takes half a second to load, and prediction needs none of it

    # Points come row by row: splitting at the middle of the range is quicker here than sorting for medians.
    return cKDTree(others, balanced_tree=False, compact_nodes=False).query(points)[0]


@dataclasses.dataclass(frozen=True)
class _Edges:
    """The n boundary pixels of all planes of an image.

    Attributes:
      words: (n,), of these pixels.
      lost: (n,), their bits that erosion clears.
      points: float64 (n, 2), rows and columns times the spacing.
    """

    words: np.ndarray
    lost: np.ndarray
    points: np.ndarray

    def of(self, bits: np.unsignedinteger) -> np.ndarray:
        """The boundary points of a part, (m, 2). It loses a pixel by erosion where any of its planes does."""
        return self.points[((self.words & bits) == bits) & ((self.lost & bits) != 0)]


def _rows(predicted: np.ndarray, annotated: np.ndarray, parts: Sequence[int]) -> slice:
    """The rows beyond which no part has a pixel."""
    words = np.stack([np.bitwise_or.reduce(image, axis=1) for image in (predicted, annotated)])
    bits = np.array(parts, words.dtype)[:, None, None]
    there = np.flatnonzero(((words & bits) == bits).any(axis=(0, 1)))
    return slice(there[0], there[-1] + 1) if there.size else slice(0)


def _edges(image: np.ndarray, spacing: tuple[float, float]) -> _Edges:
    """Erodes all planes of words (H, W) at once. Neighbours are found in the flat image, which is quicker than in two
    dimensions."""
    flat, width = image.ravel(), image.shape[1]
    inner = np.zeros_like(flat)
    core = inner[width:-width]
    np.bitwise_and(flat[: -2 * width], flat[2 * width :], out=core)
    for other in (flat[width - 1 : -width - 1], flat[width + 1 : flat.size - width + 1], flat[width:-width]):
        core &= other
    inner.reshape(image.shape)[:, :1] = inner.reshape(image.shape)[:, -1:] = 0
    at = np.flatnonzero(inner != flat)
    row, column = np.divmod(at, width)
    return _Edges(flat[at], flat[at] ^ inner[at], np.column_stack([row * spacing[0], column * spacing[1]]))


def _runs(predicted: np.ndarray, annotated: np.ndarray) -> tuple[list[np.ndarray], np.ndarray]:
    """Pixels in reading order as n runs of the same words: both words, (n,) each, and how many pixels, int64 (n,)."""
    images = [image.ravel() for image in (predicted, annotated)]
    first = np.ones(predicted.size, bool)
    first[1:] = images[0][1:] != images[0][:-1]
    first[1:] |= images[1][1:] != images[1][:-1]
    starts = np.flatnonzero(first)
    return [image[starts] for image in images], np.diff(starts, append=predicted.size)
