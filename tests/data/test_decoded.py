import collections
import contextlib
import dataclasses
import errno
import io
import logging
import pathlib
import shutil
import subprocess
import sys

import grain
import handmade
import numpy as np
import pytest
import tensorflow_datasets as tfds

from ramjax import files
from ramjax.data import decoded, features, pipeline, source
from ramjax.data.decoded import keep_decoded
from ramjax.data.intact import DatasetError
from ramjax.record import Record
from tfds_builders.ram_phantom import ram_phantom_dataset_builder as ram_phantom

ROOT = pathlib.Path(__file__).parents[2]


def open_split(data_dir, split):
    return source.open_source("ram_phantom/tiny", str(data_dir), split)


@pytest.fixture
def cache(tmp_path):
    return tmp_path / "cache"


@pytest.fixture
def train(data_dir):
    return open_split(data_dir, "train")


def file_of(cache, split="train"):
    (path,) = cache.glob(f"ram_phantom/tiny/*/{split}")
    return path


def assert_same(one: Record, other: Record) -> None:
    """Every value has the same type and the same bits."""
    for field in dataclasses.fields(Record):
        a, b = getattr(one, field.name), getattr(other, field.name)
        assert type(a) is type(b), field.name
        if isinstance(a, np.ndarray):
            assert a.dtype == b.dtype and a.shape == b.shape and a.tobytes() == b.tobytes(), field.name
        else:
            assert repr(a) == repr(b), field.name  # repr tells NaN, and every bit of a float


def assert_all_same(kept, plain) -> None:
    assert isinstance(kept, decoded.DecodedSource) and len(kept) == len(plain)
    for one, other in zip(kept, plain, strict=True):
        assert_same(one, other)


@pytest.fixture
def no_decoding(monkeypatch):
    """Called, it makes decoding an error."""

    def refuse(example):
        raise AssertionError("A record is decoded.")

    return lambda: monkeypatch.setattr(features, "decode", refuse)


@pytest.mark.parametrize(
    "split", ["train", "train[:2]", "train[1:3]", "train[-1:]", "train[50%:]", "test[1:]+train[2:]+train[:1]"]
)
def test_records_are_those_of_the_source_to_the_last_bit(data_dir, cache, no_decoding, split):
    plain = open_split(data_dir, split)
    expected = list(plain)
    kept = keep_decoded(plain, str(cache))
    no_decoding()
    assert_all_same(kept, expected)
    with pytest.raises(IndexError, match=f"Record {len(plain)} of ram_phantom"):
        kept[len(plain)]
    with pytest.raises(IndexError):
        kept[-1]


def test_a_data_set_in_several_shards_keeps_its_order(tmp_path):
    builder = ram_phantom.Builder(config="tiny", data_dir=tmp_path, file_format=source.FILE_FORMAT)
    builder.download_and_prepare(download_config=tfds.download.DownloadConfig(num_shards=2))
    assert builder.info.splits["train"].num_shards == 2
    for split in ("train", "train[1:]", "train[:3]+test"):
        plain = open_split(tmp_path, split)
        assert_all_same(keep_decoded(plain), list(plain))
    assert (pathlib.Path(builder.data_path) / "decoded" / "train").exists()
    assert len(open_split(tmp_path, "train")) == 4  # TFDS still reads the data set that they lie in


def unusual_records():
    yield handmade.make_record(seed=1, age=51.3, is_ra=1, sex="F", visit="V1", center="Zürich")
    yield handmade.make_record(seed=2, height=77, width=133, joints=(), has_joints=False, pixel_spacing_mm=float("nan"))
    yield handmade.make_wrist_record()
    yield Record.unlabelled(np.full((1, 1), 7, np.uint8))


def test_every_kind_of_value_is_kept(tmp_path):
    expected = list(handmade.source_of(unusual_records(), "unusual"))
    path = tmp_path / "file"
    kept = decoded.Kept(path, '{"of": "this"}')
    decoded._make(kept, handmade.source_of(unusual_records(), "unusual"))
    mapped = decoded._map(kept)
    for position, record in enumerate(expected):
        assert_same(mapped.record(position), record)
        assert not mapped.record(position).image.flags.writeable


