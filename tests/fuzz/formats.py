"""The kinds of files that ramjax reads: small valid ones, how they are read, and what tells that one is damaged."""

import collections
import csv
import dataclasses
import functools
import io
import json
import pathlib
import shutil
import tempfile
import types
from collections.abc import Callable
from typing import Any

import numpy as np
import pydicom
import tifffile
from PIL import Image

from ramjax import config as config_lib
from ramjax import files, phantom
from ramjax.data import source
from ramjax.data.report import Report
from ramjax.inference import batch
from ramjax.io import coco, release_tree
from ramjax.io.images import read_radiograph
from ramjax.metrics import points
from ramjax.record import Record
from ramjax.reporting.runs import read_runs
from ramjax.sweep import plan, table
from ramjax.tasks import make_tasks
from ramjax.training.writers.jsonl import JsonLines
from tests.fuzz import telling
from tests.fuzz.mutate import BYTES, DICOM, JSON, PNG, SHEET, TEXT, TIFF, Mutation
from tests.io import dicom_files
from tests.reporting import fakes
from tfds_builders.ram_h1200 import reading as h1200
from tfds_builders.ram_w600 import reading as w600

THREADS = 6 << 30
"""Bytes of address space for a reader with dozens of threads, each of which reserves some, though it uses little."""


Build = Callable[[pathlib.Path], tuple[pathlib.Path, list[bytes]]]
"""Makes valid files in an empty folder; returns where the one that is mutated lies among what else is needed, and the
contents that it may have."""


@dataclasses.dataclass(frozen=True)
class Reading:
    """What a reader returned, and what it said of it: notes, findings, warnings in the log."""

    content: Any
    notes: frozenset[str]


@dataclasses.dataclass(frozen=True)
class Format:
    """A kind of file.

    Attributes:
      name: as the command takes it.
      build: makes the whole files.
      read: reads the file there as the program does.
      damaged: whether a checksum, a length or a decoder's warning tells that the bytes are no whole file; by a check
        that does not use the reader.
      mutations: what is done to it.
      memory: bytes of address space that the process may add to what it has when its modules are imported. A gigabyte
        is room for an image of the most pixels that are read (100 million) in single precision and copies in 8 bits.
      seconds: of work, or ten times as many of waiting, after which a file hangs the program. Whole ones take a
        hundredth of one.
    """

    name: str
    build: Build
    read: Callable[[pathlib.Path], Reading]
    damaged: Callable[[bytes], bool]
    mutations: tuple[Mutation, ...] = BYTES
    memory: int = 1 << 30
    seconds: float = 10.0


# --- radiographs ---


def _picture(seed: int, bits: int = 8) -> np.ndarray:
    """A grey picture (80, 72) with edges, slopes and noise."""
    rng = np.random.default_rng(seed)
    rows, columns = np.mgrid[:80, :72]
    values = (
        0.2 + 0.4 * ((rows - 40) ** 2 + (columns - 36) ** 2 < 900) + 0.3 * columns / 72 + rng.normal(0, 0.01, (80, 72))
    )
    return np.clip(values * (2**bits - 1), 0, 2**bits - 1).astype(np.uint8 if bits == 8 else np.uint16)


def _of_images(name: str, contents: Callable[[], list[bytes]]) -> Build:
    return lambda folder: (folder / name, contents())


def _read_image(path: pathlib.Path) -> Reading:
    radiograph = read_radiograph(path)
    return Reading(dataclasses.replace(radiograph, notes=()), frozenset(radiograph.notes))


def _saved(pixels: np.ndarray, kind: str, mode: str = "", **options) -> bytes:
    image, out = Image.fromarray(pixels), io.BytesIO()
    (image.convert(mode) if mode else image).save(out, kind, **options)
    return out.getvalue()


def _png8() -> list[bytes]:
    return [_saved(_picture(n), "PNG", mode) for n, mode in enumerate(("L", "L", "LA", "RGB", "P"))]


def _png16() -> list[bytes]:
    return [_saved(_picture(n, 12), "PNG") for n in range(2)]


def _bmp() -> list[bytes]:
    return [_saved(_picture(n), "BMP", mode) for n, mode in enumerate(("L", "L", "RGB"))]


def _jpeg() -> list[bytes]:
    plain = [_saved(_picture(n), "JPEG", mode, quality=90) for n, mode in enumerate(("L", "L", "RGB"))]
    return [*plain, _saved(_picture(3), "JPEG", progressive=True), _saved(_picture(4), "JPEG", restart_marker_rows=1)]


