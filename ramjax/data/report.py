"""What preparing a data set found: the counts of each split beside the published ones, and defects.

The report lies beside the data as metadata.json, nested dicts of numbers and names:

| key | content |
|---|---|
| dataset, note | name, config and version; what the data may be used for |
| splits | by split: `patients`, and the counts of `count_record` and of the builder by group |
| published | by split: the published counts, in the groups and names of `splits` |
| categories | by split and file: the category names found |
| amiss | by split and finding: `count` and the first few `examples` |
| patients_in_several_splits | keys of these patients |
| release | what was read, such as the pinned revision |
"""

import collections
import dataclasses
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from ramjax import anatomy
from ramjax.io.findings import Finding
from ramjax.printable import printable
from ramjax.record import LABEL_FLAGS, Record

EXAMPLES = 5
"""Findings of a kind that are named; the others are only counted."""

LONGEST = 300
"""Letters of a finding or a category that are kept; somebody's file may have names of any length."""

UNASSIGNED = "unassigned"
"""The split of radiographs that a release assigns to none: nothing to train on or to be judged by came with them."""

_GROUPS = (
    "records", "records with", "rheumatoid arthritis", "center", "side", "sex", "age", "view", "pixel spacing",
    "be score", "jsn score", "boxes", "joints", "bones", "erosions",
)  # fmt: skip
_NAMES = (*LABEL_FLAGS, *anatomy.BONES, *anatomy.EROSION_LABELS, *anatomy.SITE_NAMES)
"""The order of the table; what is not here follows by the alphabet."""

Counts = collections.Counter
"""Numbers by (group, name)."""


@dataclasses.dataclass(frozen=True)
class Made:
    """A record as a builder made it, with the builder's own counts and findings; None where it had to be left out."""

    record: Record | None
    counts: Counts = dataclasses.field(default_factory=collections.Counter)
    findings: tuple[Finding, ...] = ()


class Report:
    """Grows while the splits are written; `to_json` at any time.

    Args:
      dataset: full name.
      note: what the data may be used for.
      published: by split, the published counts by (group, name).
      release: what was read.
    """

    def __init__(
        self,
        dataset: str,
        note: str,
        published: Mapping[str, Mapping[tuple[str, str], int]] | None = None,
        release: Mapping[str, str] | None = None,
    ):
        self._about = {"dataset": dataset, "note": note, "release": dict(release or {})}
        self._published = published or {}
        self._counts: dict[str, Counts] = collections.defaultdict(collections.Counter)
        self._patients: dict[str, set[str]] = collections.defaultdict(set)
        self._findings: dict[str, dict[str, list[str]]] = collections.defaultdict(dict)
        self._categories: dict[str, dict[str, list[str]]] = collections.defaultdict(dict)

    def add(self, split: str, counts: Counts, patient: str, findings: Iterable[Finding] = ()) -> None:
        """Counts a record."""
        self._counts[split].update(counts)
        self._patients[split].add(patient)
        self.find(split, findings)

    def find(self, split: str, findings: Iterable[Finding]) -> None:
        """Notes a defect of a split that belongs to none of its records."""
        for finding in findings:
            self._findings[split].setdefault(_shortened(finding.what), []).append(_shortened(finding.where))

    def categories(self, split: str, file: str, names: Iterable[str]) -> None:
        """Notes the category names of a file."""
        self._categories[split][file] = [_shortened(name) for name in names]

    def to_json(self) -> dict[str, Any]:
        """The content of metadata.json."""
        splits = {}
        for split in list(self._counts):
            groups: dict[str, dict[str, int]] = {}
            for (group, name), number in sorted(self._counts[split].items(), key=lambda item: _order(item[0])):
                groups.setdefault(group, {})[name] = int(number)
            known = self._patients[split] - {""}
            splits[split] = {"patients": len(known), **groups}
        seen = collections.Counter(
            patient for split, there in self._patients.items() if split != UNASSIGNED for patient in there - {""}
        )
        return {
            **self._about,
            "splits": splits,
            "published": {split: _nested(counts) for split, counts in self._published.items()},
            "categories": {split: dict(files) for split, files in self._categories.items()},
            "amiss": {
                split: {
                    what: {"count": len(where), "examples": where[:EXAMPLES]} for what, where in sorted(found.items())
                }
                for split, found in self._findings.items()
            },
            "patients_in_several_splits": sorted(patient for patient, number in seen.items() if number > 1),
        }


