"""From stored values to what a DICOM image is meant to show, in the order of PS3.4 N.2: bone comes out bright.

    stored values -> modality table or rescale (PS3.3 C.11.1) -> value-of-interest table or window (C.11.2)
                  -> presentation table or shape (C.11.6) -> photometric interpretation (C.7.6.3.1.2)

The stages work on the levels, the values that a stored value may take, not on the pixels. A falling table or slope,
MONOCHROME1 and the shape INVERSE each turn the picture round. The last two are one statement, for the standard
asks for INVERSE with MONOCHROME1 (C.7.6.1): together they turn it once.
"""

import dataclasses
import math

import numpy as np

from ramjax.io.dicom_elements import Elements
from ramjax.io.dicom_stored import HIDDEN_SHARE, Stored
from ramjax.io.radiograph import ImageError

BLIND_TAIL = 0.001
"""Share of the pixels at either end of the grey values that does not count as the range of a film."""

WHITE_SHARE = 0.5
"""A window that makes more than this share of the pixels white is noted: bone covers less of a film."""

REVERSED_SHARE = 0.05
"""A table whose steps against its direction add up to more than this share of those along it is noted: its bytes may be
in the wrong order, or damaged."""

_SPARE_SHARE = 0.01


@dataclasses.dataclass(frozen=True)
class Levels:
    """Grey values on their way through the stages.

    Attributes:
      values: float64 (N,), what each stored level has become.
      low: the smallest value that there may be.
      high: the largest.
      bits: of a whole value, where the values between `low` and `high` are meant for the eye as they are; 0 where not.
      signed: whether values may be negative.
      rescaled: whether the windows of the file can be laid on these values.
    """

    values: np.ndarray
    low: float
    high: float
    bits: int
    signed: bool
    rescaled: bool = True


@dataclasses.dataclass(frozen=True)
class Table:
    """A lookup table: `entries` for the values `first`, `first` + 1 ...; values beyond take the nearest entry."""

    entries: np.ndarray
    first: int
    bits: int

    def __call__(self, values: np.ndarray) -> np.ndarray:
        """Looks up values (N,) of the same numbering."""
        index = np.clip(np.rint(values) - self.first, 0, len(self.entries) - 1)
        return self.entries[index.astype(np.int64)].astype(np.float64)


def to_grey(stored: Stored, photometric: str, elements: Elements, name: str) -> np.ndarray:
    """Applies all stages: uint8 (H, W), bright bone; padding is 0. Notes go to `elements`.

    Eight bits that go through no window keep their values, as do those of a table of eight bits. Everything else is
    stretched: what a window or a value-of-interest table shows from its smallest to its largest value, other values
    between the 0.1th and the 99.9th percentile.

    Raises:
      ImageError: a modality or presentation table cannot be applied; it may be the one that turns the picture round.
    """
    try:
        levels = _modality(stored, elements)
        shown = _value_of_interest(levels, stored.counts, elements)
        chosen = shown is not levels
        shown, turned = _presentation(shown, photometric, elements)
    except ValueError as error:
        raise ImageError(f"{name} cannot be shown as it is meant to be: {error}; export it again.") from error
    if chosen:
        _note_white(shown, turned, stored.counts, elements)
    values = (shown.values - shown.low) / (shown.high - shown.low)
    values = 1 - values if turned else values
    if shown.bits == 8:
        grey = np.rint(255 * np.clip(values, 0, 1))
    else:
        low, high = percentiles(values, stored.counts, 0.0 if chosen else BLIND_TAIL)
        grey = np.rint(255 * np.clip((values - low) / max(high - low, 1e-300), 0, 1))
    return np.where(stored.valid, grey, 0).astype(np.uint8)[stored.index]


def percentiles(values: np.ndarray, counts: np.ndarray, tail: float) -> tuple[float, float]:
    """Of pixels with `values` (N,), `counts` times each: the ends without a share `tail` at either, as np.percentile.

    Where these are the same, the smallest and the largest value.
    """
    order = np.argsort(values, kind="stable")
    ranks = np.cumsum(counts[order])
    last = int(ranks[-1]) - 1

    def at(share: float) -> float:
        below = math.floor(share * last)
        start, end = (values[order[np.searchsorted(ranks, rank, "right")]] for rank in (below, min(below + 1, last)))
        return float(start + (end - start) * (share * last - below))

    low, high = at(tail), at(1 - tail)
    return (low, high) if low < high else (at(0), at(1))


