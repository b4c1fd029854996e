"""Makes the examples of a split from a builder's records: on all cores, with a progress bar, counted in the report."""

import dataclasses
import os
from collections.abc import Callable, Iterator
from typing import Any, Generic, TypeVar

import tensorflow_datasets as tfds
from tqdm import tqdm

from ramjax.data import features, parallel
from ramjax.data.report import Counts, Finding, Made, Report, count_record

T = TypeVar("T")


@dataclasses.dataclass(frozen=True)
class _Encoded:
    """A record ready to be written, and all that the report needs of it; no example of one that is left out."""

    key: str
    example: dict[str, Any] | None
    patient: str
    counts: Counts
    findings: tuple[Finding, ...]


@dataclasses.dataclass(frozen=True)
class _Encode(Generic[T]):
    """Makes and encodes one record; picklable, for worker processes."""

    make: Callable[[T], Made]

    def __call__(self, item: T) -> _Encoded:
        made = self.make(item)
        if made.record is None:
            return _Encoded("", None, "", made.counts, made.findings)
        counts = count_record(made.record) + made.counts
        return _Encoded(made.record.id, features.encode(made.record), made.record.patient, counts, made.findings)


def dataset_info(builder: tfds.core.DatasetBuilder, homepage: str) -> tfds.core.DatasetInfo:
    """What a builder's ``_info`` returns: the features of every data set, and metadata that `examples` fills."""
    return builder.dataset_info_from_configs(
        features=features.features(), homepage=homepage, metadata=tfds.core.MetadataDict()
    )


def examples(
    builder: tfds.core.DatasetBuilder,
    make: Callable[[T], Made],
    items: list[T],
    *,
    report: Report,
    split: str,
    name: Callable[[T], object] | None = None,
) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yields the (key, example) pairs of a split as TFDS takes them; the report becomes the builder's metadata.

    Args:
      builder: whose split it is, with the info of `dataset_info`.
      make: a picklable function of an item.
      items: picklable, made in this order; TFDS stores the examples in an order of its own.
      report: counts the records.
      split: name of the split.
      name: what messages call an item, such as the file of its image; by default its number.
    """
    title = f"Preparing {os.path.dirname(builder.info.full_name)} {split}"
    made = parallel.in_order(_Encode(make), items, name=name)
    for encoded in tqdm(made, desc=title, total=len(items), unit="image", mininterval=1):
        report.add(split, encoded.counts, encoded.patient, encoded.findings)
        if encoded.example is not None:
            yield encoded.key, encoded.example
    builder.info.metadata.clear()
    builder.info.metadata.update(report.to_json())
