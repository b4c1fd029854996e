"""The size of a DICOM image's pixels: which spacing to trust, and square pixels."""

import math

import cv2
import numpy as np

from ramjax.io.dicom_elements import Elements
from ramjax.io.radiograph import check_size

FIELD_MM = (40.0, 600.0)
"""Longer side, in mm, of a film of a hand or wrist. The hand of a newborn is about 60 mm long; the largest cassettes
and detectors of one exposure are 430 mm. Lengths of a few mm or of metres are mistaken units."""

MAX_ASPECT = 4.0
"""Pixels longer than this against their width are a mistake; they are left as they are."""

SQUARE = 0.01
"""Sides of a pixel that differ by less than this share are the same."""

MAGNIFICATION = (1.0, 3.0)
"""Allowed EstimatedRadiographicMagnificationFactor: distance source to detector over source to hand. A hand lies on the
detector; magnified views go to about 2."""


def spacing(elements: Elements) -> tuple[float, float, str] | None:
    """Height and width of a pixel in mm, and where they were found; None unknown.

    PS3.3 10.7: PixelSpacing is the distance in the patient once PixelSpacingCalibrationType says GEOMETRY or FIDUCIAL.
    Else the spacing at the detector counts, divided by the estimated magnification (SID over SOD) where the file has
    it; then PixelSpacing, of which nobody knows whether it is calibrated; then that of a scanned film. Distances of the
    source alone are not used: (0018,1111) ends at the table or the isocentre, not at the hand.
    """
    found = {key: _pair(elements, key) for key in ("PixelSpacing", "ImagerPixelSpacing", "NominalScannedPixelSpacing")}
    calibration = elements.text("PixelSpacingCalibrationType")
    if calibration and calibration not in ("GEOMETRY", "FIDUCIAL"):
        elements.note("PixelSpacingCalibrationType has a value that is not known; it was left out.")
    elif calibration and (pair := found["PixelSpacing"]):
        return *pair, f"as calibrated ({calibration}) in PixelSpacing"
    both = zip(found["PixelSpacing"] or (), found["ImagerPixelSpacing"] or (), strict=False)
    if any(abs(stored - at_detector) > SQUARE * at_detector for stored, at_detector in both):
        elements.note("PixelSpacing differs from ImagerPixelSpacing and does not say how it was calibrated.")
    if pair := found["ImagerPixelSpacing"]:
        factor = elements.number("EstimatedRadiographicMagnificationFactor")
        if factor is not None and not MAGNIFICATION[0] <= factor <= MAGNIFICATION[1]:
            elements.note(f"EstimatedRadiographicMagnificationFactor {factor:g} is absurd for a hand; it was left out.")
            factor = None
        if factor is not None and factor > 1:
            return pair[0] / factor, pair[1] / factor, f"at the detector, divided by the magnification {factor:g}"
        return *pair, "at the detector"
    if pair := found["PixelSpacing"]:
        return *pair, "as stored in PixelSpacing"
    if pair := found["NominalScannedPixelSpacing"]:
        return *pair, "of the scanned film"
    return None


def square(pixels: np.ndarray, elements: Elements, name: str) -> tuple[np.ndarray, float]:
    """Resamples uint8 (H, W) to square pixels where needed: the pixels, and their side in mm, NaN unknown.

    The finer side of a pixel is kept. Without a spacing, PixelAspectRatio (height, width) tells the shape of a pixel.
    """
    known, ratio = spacing(elements), _pair(elements, "PixelAspectRatio")
    if known is None:
        height, width = ratio or (1.0, 1.0)
        known_mm, said = math.nan, f"PixelAspectRatio {height:g} : {width:g}"
    else:
        height, width, where = known
        known_mm, said = 1.0, f"{height:g} x {width:g} mm"
        elements.note(f"Pixel spacing {where}.")
        if ratio and abs(ratio[0] * width - ratio[1] * height) > SQUARE * ratio[0] * width:
            elements.note("PixelAspectRatio contradicts the pixel spacing; the spacing was used.")
    finer, coarser = sorted((height, width))
    if coarser > MAX_ASPECT * finer:
        elements.note(f"Pixels {MAX_ASPECT:g} times as long as wide, or more, are a mistake ({said}); it was left out.")
        return pixels, math.nan
    if coarser <= finer * (1 + SQUARE):
        side = known_mm * (height + width) / 2
    else:
        rows, columns = round(pixels.shape[0] * height / finer), round(pixels.shape[1] * width / finer)
        check_size(columns, rows, name)
        pixels = cv2.resize(pixels, (columns, rows), interpolation=cv2.INTER_LINEAR)
        elements.note(f"Pixels are not square ({said}); the image was resampled to {columns} x {rows} square ones.")
        side = known_mm * finer
    length = side * max(pixels.shape)
    if length < FIELD_MM[0] or length > FIELD_MM[1]:
        elements.note(f"The pixel spacing makes the film {length:.4g} mm long, absurd for a hand; check the spacing.")
    return pixels, side


def _pair(elements: Elements, keyword: str) -> tuple[float, float] | None:
    numbers = elements.numbers(keyword)
    if not numbers:
        return None
    if len(numbers) == 2 and all(number > 0 for number in numbers):
        return numbers[0], numbers[1]
    elements.note(f"{keyword} is no pair of numbers above 0 and was left out.")
    return None