def count_record(record: Record) -> Counts:
    """Returns what a record adds to the counts of its split: levels, bones, lesions, sites, scores, traits."""
    counts: Counts = collections.Counter({("records", "images"): 1})
    for flag in LABEL_FLAGS:
        counts["records with", flag.removeprefix("has_")] += bool(getattr(record, flag))
    if record.has_bones:
        words = np.ascontiguousarray(record.bones).view("<u4")
        present = int(np.bitwise_or.reduce(words, axis=None))
        for channel, name in enumerate(anatomy.BONES):
            counts["bones", name] += bool(record.bones_known[channel] and present >> channel & 1)
    if record.has_erosions:
        pixels = np.bincount(record.erosions.ravel(), minlength=anatomy.NUM_EROSION_LABELS)
        for label, name in enumerate(anatomy.EROSION_LABELS[1:], 1):
            counts["erosions", name] += bool(pixels[label])
    for joint in record.joints:
        counts["joints", joint.site] += 1
        for scale in ("be", "jsn"):
            if getattr(record, f"has_{scale}") and getattr(joint, scale) >= 0:
                counts[f"{scale} score", str(getattr(joint, scale))] += 1
    for trait in ("center", "side", "sex", "view"):
        counts[trait, getattr(record, trait) or "unknown"] += 1
    counts["rheumatoid arthritis", {1: "yes", 0: "no"}.get(record.is_ra, "unknown")] += 1
    counts["pixel spacing", "known" if np.isfinite(record.pixel_spacing_mm) else "unknown"] += 1
    counts["age", "known" if np.isfinite(record.age) else "unknown"] += 1
    return counts


def to_table(report: Mapping[str, Any]) -> str:
    """The report as text: the counts of each split with the published ones in brackets, categories, and defects."""
    splits = list(report["splits"])
    rows = [["", *splits], ["patients", *(str(report["splits"][split]["patients"]) for split in splits)]]
    keys = {
        (group, name)
        for counts in (*report["splits"].values(), *report["published"].values())
        for group, names in counts.items()
        if group != "patients"
        for name in names
    }
    group = None
    for key in sorted(keys, key=_order):
        if key[0] != group:
            group = key[0]
            rows.append([group, *[""] * len(splits)])
        rows.append([f"  {key[1]}", *(_cell(report, split, *key) for split in splits)])
    first, *others = (max(map(len, cells)) for cells in zip(*rows, strict=True))
    lines = [
        row[0].ljust(first) + "".join(f"  {cell:>{width}}" for cell, width in zip(row[1:], others, strict=True))
        for row in rows
    ]
    about = [f"{name}: {value}" for name, value in report["release"].items()]
    title = "  ".join([f"Data set {report['dataset']}", *about])
    return "\n".join([title, *(line.rstrip() for line in lines), *_categories(report), *_amiss(report)])


def deviations(report: Mapping[str, Any]) -> list[str]:
    """What differs from the published counts, one sentence each."""
    sentences = []
    for split, groups in report["published"].items():
        for group, names in groups.items():
            for name, expected in names.items():
                found = report["splits"].get(split, {}).get(group, {}).get(name, 0)
                if found != expected:
                    sentences.append(f"{split}: {found} {group} {name}, published are {expected}.")
    return sentences


def _categories(report: Mapping[str, Any]) -> list[str]:
    """A line for each file and each set of names in it, with the splits that have it."""
    splits: dict[tuple[str, str], list[str]] = {}
    for split, found in report["categories"].items():
        for file, names in found.items():
            splits.setdefault((file, ", ".join(names)), []).append(split)
    lines = [f"  {file} ({', '.join(where)}): {names}" for (file, names), where in splits.items()]
    return ["categories", *lines] if lines else []


def findings(report: Mapping[str, Any]) -> int:
    """How many kinds of defects there are: findings by split, patients in several splits, deviations."""
    several = bool(report["patients_in_several_splits"])
    return sum(map(len, report["amiss"].values())) + several + len(deviations(report))


def _amiss(report: Mapping[str, Any]) -> list[str]:
    lines = []
    for split, found in report["amiss"].items():
        for what, entry in found.items():
            more = ", ..." if entry["count"] > len(entry["examples"]) else ""
            lines.append(f"  {split}: {entry['count']} {what}: {', '.join(entry['examples'])}{more}")
    patients = report["patients_in_several_splits"]
    if patients:
        lines.append(f"  {len(patients)} patients are in several splits: {', '.join(patients[:EXAMPLES])}")
    lines += [f"  {sentence}" for sentence in deviations(report)]
    return ["Defects", *lines] if lines else ["No defects found."]


def _order(key: tuple[str, str]) -> tuple[int, str, int, str]:
    """Sorts (group, name) for the table."""
    group, name = key
    rank = _NAMES.index(name) if name in _NAMES else len(_NAMES)
    return _GROUPS.index(group) if group in _GROUPS else len(_GROUPS), group, rank, name


def _cell(report: Mapping[str, Any], split: str, group: str, name: str) -> str:
    found = report["splits"][split].get(group, {}).get(name, 0)
    published = report["published"].get(split, {}).get(group, {}).get(name)
    return str(found) if published is None else f"{found} [{published}]"


def _nested(counts: Mapping[tuple[str, str], int]) -> dict[str, dict[str, int]]:
    groups: dict[str, dict[str, int]] = {}
    for (group, name), number in counts.items():
        groups.setdefault(group, {})[name] = number
    return groups


def _shortened(text: str) -> str:
    return printable(text if len(text) <= LONGEST else f"{text[:LONGEST]}...")
