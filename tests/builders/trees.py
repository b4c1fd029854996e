"""Small releases of synthetic radiographs, and the comparison of what went in with what came out."""

import dataclasses
import functools
import json
import pathlib

import numpy as np

from ramjax import phantom
from ramjax.data import source
from ramjax.io import release_tree
from ramjax.record import Record


@functools.cache
def hands() -> tuple[Record, ...]:
    """Very small hands of eight patients, some with a follow-up: more patients than centres."""
    config = phantom.PhantomConfig(patients=8, scale=0.12, seed=3, follow_up_fraction=0.3)
    return tuple(phantom.render(config, case).record for case in phantom.cases(config))


@functools.cache
def wrists() -> tuple[Record, ...]:
    """Small wrists of eight patients, as RAM-W600 names them."""
    config = phantom.PhantomConfig(patients=8, scale=0.2, seed=4, framing="wrist")
    return tuple(release_tree.as_w600([phantom.render(config, case).record for case in phantom.cases(config)]))


def split(records) -> dict[str, list[Record]]:
    """The records by split and patient: the first five patients train, one validates, the others test."""
    patients = list(dict.fromkeys(record.patient for record in records))
    where = {p: "train" if i < 5 else "validation" if i < 6 else "test" for i, p in enumerate(patients)}
    return {name: [r for r in records if where[r.patient] == name] for name in ("train", "validation", "test")}


def without(record: Record, *levels: str) -> Record:
    """The record with some levels (``bones``, ``erosions``, ``be``, ``jsn``) not annotated."""
    changes: dict = {f"has_{level}": False for level in levels}
    if "bones" in levels:
        changes |= {"bones": np.zeros_like(record.bones), "bones_known": np.zeros_like(record.bones_known)}
    if "erosions" in levels:
        changes["erosions"] = np.zeros_like(record.erosions)
    for scale in {"be", "jsn"} & set(levels):
        joints = changes.get("joints", record.joints)
        changes["joints"] = tuple(dataclasses.replace(joint, **{scale: -1}) for joint in joints)
    return dataclasses.replace(record, **changes)


def prepare(dataset: str, tree: pathlib.Path, data_dir: pathlib.Path) -> dict:
    """Prepares a release and returns the report."""
    builder = source.prepare(dataset, str(data_dir), tree)
    return json.loads((pathlib.Path(builder.data_path) / "metadata.json").read_text())


def read(dataset: str, data_dir: pathlib.Path, name: str) -> dict[str, Record]:
    """The prepared records of a split by id."""
    return {record.id: record for record in source.open_source(dataset, str(data_dir), name)}


def assert_same(found: Record, expected: Record) -> None:
    """All that a record says is equal: to the pixel and the score, in single precision where that is stored."""
    for field in dataclasses.fields(Record):
        one, other = getattr(found, field.name), getattr(expected, field.name)
        name = f"{field.name} of {expected.id}"
        if field.name == "joints":
            assert {j.site: (j.be, j.jsn) for j in one} == {j.site: (j.be, j.jsn) for j in other}, name
            boxes = [np.array([j.bbox for j in sorted(js, key=lambda j: j.site)]) for js in (one, other)]
            np.testing.assert_allclose(*boxes, atol=1e-6, err_msg=name)
        elif isinstance(other, np.ndarray):
            np.testing.assert_array_equal(one, other, err_msg=name)
        elif isinstance(other, float):
            np.testing.assert_allclose(one, other, rtol=1e-6, err_msg=name)
        else:
            assert one == other, name