@pytest.mark.parametrize("workers", [0, 1])
def test_batches_and_fingerprint_are_the_same(data_dir, cache, workers, no_decoding):
    plain = handmade.make_data(data_dir=str(data_dir), canvas=handmade.make_canvas(96, 64), workers=workers)
    kept = dataclasses.replace(plain, cache="host", cache_dir=str(cache))
    expected_sources = pipeline.open_sources(plain, "train")
    sources = pipeline.open_sources(kept, "train")
    assert pipeline.fingerprint(kept, sources) == pipeline.fingerprint(plain, expected_sources)

    def batches(data, sources):
        made = pipeline.make_train_batches(data, sources, seed=3, start_step=1, steps=4, labels=handmade.LABELS)
        return [*made, *pipeline.make_eval_batches(data, sources[0], labels=handmade.LABELS)]

    expected = batches(dataclasses.replace(plain, workers=0), expected_sources)
    no_decoding()  # in this process, where evaluation reads; workers are new ones
    for one, other in zip(batches(kept, sources), expected, strict=True):
        handmade.assert_equal(one, other)


def test_evaluation_reads_them_by_threads(data_dir, cache, monkeypatch):
    """Worker processes, which start anew for each evaluation, take longer to start than the reading takes."""

    def refuse(*args, **settings):
        raise AssertionError("Worker processes start.")

    monkeypatch.setattr(grain, "MultiprocessingOptions", refuse)
    data = handmade.make_data(data_dir=str(data_dir), canvas=handmade.make_canvas(96, 64), workers=2)
    with pytest.raises(AssertionError):
        list(pipeline.make_eval_batches(data, pipeline.open_sources(data, "train")[0], labels=()))
    data = dataclasses.replace(data, cache="host", cache_dir=str(cache))
    (batch,) = pipeline.make_eval_batches(data, pipeline.open_sources(data, "train")[0], labels=())
    assert batch["valid"].sum() == 4


def test_a_run_that_starts_again_decodes_nothing(train, cache, no_decoding):
    expected = list(train)
    keep_decoded(train, str(cache))
    before = file_of(cache).stat()
    no_decoding()
    assert_all_same(keep_decoded(train, str(cache)), expected)
    assert file_of(cache).stat().st_mtime_ns == before.st_mtime_ns