def _tiff(compression: str | None = None) -> list[bytes]:
    contents = []
    for n, bits in enumerate((8, 12)):
        out = io.BytesIO()
        tifffile.imwrite(
            out, _picture(n, bits), compression=compression, photometric="minisblack", metadata=None, rowsperstrip=20
        )
        contents.append(out.getvalue())
    return contents


def _dicom(syntax: pydicom.uid.UID | None = None, bits: tuple[int, ...] = (8, 12)) -> list[bytes]:
    contents = []
    for n, depth in enumerate(bits):
        more = {
            "PixelSpacing": [0.15, 0.15],
            "ImageLaterality": "L",
            "BodyPartExamined": "HAND",
            "RescaleSlope": 2,
            "RescaleIntercept": -5,
        }
        more |= {"WindowCenter": 2 ** (depth - 1) * 2, "WindowWidth": 2**depth * 2, "PixelPaddingValue": 0}
        dataset = dicom_files.make(_picture(n, depth), depth, ("MONOCHROME2", "MONOCHROME1")[n % 2], **more)
        dataset.file_meta.MediaStorageSOPInstanceUID = dataset.SOPInstanceUID = f"1.2.3.{n}"
        if syntax == pydicom.uid.RLELossless:
            dataset.compress(syntax, generate_instance_uid=False)
        elif syntax is not None:
            dataset.PixelData = pydicom.encaps.encapsulate([_saved(_picture(n), "JPEG", quality=90)])
            dataset["PixelData"].VR = "OB"
            dataset.file_meta.TransferSyntaxUID = syntax
        out = io.BytesIO()
        dataset.save_as(out, enforce_file_format=True)
        contents.append(out.getvalue())
    return contents


# --- releases ---


@functools.cache
def _hand() -> Record:
    config = phantom.PhantomConfig(patients=1, scale=0.12, seed=3)
    record = next(phantom.render(config, case).record for case in phantom.cases(config))
    return release_tree.as_h1200([record], detections=True)[0]


@functools.cache
def _wrist() -> Record:
    config = phantom.PhantomConfig(patients=1, scale=0.12, seed=4, framing="wrist")
    return release_tree.as_w600([next(phantom.render(config, case).record for case in phantom.cases(config))])[0]


def _in_h1200(pattern: str) -> Build:
    """A RAM-H1200 release of one hand; the file is the first that the pattern finds."""

    def build(folder: pathlib.Path) -> tuple[pathlib.Path, list[bytes]]:
        release_tree.write_h1200({"train": [_hand()]}, folder / "release", detections=True)
        (path, *_) = sorted((folder / "release").glob(pattern))
        return path, [path.read_bytes()]

    return build


def _in_w600(pattern: str) -> Build:
    def build(folder: pathlib.Path) -> tuple[pathlib.Path, list[bytes]]:
        release_tree.write_w600({"train": [_wrist()]}, folder / "release")
        (path, *_) = sorted((folder / "release").glob(pattern))
        return path, [path.read_bytes()]

    return build


def _masks(folder: pathlib.Path) -> tuple[pathlib.Path, list[bytes]]:
    """Three bones, in each of the forms in which masks are stored."""
    path, (content,) = _in_h1200("Segmentation/*/*bone_rle*")(folder)
    contents = []
    for form in ("compressed", "uncompressed", "polygons"):
        values = json.loads(content)
        values["annotations"] = values["annotations"][:3]
        for annotation in values["annotations"]:
            rows, columns, part = coco.decode_mask(annotation["segmentation"], *_hand().image.shape, "")
            mask = np.zeros(_hand().image.shape, bool)
            mask[rows, columns] = part
            annotation["segmentation"] = coco.encode_mask(mask, form)
        contents.append(json.dumps(values).encode())
    return path, contents


def _read_h1200(path: pathlib.Path) -> Reading:
    report = Report("", "")
    made = {
        split: [h1200.make_record(hand) for hand in hands]
        for split, hands in h1200.read_splits(_folder(path, "release"), report).items()
    }
    return _release(report, [one for several in made.values() for one in several])


def _read_w600(path: pathlib.Path) -> Reading:
    report = Report("", "")
    splits = w600.assign(w600.read_wrists(_folder(path, "release"), report), w600.LEVELS, report)
    return _release(report, [w600.make_record(wrist) for wrists in splits.values() for wrist in wrists])


def _release(report: Report, made: list) -> Reading:
    amiss = {f"{what}: {where}" for found in report.to_json()["amiss"].values() for what, where in found.items()}
    return Reading([one.record for one in made], frozenset(amiss | {str(f) for one in made for f in one.findings}))


