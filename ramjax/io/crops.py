"""Finds the place in an image from which an exact part of it, such as a released region of interest, was cut."""

import cv2
import numpy as np


class CropFinder:
    """An image, ready to be searched for many crops.

    Args:
      image: uint8 (H, W).
    """

    def __init__(self, image: np.ndarray):
        self._image = np.ascontiguousarray(image)
        self._lines = {False: self._image.tobytes(), True: self._image.T.tobytes()}

    def find(self, crop: np.ndarray) -> list[tuple[int, int]]:
        """Returns the first places (y, x) of the crop's upper left corner: none, one, or two where it is ambiguous.

        The row or column of the crop that varies most is searched for in the bytes of the image. Each place where it
        occurs is then compared pixel by pixel.

        Args:
          crop: uint8 (h, w), h and w at least 1.
        """
        crop = np.ascontiguousarray(crop)
        if crop.shape[0] > self._image.shape[0] or crop.shape[1] > self._image.shape[1]:
            return []
        changes = [np.count_nonzero(np.diff(lines.astype(np.int16)), axis=1) for lines in (crop, crop.T)]
        if not changes[0].any() and not changes[1].any():
            return self._find_flat(crop)
        upright = changes[0].max() < changes[1].max()
        line = int(np.argmax(changes[int(upright)]))
        return self._find_line(crop, line, bool(upright))

    def _find_line(self, crop: np.ndarray, line: int, upright: bool) -> list[tuple[int, int]]:
        """Seeks row `line` of the crop, or column `line` where `upright`."""
        haystack, needle = self._lines[upright], (crop.T if upright else crop)[line].tobytes()
        stride = self._image.shape[0 if upright else 1]
        height, width = crop.shape
        found: list[tuple[int, int]] = []
        at = haystack.find(needle)
        while at >= 0 and len(found) < 2:
            across, along = divmod(at, stride)
            y, x = (along, across - line) if upright else (across - line, along)
            if y >= 0 and x >= 0 and np.array_equal(self._image[y : y + height, x : x + width], crop):
                found.append((y, x))
            at = haystack.find(needle, at + 1)
        return found

    def _find_flat(self, crop: np.ndarray) -> list[tuple[int, int]]:
        """Places of a crop of a single grey value: windows of its size that hold only this value."""
        height, width = crop.shape
        sums = cv2.integral((self._image == crop[0, 0]).astype(np.uint8))
        inside = sums[height:, width:] - sums[:-height, width:] - sums[height:, :-width] + sums[:-height, :-width]
        return [(int(y), int(x)) for y, x in np.argwhere(inside == height * width)[:2]]