def damage(path: pathlib.Path, how: str) -> None:
    content = bytearray(path.read_bytes())
    changed = {
        "empty": b"",
        "a few bytes": content[:20],
        "its end is missing": content[: len(content) // 2],
        "its beginning is missing": content[len(content) // 3 :],
        "more at its end": content + b"more",
        "of another kind": b"x" * len(content),
    }
    if how == "another index":
        content[content.rindex(b'"R"')] ^= 1  # within the values of a record
    path.write_bytes(changed.get(how, content))


@pytest.mark.parametrize(
    "how",
    ["empty", "a few bytes", "its end is missing", "its beginning is missing", "more at its end", "of another kind",
     "another index"],
)  # fmt: skip
def test_a_damaged_file_is_made_anew(train, cache, how, caplog):
    keep_decoded(train, str(cache))
    whole = file_of(cache).read_bytes()
    file_of(cache).unlink()  # what was mapped above stays as it was
    file_of_damaged = cache / pathlib.Path(train.name.split()[0]) / "train"
    file_of_damaged.write_bytes(whole)
    damage(file_of_damaged, how)
    with caplog.at_level(logging.WARNING):
        assert_all_same(keep_decoded(train, str(cache)), list(train))
    assert file_of(cache).read_bytes() == whole and not caplog.records


def flip_a_bit(path: pathlib.Path, at: int) -> None:
    """As a failing disk does."""
    with path.open("r+b") as file:
        file.seek(at)
        (byte,) = file.read(1)
        file.seek(at)
        file.write(bytes([byte ^ 4]))


@pytest.mark.parametrize("plane", ["image", "bones", "erosions"])
def test_a_damaged_record_is_decoded_and_the_next_run_makes_the_file_anew(train, cache, no_decoding, plane):
    expected, kept = list(train), keep_decoded(train, str(cache))
    path = file_of(cache)
    whole, sizes = path.read_bytes(), [decoded._size(record) for record in expected]
    of_record = sum(sizes[:2])
    offsets = {"image": 0, "bones": sizes[2] // 6, "erosions": sizes[2] - 1}
    flip_a_bit(path, of_record + offsets[plane])
    assert_all_same(kept, expected)
    assert not path.exists()  # what is intact of it is read as before
    decoded._mapped.cache_clear()  # as in another process
    kept = keep_decoded(train, str(cache))
    no_decoding()
    assert path.read_bytes() == whole
    assert_all_same(kept, expected)


def test_what_a_record_has_beside_its_planes_needs_no_look_at_them(train, cache, no_decoding):
    expected, kept = list(train), keep_decoded(train, str(cache))
    flip_a_bit(file_of(cache), 5)
    no_decoding()
    for index, record in enumerate(expected):
        peeked = kept.peek(index)
        assert decoded._values(peeked) == decoded._values(record) and peeked.image.shape == record.image.shape
    assert file_of(cache).exists()


def test_a_file_of_other_data_is_made_anew(train, cache, monkeypatch):
    """Another report of the data set, another version, another way of keeping."""
    keep_decoded(train, str(cache))

    def made_of():
        return decoded._TRAILER.size, file_of(cache).read_bytes().rpartition(b'{"of"')[2][:200]

    seen = [made_of()]
    keep_decoded(dataclasses.replace(train, report="another"), str(cache))
    seen.append(made_of())
    monkeypatch.setattr(decoded, "_FORMAT", decoded._FORMAT + 1)
    keep_decoded(train, str(cache))
    seen.append(made_of())
    assert len(set(seen)) == 3
    version = next(cache.glob("ram_phantom/tiny/*"))
    version.rename(version.with_name("0.0.1"))
    keep_decoded(train, str(cache))
    assert version.exists()  # each version has a folder of its own


def test_a_process_never_reads_a_file_that_was_replaced(train, cache):
    """A worker opens the file when it reads its first record: by then it may be of another release."""
    kept = keep_decoded(train, str(cache))
    keep_decoded(dataclasses.replace(train, report="another"), str(cache))
    assert decoded._map(kept.kept[0]) is None
    assert_all_same(kept, list(train))
    shutil.rmtree(cache)
    assert_all_same(kept, list(train))


KEEP = """
import os, sys
sys.path.insert(0, "tests/data")
from ramjax.data import decoded, features, source
plain = source.open_source("ram_phantom/tiny", {data_dir!r}, "train")
"""


def run(code: str, data_dir) -> subprocess.Popen:
    code = KEEP.format(data_dir=str(data_dir)) + code
    return subprocess.Popen(
        [sys.executable, "-c", code], cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


def test_a_killed_process_leaves_nothing_that_is_used(train, data_dir, cache):
    code = (
        "decode, seen = features.decode, []\n"
        "def die(example):\n"
        "    seen.append(example)\n"
        "    return decode(example) if len(seen) < 4 else os.kill(os.getpid(), 9)\n"
        "features.decode = die\n"
        f"decoded.keep_decoded(plain, {str(cache)!r})"
    )
    with run(code, data_dir) as process:
        _, errors = process.communicate(timeout=60)
    assert process.returncode == -9, errors
    folder = next(cache.glob("ram_phantom/tiny/*"))
    assert not (folder / "train").exists() and list(folder.glob(".train.*.tmp"))
    assert_all_same(keep_decoded(train, str(cache)), list(train))
    assert sorted(path.name for path in folder.iterdir()) == [".lock", "train"]


def test_two_processes_at_once_decode_once(data_dir, train, cache):
    code = f"print(len([r.id for r in decoded.keep_decoded(plain, {str(cache)!r})]))"
    with contextlib.ExitStack() as stack:
        both = [stack.enter_context(run(code, data_dir)) for _ in range(2)]
        outputs = [process.communicate(timeout=60) for process in both]
    assert [out for out, _ in outputs] == ["4\n", "4\n"], outputs
    assert sum("Decoding ram_phantom" in err for _, err in outputs) == 1


def goes_on_without(train, cache, caplog) -> str:
    """Keeps the records where that is impossible; returns the warning."""
    with caplog.at_level(logging.WARNING):
        kept = keep_decoded(train, str(cache))
    assert kept is train
    (record,) = caplog.records
    return record.getMessage()


def test_too_little_room_is_a_warning(train, cache, caplog, monkeypatch):
    monkeypatch.setattr(shutil, "disk_usage", lambda folder: collections.namedtuple("Usage", "free")(10_000))
    message = goes_on_without(train, cache, caplog)
    assert "tiny" in message and "0.00 GB left" in message and message.endswith("another folder in data.cache_dir.")
    assert not list(cache.rglob("train*"))


def test_a_disk_that_becomes_full_is_a_warning(train, cache, caplog, monkeypatch):
    written_whole = files.written_whole

    class Full(io.BytesIO):
        def write(self, content):
            if self.tell() > 200_000:
                raise OSError(errno.ENOSPC, "No space left on device")
            return super().write(content)

    @contextlib.contextmanager
    def on_a_full_disk(path):
        with written_whole(path):
            yield Full()

    monkeypatch.setattr(files, "written_whole", on_a_full_disk)
    assert "became full" in goes_on_without(train, cache, caplog)
    assert [path.name for path in cache.rglob("*") if path.is_file()] == [".lock"]


def test_a_folder_that_cannot_be_written_is_a_warning(train, cache, caplog):
    cache.write_text("in the way")
    message = goes_on_without(train, cache, caplog)
    assert f"{cache}" in message and "not a directory" in message and "data.cache_dir" in message


def test_too_little_address_space_to_map_a_file_is_a_warning_and_keeps_it(train, cache, caplog, monkeypatch):
    keep_decoded(train, str(cache))

    def refuse(*args):
        raise OSError(errno.ENOMEM, "Cannot allocate memory")

    monkeypatch.setattr(np, "memmap", refuse)
    assert "cannot allocate memory" in goes_on_without(train, cache, caplog)
    assert file_of(cache).exists()


def test_a_file_that_is_whole_is_read_where_nothing_can_be_written(train, cache, monkeypatch):
    keep_decoded(train, str(cache))

    def refuse(folder):
        raise OSError(errno.EROFS, "Read-only file system")

    monkeypatch.setattr(decoded, "locked", refuse)
    assert_all_same(keep_decoded(train, str(cache)), list(train))


def test_the_size_is_logged_once(train, cache, caplog):
    with caplog.at_level(logging.INFO):
        keep_decoded(train, str(cache))
        keep_decoded(train, str(cache))
    told = [record.getMessage() for record in caplog.records if "kept decoded" in record.getMessage()]
    size = sum(plane.nbytes for record in train for plane in (record.image, record.bones, record.erosions)) / 1e9
    assert len(told) == 1 and f"({size:.2f} GB)" in told[0] and str(cache) in told[0]


def test_a_damaged_record_ends_in_words_and_leaves_nothing(train, cache, monkeypatch):
    decode, seen = features.decode, []

    def damaged(example):
        seen.append(example)
        return decode(example if len(seen) < 3 else {**example, "image": b"no PNG"})

    monkeypatch.setattr(features, "decode", damaged)
    with pytest.raises(DatasetError, match=r"train.*array_record.* is damaged .* prepare it again"):
        keep_decoded(train, str(cache))
    assert [path.name for path in cache.rglob("*") if path.is_file()] == [".lock"]