# --- what ramjax writes itself ---


def _run(name: str) -> Build:
    def build(folder: pathlib.Path) -> tuple[pathlib.Path, list[bytes]]:
        workdir = fakes.write_run(folder / "run", fakes.cases(2), pictures=False, curves=False)
        (workdir / "config.json").write_text(json.dumps(config_lib.to_dict(config_lib.Config()), indent=2))
        metrics = JsonLines(workdir, 0, True)
        for step in (10, 20, 30):
            metrics.write(step, {"train/loss": 1 / step, "train/bones/dice": 0.5})
            metrics.write(step, {"validation/loss": 2 / step})
        metrics.close()
        return workdir / name, [(workdir / name).read_bytes()]

    return build


def _read_run(path: pathlib.Path) -> Reading:
    (run,) = read_runs([path.parent])
    content = {field.name: getattr(run, field.name) for field in dataclasses.fields(run)}
    return Reading(content | {"folder": "", "tasks": [task.name for task in run.tasks]}, frozenset())


def _sweep_run(folder: pathlib.Path) -> plan.Run:
    return plan.Run("a", folder / "a", {"seed": 0}, ("--config.seed=0",), config_lib.Config())


def _eval_test(folder: pathlib.Path) -> tuple[pathlib.Path, list[bytes]]:
    run = _sweep_run(folder)
    run.workdir.mkdir()
    (run.workdir / "config.json").write_text(json.dumps(config_lib.to_dict(run.config)))
    values = {"note": "a", "step": 3, "bones/dsc": 0.5, "bones/dsc/n": 8, "erosions/dsc": 0.25, "scores/be_qwk": None}
    path = run.workdir / "eval_test.json"
    files.write_json(path, files.with_checksum(values))
    return path, [path.read_bytes()]


def _read_eval_test(path: pathlib.Path) -> Reading:
    folder = path.parent.parent
    return Reading(table.write([_sweep_run(folder)], folder), frozenset())


def _sweep(folder: pathlib.Path) -> tuple[pathlib.Path, list[bytes]]:
    plan.save([_sweep_run(folder)], folder)
    return folder / "sweep.json", [(folder / "sweep.json").read_bytes()]


def _read_sweep(path: pathlib.Path) -> Reading:
    runs = [dataclasses.replace(run, workdir=pathlib.Path(run.name)) for run in plan.load(path.parent)]
    return Reading(runs, frozenset())


def _summary(folder: pathlib.Path) -> tuple[pathlib.Path, list[bytes]]:
    batch._write_summary(folder / "summary.csv", _NETWORK, [_row(n) for n in range(3)])
    return folder / "summary.csv", [(folder / "summary.csv").read_bytes()]


def _read_summary(path: pathlib.Path) -> Reading:
    """Adds a row, as a later prediction does: none of the cells that were there may be lost."""
    with tempfile.TemporaryDirectory() as folder:
        after = pathlib.Path(shutil.copytree(path.parent, folder, dirs_exist_ok=True), path.name)
        batch._write_summary(after, _NETWORK, [_row(3)])
        (names, rows), (more_names, more_rows) = _table(path), _table(after)
        kept = path.read_bytes() == after.read_bytes() or (names <= more_names and not rows - more_rows)
    return Reading(kept, frozenset())


def _row(number: int) -> dict[str, Any]:
    return {"name": f"hand_{number}", "input": f"films/hand_{number}.png", "side": "L", "certainty": 0.9}


def _table(path: pathlib.Path) -> tuple[set[str], collections.Counter[tuple[str, ...]]]:
    """The columns of a CSV file, and its rows, of each the cells that are not empty, in any order."""
    text = path.read_bytes().decode("utf-8-sig", "surrogateescape")
    names, *rows = [*csv.reader(io.StringIO(text, newline="")), []]
    return set(names), collections.Counter(tuple(sorted(filter(None, row))) for row in rows if row)


_NETWORK = types.SimpleNamespace(tasks=make_tasks(config_lib.Config()))


def _points(name: str) -> Build:
    def build(folder: pathlib.Path) -> tuple[pathlib.Path, list[bytes]]:
        sites = ("MCP-I", "MCP-M", "L")
        joints = [{"site": site, "bbox": [10.0, 20.0, 30.0, 40.5]} for site in sites]
        prediction = {"pixel_spacing_mm": 0.15, "joints": joints}
        points = {"pixel_spacing_mm": None, "sites_xy": {site: [31.0, 22.5] for site in sites}}
        (folder / "hand.json").write_text(json.dumps(prediction, indent=2))
        (folder / "points.json").write_text(json.dumps(points, indent=2))
        return folder / name, [(folder / name).read_bytes()]

    return build


