"""Cross-validation: divides the training split into folds; the radiographs of a patient stay together."""

import functools
from collections.abc import Iterable, Sequence

import numpy as np

from ramjax.config import DataConfig
from ramjax.data.patients import patient_keys, slices
from ramjax.data.source import open_source


@functools.cache  # a sweep asks again for every combination
def fold_splits(data: DataConfig, folds: int) -> tuple[tuple[str, str], ...]:
    """Returns the (train, test) splits of each fold: fold k is tested on the k-th part of `data.train_split`.

    The validation split still chooses the checkpoint, and the test split is not touched. The parts differ by at most
    the radiographs of one patient, and are the same each time.

    Raises:
      ValueError: there are several data sets, the training split is a slice or is also the validation split, or it has
        fewer patients than folds.
    """
    if folds < 2:
        raise ValueError(f"folds is {folds}; use 2 or more.")
    if len(data.datasets) != 1:
        raise ValueError(f"Folds are of one data set; data.datasets names {', '.join(data.datasets)}.")
    if not data.train_split.isidentifier():
        raise ValueError(f"data.train_split is {data.train_split!r}; folds divide a whole split, such as train.")
    if data.validation_split.partition("[")[0] == data.train_split:
        raise ValueError(
            f"data.validation_split is {data.validation_split!r}, of which folds would train; name another split."
        )
    source = open_source(data.datasets[0], data.data_dir, data.train_split)
    parts = divide(patient_keys(source), folds)
    return tuple(
        (_slices(data.train_split, (index for other in parts if other is not part for index in other)),
         _slices(data.train_split, part))
        for part in parts
    )  # fmt: skip


def divide(patients: Sequence[str], folds: int) -> list[list[int]]:
    """Divides indices among folds of similar size; all indices of a patient go into the same fold.

    Patients with many radiographs are placed first, each in the smallest fold. Patients with equally many are placed in
    an order that is drawn with a fixed seed, so that an order in the data set (by centre, by date) does not influence
    the folds.

    Args:
      patients: the patient of each index.
      folds: how many, at most as many as there are patients; ValueError otherwise.
    """
    indices: dict[str, list[int]] = {}
    for index, patient in enumerate(patients):
        indices.setdefault(patient, []).append(index)
    if len(indices) < folds:
        raise ValueError(f"{len(indices)} patients cannot be divided among {folds} folds; use fewer folds.")
    order = np.random.default_rng(0).permutation(sorted(indices))
    parts: list[list[int]] = [[] for _ in range(folds)]
    for patient in sorted(order, key=lambda name: -len(indices[name])):
        min(parts, key=len).extend(indices[patient])
    return [sorted(part) for part in parts]


def _slices(split: str, indices: Iterable[int]) -> str:
    return slices((split, index) for index in indices)