def read_table(item: Elements, signed: bool, where: str) -> Table:
    """Reads the lookup table of an item of a sequence, PS3.3 C.11.1.1.1 and C.11.2.1.1.

    The descriptor is (entries, first value mapped, bits an entry); 0 entries are 65536, and the first value has the
    sign of the values that go in, whatever the VR says. Entries of eight bits are packed as bytes or padded to words;
    the length of the data tells which.

    Raises:
      ValueError: descriptor or data are missing, broken or contradict each other.
    """
    descriptor = item.numbers("LUTDescriptor")
    if len(descriptor) != 3 or not all(map(math.isfinite, descriptor)):
        raise ValueError(f"{where} has no readable LUTDescriptor")
    count, first, bits = (int(number) for number in descriptor)
    count = (count & 0xFFFF) or 1 << 16
    if signed and first >= 1 << 15:
        first -= 1 << 16
    elif not signed and first < 0:
        first += 1 << 16
    vr, data = item.raw("LUTData")
    if len(data) in (count, count + count % 2) and not 8 < bits <= 16:
        entries = np.frombuffer(data, np.uint8)
        if vr != "OB" and item.byte_order == ">" and len(data) % 2 == 0:
            entries = entries.reshape(-1, 2)[:, ::-1].ravel()  # two entries are one word, the first its low byte
        entries = entries[:count]
    elif len(data) >= 2 * count:
        entries = np.frombuffer(data[: 2 * count], f"{item.byte_order}u2")
        if len(data) > 2 * count:
            item.note(f"LUTData of {where} is longer than its {count} entries; the rest was left out.")
    else:
        raise ValueError(f"{where} has LUTData of {len(data)} bytes for {count} entries")
    steps = np.diff(entries.astype(np.int64))
    rise, fall = int(steps[steps > 0].sum()), -int(steps[steps < 0].sum())
    if min(rise, fall) > REVERSED_SHARE * max(rise, fall):
        item.note(f"{where} both rises and falls, which no grey table does; check the overlay.")
    needed = int(entries.max()).bit_length()
    if not needed <= bits <= 16:
        item.note(f"{where} says its entries have {bits} bits; they have {max(needed, 1)}.")
        bits = max(needed, 1)
    return Table(entries, first, bits)


def _modality(stored: Stored, elements: Elements) -> Levels:
    high = stored.low + (1 << stored.bits) - 1
    levels = Levels(stored.values.astype(np.float64), stored.low, high, stored.bits, stored.low < 0)
    slope, intercept = elements.number("RescaleSlope"), elements.number("RescaleIntercept")
    items = list(elements.items("ModalityLUTSequence"))
    if items:
        table = read_table(items[0], levels.signed, "ModalityLUTSequence")
        beyond = (stored.values < table.first) | (stored.values >= table.first + len(table.entries))
        share = _share(stored.counts, beyond)
        if share > HIDDEN_SHARE:
            raise ValueError(f"ModalityLUTSequence has no entries for {100 * share:.0f} % of the pixels")
        if share > _SPARE_SHARE:
            elements.note(
                f"ModalityLUTSequence has no entries for {100 * share:.0f} % of the pixels; they took the nearest."
            )
        if len(items) > 1:
            elements.note("The file has several modality tables; the first was used.")
        if slope not in (None, 1.0) or intercept not in (None, 0.0):
            elements.note("The file has a modality table and a rescale slope or intercept; the table was used.")
        return Levels(table(levels.values), 0, (1 << table.bits) - 1, table.bits, False)
    if slope is None and elements.has("RescaleSlope"):
        raise ValueError("RescaleSlope is no number")
    if slope == 0:
        elements.note("RescaleSlope is 0; the stored values were used.")
        return dataclasses.replace(levels, rescaled=False)
    if (slope is None) != (intercept is None):
        missing = "RescaleSlope" if slope is None else "RescaleIntercept"
        elements.note(f"{missing} is missing beside its fellow; {1 if slope is None else 0} was taken.")
    known = intercept is not None or not elements.has("RescaleIntercept")
    slope, intercept = 1.0 if slope is None else slope, intercept or 0.0
    values = levels.values * slope + intercept
    low, high = sorted((levels.low * slope + intercept, levels.high * slope + intercept))
    if not (math.isfinite(low) and math.isfinite(high) and high > low):
        raise ValueError("RescaleSlope and RescaleIntercept lead to no finite values")
    return Levels(values, low, high, levels.bits, low < 0, known)


def _value_of_interest(levels: Levels, counts: np.ndarray, elements: Elements) -> Levels:
    """Applies the first table that can be used, else the first window; returns `levels` itself where there is none."""
    if not levels.rescaled:
        if elements.has("VOILUTSequence") or elements.has("WindowCenter"):
            elements.note("The file's windows were not used, as the values they are laid on are not known.")
        return levels
    windows = _windows(elements)
    try:
        items = list(elements.items("VOILUTSequence"))
    except ValueError as error:
        elements.note(f"{error}; it was left out.")
        items = []
    for number, item in enumerate(items, 1):
        where = f"VOILUTSequence item {number}"
        try:
            table = read_table(item, levels.signed, where)
        except ValueError as error:
            elements.note(f"{error}; it was left out.")
            continue
        values = table(levels.values)
        ends = table.first, table.first + len(table.entries) - 1
        if _hides(levels.values, values, ends, counts, where, elements):
            continue
        if len(items) > 1:
            elements.note(f"The file has {len(items)} value-of-interest tables; number {number} was used.")
        if windows:
            elements.note("The file has a value-of-interest table and a window; the table was used.")
        return Levels(values, 0, (1 << table.bits) - 1, table.bits, False)
    for number, (centre, width) in enumerate(windows, 1):
        where = f"The file's window {centre:g}/{width:g}"
        if shown := _window(levels, centre, width, elements, counts, where):
            if len(windows) > 1:
                elements.note(f"The file has {len(windows)} windows; number {number} was used.")
            return shown
    if items or windows:
        elements.note(
            "No window or value-of-interest table of the file could be used; its values were used as they are."
        )
    return levels