def _read_points(path: pathlib.Path) -> Reading:
    return Reading(points.compare_files(path.parent / "hand.json", path.parent / "points.json"), frozenset())


def _prepared(pattern: str) -> Build:
    """A data set of one radiograph, prepared."""

    def build(folder: pathlib.Path) -> tuple[pathlib.Path, list[bytes]]:
        release_tree.write_w600({"train": [_wrist()]}, folder / "release")
        builder = source.prepare("ram_w600", str(folder / "data"), folder / "release")
        (path,) = pathlib.Path(builder.data_path).glob(pattern)
        return path, [path.read_bytes()]

    return build


def _read_prepared(path: pathlib.Path) -> Reading:
    records = source.open_source("ram_w600", str(_folder(path, "data")), "train")
    return Reading([records[index] for index in range(len(records))], frozenset())


def _folder(path: pathlib.Path, name: str) -> pathlib.Path:
    return next(parent for parent in path.parents if parent.name == name)


FORMATS: dict[str, Format] = {
    of.name: of
    for of in (
        Format("png8", _of_images("x.png", _png8), _read_image, telling.png, PNG),
        Format("png16", _of_images("x.png", _png16), _read_image, telling.png, PNG),
        Format("bmp", _of_images("x.bmp", _bmp), _read_image, telling.bmp),
        Format("jpeg", _of_images("x.jpg", _jpeg), _read_image, telling.jpeg),
        *(
            Format(name, _of_images("x.tif", contents), _read_image, telling.tiff, TIFF)
            for name, contents in (
                ("tiff", _tiff),
                ("tiff_lzw", functools.partial(_tiff, "lzw")),
                ("tiff_deflate", functools.partial(_tiff, "zlib")),
            )
        ),
        *(
            Format(name, _of_images("x.dcm", contents), _read_image, telling.dicom, DICOM)
            for name, contents in (
                ("dicom", _dicom),
                ("dicom_rle", functools.partial(_dicom, pydicom.uid.RLELossless)),
                ("dicom_jpeg", functools.partial(_dicom, pydicom.uid.JPEGBaseline8Bit, (8, 8))),
            )
        ),
        Format("coco_masks", _masks, _read_h1200, telling.coco, JSON),
        Format("coco_erosions", _in_h1200("Segmentation/*/*be_rle*"), _read_h1200, telling.coco, JSON),
        Format("coco_boxes", _in_h1200("Joint_Detection/*/*.json"), _read_h1200, telling.coco, JSON),
        Format("coco_boxes_w600", _in_w600("*/Joints.coco.json"), _read_w600, telling.coco, JSON),
        Format("scores_h1200", _in_h1200("*/*/*/*_be_scores.json"), _read_h1200, telling.json, JSON),
        Format("scores_w600", _in_w600("*/*_Ori.json"), _read_w600, telling.json, JSON),
        Format("xlsx_h1200", _in_h1200("*.xlsx"), _read_h1200, telling.archive, SHEET),
        Format("xlsx_w600", _in_w600("*.xlsx"), _read_w600, telling.archive, SHEET),
        Format("npy", _in_w600("*/masks/*/*.npy"), _read_w600, telling.npy),
        Format("release_bmp", _in_w600("BoneSegmentation/images/*.bmp"), _read_w600, telling.bmp),
        Format("array_record", _prepared("*array_record*"), _read_prepared, telling.always, memory=THREADS),
        Format("dataset_info", _prepared("dataset_info.json"), _read_prepared, telling.json, JSON, THREADS),
        Format("config", _run("config.json"), _read_run, telling.json, JSON),
        Format("metrics", _run("metrics.jsonl"), _read_run, telling.rows, JSON),
        Format("cases", _run("cases.parquet"), _read_run, telling.always),
        Format("versions", _run("versions.json"), _read_run, telling.json, JSON),
        Format("parameters", _run("parameters.txt"), _read_run, telling.never, TEXT),
        Format("eval_test", _eval_test, _read_eval_test, telling.checked_json, JSON),
        Format("sweep", _sweep, _read_sweep, telling.json, JSON),
        Format("summary", _summary, _read_summary, telling.always, TEXT),
        Format("report", _points("hand.json"), _read_points, telling.json, JSON),
        Format("points", _points("points.json"), _read_points, telling.json, JSON),
    )
}  # fmt: skip
