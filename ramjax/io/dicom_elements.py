"""Reads single data elements of a DICOM file: what is empty is absent, what is broken is left out and noted.

Values are decoded here from the bytes of the file, so that no value that pydicom dislikes ends the reading, and none is
quoted in a warning.
"""

import math
import re
import struct
from collections.abc import Iterator

import numpy as np
import pydicom
from pydicom.datadict import dictionary_VR, tag_for_keyword

_BINARY = {"US": "u2", "SS": "i2", "UL": "u4", "SL": "i4", "FL": "f4", "FD": "f8", "US or SS": "u2"}
_TEXT = ("DS", "IS", "CS", "UI", "LO", "SH", "ST", "LT", "UC", "UT")
_EMPTY_ITEMS = (("HHI", 0xFFFE, 0xE000, 0), ("HHIHHI", 0xFFFE, 0xE000, 0xFFFFFFFF, 0xFFFE, 0xE00D, 0))  # PS3.5 7.5
_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?", re.ASCII)


class Elements:
    """The data elements of a data set, or of an item of a sequence, by keyword.

    Attributes:
      notes: what was left out or taken otherwise, one sentence each; items share the list of their data set.
      byte_order: ``<`` or ``>``, as the file was parsed.
    """

    def __init__(self, dataset: pydicom.Dataset, byte_order: str, notes: list[str]):
        self._dataset, self.byte_order, self.notes = dataset, byte_order, notes

    def raw(self, keyword: str) -> tuple[str, bytes]:
        """The value representation and the bytes of an element; ('', b'') where it is absent, empty or no bytes."""
        element, tag = self._element(keyword), tag_for_keyword(keyword)
        if element is None:
            return "", b""
        vr = str(element.VR or "UN")
        vr = dictionary_VR(tag) if vr == "UN" else vr
        return (vr, element.value) if isinstance(element.value, bytes) and element.value else ("", b"")

    def _element(self, keyword: str) -> pydicom.DataElement | pydicom.dataelem.RawDataElement | None:
        tag = tag_for_keyword(keyword)
        try:
            return self._dataset.get_item(tag) if tag in self._dataset else None
        except Exception:  # of an unknown kind, and damaged: it is there, and is neither number nor picture
            return pydicom.DataElement(tag, "UT", b"?", already_converted=True)

    def has(self, keyword: str) -> bool:
        """Whether an element is there and not empty: a sequence without items, or text of blanks, is."""
        vr, value = self.raw(keyword)
        if value:
            return bool(value.strip(b" \0\\")) if vr in _TEXT else True
        element = self._element(keyword)
        return element is not None and not isinstance(element.value, bytes) and bool(element.value)

    def texts(self, keyword: str) -> list[str]:
        """The values of an element of text, upper case, without the empty ones and without padding."""
        vr, value = self.raw(keyword)
        if vr not in _TEXT:
            return []
        parts = (part.strip(" \0\t\r\n").upper() for part in value.decode("latin-1").split("\\"))
        return [part for part in parts if part]

    def text(self, keyword: str) -> str:
        """The first of `texts`, or ''."""
        return next(iter(self.texts(keyword)), "")

    def numbers(self, keyword: str) -> list[float]:
        """The values of an element of numbers; NaN for one that is empty or no finite number (noted); [] if absent."""
        if not self.has(keyword):
            return []
        vr, value = self.raw(keyword)
        vr = vr if vr in _BINARY or vr in _TEXT else dictionary_VR(tag_for_keyword(keyword))
        if vr in _BINARY:
            kind = np.dtype(self.byte_order + _BINARY[vr])
            numbers = np.frombuffer(value[: len(value) // kind.itemsize * kind.itemsize], kind).astype(float).tolist()
        else:
            numbers = [_number(part.strip(" \0\t\r\n")) for part in value.decode("latin-1").split("\\")]
        if not numbers or not all(math.isfinite(number) for number in numbers):
            self.note(f"{keyword} is no number, or not all of it is, and was left out.")
        return [number if math.isfinite(number) else math.nan for number in numbers]

    def number(self, keyword: str) -> float | None:
        """The first of `numbers`; None where it is absent, empty or broken (noted)."""
        numbers = self.numbers(keyword)
        return numbers[0] if numbers and math.isfinite(numbers[0]) else None

    def whole(self, keyword: str) -> int | None:
        """`number` where it is a whole one; else None."""
        number = self.number(keyword)
        return int(number) if number is not None and number == int(number) else None

    def items(self, keyword: str) -> Iterator["Elements"]:
        """The items of a sequence that are not empty.

        Raises:
          ValueError: what is there is no sequence that can be read.
        """
        tag = tag_for_keyword(keyword)
        if not self.has(keyword):
            return
        _, value = self.raw(keyword)
        try:
            sequence = list(self._dataset[tag].value)
            if not all(isinstance(item, pydicom.Dataset) for item in sequence):
                raise TypeError
            for nothing in _EMPTY_ITEMS:
                value = value.replace(struct.pack(self.byte_order + nothing[0], *nothing[1:]), b"")
            if value and not any(map(len, sequence)):
                raise ValueError  # pydicom passes over what it cannot read
        except Exception as error:  # pydicom raises nearly anything on damaged bytes.
            raise ValueError(f"{keyword} is no sequence that can be read") from error
        yield from (Elements(item, self.byte_order, self.notes) for item in sequence if len(item))

    def note(self, sentence: str) -> None:
        """Notes a sentence once."""
        if sentence not in self.notes:
            self.notes.append(sentence)


def _number(text: str) -> float:
    """A number in digits, with a decimal point or a decimal comma; else NaN."""
    text = text.replace(",", ".")
    return float(text) if _NUMBER.fullmatch(text) else math.nan