def _windows(elements: Elements) -> list[tuple[float, float]]:
    centres, widths = elements.numbers("WindowCenter"), elements.numbers("WindowWidth")
    if len(centres) != len(widths):
        elements.note(f"The file has {len(centres)} window centres and {len(widths)} widths; only pairs were used.")
    pairs = zip(centres, widths, strict=False)
    return [(centre, width) for centre, width in pairs if math.isfinite(centre) and math.isfinite(width)]


def _window(
    levels: Levels, centre: float, width: float, elements: Elements, counts: np.ndarray, where: str
) -> Levels | None:
    """PS3.3 C.11.2.1.2 and C.11.2.1.3: 0 to 1, or None where the window cannot be used (noted)."""
    function = elements.text("VOILUTFunction") or "LINEAR"
    if function not in ("LINEAR", "LINEAR_EXACT", "SIGMOID"):
        elements.note("VOILUTFunction has a value that is not known; LINEAR was taken.")
        function = "LINEAR"
    if width < 1 if function == "LINEAR" else width <= 0:
        elements.note(f"{where} has a width that is not allowed; it was not used.")
        return None
    x = levels.values
    if function == "SIGMOID":
        shown = 1 / (1 + np.exp(np.clip(-4 * (x - centre) / width, -700, 700)))
        ends = centre - width, centre + width  # where 2 and 98 % are reached
    else:
        less = 1 if function == "LINEAR" else 0
        ends = centre - less / 2 - (width - less) / 2, centre - less / 2 + (width - less) / 2
        shown = np.clip((x - ends[0]) / max(ends[1] - ends[0], 1e-12), 0, 1)
    if _hides(x, shown, ends, counts, where, elements):
        return None
    return Levels(shown, 0, 1, 0, False)


def _hides(
    values: np.ndarray, shown: np.ndarray, ends: tuple[float, float], counts: np.ndarray, where: str, elements: Elements
) -> bool:
    """Whether a window or table hides nearly everything, which is noted with the share that it hides.

    It does where it leaves less than 1 - `HIDDEN_SHARE` of the film's grey range, or where more than `HIDDEN_SHARE` of
    the pixels become its black, or its white, though their values differ.
    """
    low, high = percentiles(values, counts, BLIND_TAIL)
    kept = max(min(ends[1], high) - max(ends[0], low), 0) / max(high - low, 1e-300)
    if low < high and 1 - kept > HIDDEN_SHARE:
        elements.note(f"{where} hides {100 * (1 - kept):.1f} % of the film's grey range; it was not used.")
        return True
    black, white = shown == shown[counts > 0].min(), shown == shown[counts > 0].max()
    share = max(_clipped(values, counts, black), _clipped(values, counts, white))
    if share > HIDDEN_SHARE:
        elements.note(f"{where} hides {100 * share:.1f} % of the pixels; it was not used.")
        return True
    return False


def _clipped(values: np.ndarray, counts: np.ndarray, same: np.ndarray) -> float:
    """Share of the pixels among those shown the `same` whose values are not the most frequent one of them."""
    return _share(counts, same) - counts[same].max(initial=0) / max(counts.sum(), 1)


def _share(counts: np.ndarray, chosen: np.ndarray) -> float:
    return float(counts[chosen].sum() / max(counts.sum(), 1))


def _presentation(levels: Levels, photometric: str, elements: Elements) -> tuple[Levels, bool]:
    """Applies a presentation table, or tells whether low values are the bright ones."""
    turned = photometric == "MONOCHROME1"
    shape = elements.text("PresentationLUTShape")
    if items := list(elements.items("PresentationLUTSequence")):
        # C.11.6.1.1: the table spans the whole range of its input and gives P-values, of which high ones are bright.
        table = read_table(items[0], False, "PresentationLUTSequence")
        scaled = (levels.values - levels.low) / (levels.high - levels.low) * (len(table.entries) - 1) + table.first
        if shape or turned:
            elements.note(
                "The file has a presentation table and a presentation shape or MONOCHROME1; the table was used alone."
            )
        return Levels(table(scaled), 0, (1 << table.bits) - 1, table.bits, False), False
    if shape not in ("", "IDENTITY", "INVERSE"):
        elements.note("PresentationLUTShape has a value that is not known; it was left out.")
    elif shape and (shape == "INVERSE") != turned:
        elements.note(f"PresentationLUTShape {shape} contradicts {photometric}; low values were taken as bright.")
        turned = True
    return levels, turned


def _note_white(levels: Levels, turned: bool, counts: np.ndarray, elements: Elements) -> None:
    seen = levels.values[counts > 0]
    share = _share(counts, levels.values == (seen.min() if turned else seen.max()))
    if share > WHITE_SHARE:
        elements.note(f"The file's window makes {100 * share:.0f} % of the pixels white; check the overlay.")
