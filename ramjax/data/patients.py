"""Which radiographs are of one patient: parts of a split that keep them together, and the two hands of a visit."""

import hashlib
from collections.abc import Iterable, Sequence

from ramjax.data.source import Source


def patient_keys(source: Source) -> list[str]:
    """The patient of each record; an unknown one is a patient of its own. No image is decoded."""
    return [patient_key(source.examples[index]["patient"], index) for index in range(len(source))]


def patient_key(name: bytes | str, index: int) -> str:
    """The key of a patient, from what a record says and its position."""
    return _text(name) or f"unknown {index}"


def _text(value: bytes | str) -> str:
    return value.decode() if isinstance(value, bytes) else value


def other_hands(source: Source) -> tuple[int | None, ...]:
    """The radiograph of the patient's other hand at the same visit, for each record; None where there is none.

    It is the nearest one in the order of the records. Of a record whose patient or side is unknown there is none. No
    image is decoded.
    """
    texts = [
        tuple(_text(source.examples[index][key]) for key in ("patient", "visit", "side"))
        for index in range(len(source))
    ]
    places: dict[tuple[str, ...], list[int]] = {}
    for index, of in enumerate(texts):
        places.setdefault(of, []).append(index)

    def other(index: int) -> int | None:
        patient, visit, side = texts[index]
        candidates = places.get((patient, visit, {"L": "R", "R": "L"}.get(side, "")), []) if patient and side else []
        return min(candidates, key=lambda candidate: abs(candidate - index), default=None)

    return tuple(map(other, range(len(texts))))


def choose_fraction(patients: Sequence[str], fraction: float) -> list[int]:
    """The indices of the radiographs of a share of the patients, at least one.

    Patients are ordered by a hash of their key. So the choice is the same each time, does not depend on the order of
    the data set, and a smaller share is part of a larger one.

    Args:
      patients: the patient of each index.
      fraction: above 0, to 1.
    """
    order = sorted(set(patients), key=lambda name: hashlib.sha256(name.encode()).digest())
    chosen = set(order[: max(1, round(fraction * len(order)))])
    return [index for index, patient in enumerate(patients) if patient in chosen]


def slices(places: Iterable[tuple[str, int]]) -> str:
    """TFDS's notation for records, each given by split and position: ``train[0:2]+train[5:6]``."""
    runs: list[tuple[str, int, int]] = []
    for split, index in sorted(places):
        if runs and (runs[-1][0], runs[-1][2]) == (split, index):
            runs[-1] = (split, runs[-1][1], index + 1)
        else:
            runs.append((split, index, index + 1))
    return "+".join(f"{split}[{first}:{end}]" for split, first, end in runs)
