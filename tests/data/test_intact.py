"""Damage to a prepared data set is named with its file and the remedy; no record is silently another one."""

import dataclasses
import json
import pathlib
import pickle
import random
import shutil

import numpy as np
import pytest

from ramjax.data import intact, prepare, source

DATASET = "ram_phantom/tiny"


@pytest.fixture(scope="module")
def whole(data_dir) -> pathlib.Path:
    """The data set as it was prepared."""
    source.open_source(DATASET, str(data_dir), "train")
    (folder,) = (data_dir / DATASET).glob("[0-9]*")
    return folder


@pytest.fixture
def copy(whole, tmp_path) -> pathlib.Path:
    """A copy of the folder of its version, in a data folder with a blank in its name."""
    folder = tmp_path / "my data" / DATASET / whole.name
    shutil.copytree(whole, folder)
    return folder


def open_copy(copy: pathlib.Path, split: str = "validation") -> source.Source:
    return source.open_source(DATASET, str(copy.parents[2]), split)


def content(of: source.Source) -> list[dict]:
    return [dataclasses.asdict(of[index]) for index in range(len(of))]


def assert_named(caught, copy: pathlib.Path, file: str, reason: str = "") -> None:
    said = str(caught.value)
    assert said.startswith(f"{copy / file} is damaged (") and reason in said
    assert said.endswith(
        f"; delete {copy} and prepare it again with python -m ramjax.prepare --dataset={DATASET} "
        f"'--data_dir={copy.parents[2]}'."
    )


def test_a_whole_copy_is_as_the_original(copy, data_dir):
    for here, there in zip(
        content(open_copy(copy)), content(source.open_source(DATASET, str(data_dir), "validation")), strict=True
    ):
        for key, value in there.items():
            np.testing.assert_array_equal(here[key], value)


JSON = ("dataset_info.json", "features.json", "metadata.json", "checksums.json")


@pytest.mark.parametrize("file", JSON)
@pytest.mark.parametrize(
    ("damage", "reason"),
    [
        (lambda text: text[:100], "it is no JSON"),
        (lambda text: b"", "it is empty"),
        (lambda text: bytes(len(text)), "it is no JSON"),
        (lambda text: b"[1]", "it is no JSON object"),
        (lambda text: b"\xff" + text, "utf-8"),
        (lambda text: 5000 * b"[" + 5000 * b"]", ""),
    ],
)
def test_a_damaged_json_is_named(copy, file, damage, reason):
    (copy / file).write_bytes(damage((copy / file).read_bytes()))
    with pytest.raises(intact.DatasetError) as caught:
        open_copy(copy)
    assert_named(caught, copy, file, reason)


@pytest.mark.parametrize("file", JSON[:3])
def test_other_values_in_a_json_are_noticed(copy, file):
    """A digit is another one, and the file is still valid JSON."""
    text = (copy / file).read_text()
    place = next(i for i, character in enumerate(text) if character.isdigit())
    changed = text[:place] + str((int(text[place]) + 1) % 10) + text[place + 1 :]
    json.loads(changed)
    (copy / file).write_text(changed)
    with pytest.raises(intact.DatasetError) as caught:
        open_copy(copy)
    assert_named(caught, copy, file)


def shard_of(copy: pathlib.Path, split: str = "validation") -> pathlib.Path:
    (shard,) = copy.glob(f"*-{split}.array_record-*")
    return shard


@pytest.mark.parametrize("checked", [True, False])
@pytest.mark.parametrize(
    "damage",
    [
        lambda data: data[:600],
        lambda data: data[: len(data) // 2],
        lambda data: data[: 2**16],
        lambda data: b"",
        lambda data: bytes(len(data)),
        lambda data: None,
    ],
)
def test_a_cut_off_empty_or_missing_shard_is_named(copy, checked, damage):
    """With checksums.json and without it, as of an older version."""
    shard = shard_of(copy)
    data = damage(shard.read_bytes())
    shard.write_bytes(data) if data is not None else shard.unlink()
    if not checked:
        (copy / "checksums.json").unlink()
    with pytest.raises(intact.DatasetError) as caught:
        open_copy(copy)
    assert_named(caught, copy, shard.name)


@pytest.mark.parametrize("file", JSON[:3])
def test_a_missing_file_is_named(copy, file):
    (copy / file).unlink()
    with pytest.raises(intact.DatasetError) as caught:
        open_copy(copy)
    assert_named(caught, copy, file, "it is missing")


def test_no_flipped_bit_of_a_shard_gives_another_record(copy):
    shard, good = shard_of(copy), content(open_copy(copy))
    data, draw, noticed = shard.read_bytes(), random.Random(0), 0
    for _ in range(100):
        changed = bytearray(data)
        changed[draw.randrange(len(data))] ^= 1 << draw.randrange(8)
        shard.write_bytes(changed)
        try:
            read = content(open_copy(copy))
        except intact.DatasetError as error:
            noticed += 1
            assert str(shard) in str(error) and f"delete {copy} and prepare it again" in str(error)
            continue
        for here, there in zip(read, good, strict=True):
            for key, value in there.items():
                np.testing.assert_array_equal(here[key], value)
    assert noticed > 10  # the rest is padding


def test_a_record_that_cannot_be_decoded_is_named(copy):
    class Garbage(list):
        pass

    of = open_copy(copy)
    good = of.examples[0]
    for wrong in ({**good, "image": b"no picture"}, {**good, "bones": good["bones"][:200]}, {"image": 3}):
        broken = dataclasses.replace(of, examples=Garbage([wrong]))
        with pytest.raises(intact.DatasetError) as caught:
            broken[0]
        assert_named(caught, copy, shard_of(copy).name, "record 0: ")


def test_the_error_passes_between_processes(copy):
    error = intact.damaged(copy / "a", "it is empty", "delete it")
    assert str(pickle.loads(pickle.dumps(error))) == str(error)


def test_the_shard_of_a_record():
    shards = (("a", 2), ("b", 0), ("c", 3))
    assert [intact.shard_of(shards, index) for index in range(5)] == list("aaccc")
    with pytest.raises(IndexError):
        intact.shard_of(shards, 5)


def test_a_part_of_a_split_knows_its_shards(copy):
    of = open_copy(copy, "train[0:2]+train[3:4]")
    assert sum(count for _, count in of.shards) == len(of) == 3
    assert {path for path, _ in of.shards} == {str(shard_of(copy, "train"))}


def test_an_older_data_set_has_no_checksums_and_is_read(copy):
    (copy / "checksums.json").unlink()
    assert len(open_copy(copy)) == 2


def test_preparing_again_what_is_damaged_says_so(copy):
    shard_of(copy).write_bytes(b"")
    with pytest.raises(intact.DatasetError) as caught:
        prepare.prepare(DATASET, str(copy.parents[2]), None)
    assert_named(caught, copy, shard_of(copy).name)
    shutil.rmtree(copy)
    prepare.prepare(DATASET, str(copy.parents[2]), None)
    assert len(open_copy(copy)) == 2
