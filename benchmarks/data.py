"""Measures preparing and reading a release beside the loading that published code does, in one run.

    python -m benchmarks.data [--hands=48] [--crops=4] [--seconds=10] [--steps=60] [--folder=FOLDER] [--json]

Synthetic hands of full size are written as a RAM-H1200 release (kept in --folder for the next run) and prepared.
Then, each in a process of its own, pinned to one core unless said otherwise:

- dense: the pattern of public training code. Every annotation of the split is decoded into dense uint8 planes
  (30, H, W) in memory; a sample decodes its whole BMP, normalises it and cuts 512 x 512 out of both. Then with the
  augmentation of ours (the same map, for 30 planes; the same change of grey values), and last as published, with 70 %
  of the crops placed about a random foreground pixel of all planes, which has to be sought.
- ours: native 512 x 512 canvases through the pipeline, with augmentation, bones, erosions and boxes; the 30 planes are
  unpacked as dense ones are. --crops canvases are taken of a hand each time it is read (data.crops).
- whole hands on the quickstart's canvas.
- both again, one canvas a read, from records that are kept decoded (data.cache=host).
- memory: resident memory of the training process and its two data workers, with a quarter of the hands and with all.
- waiting: the share of a training step of the quickstart that is spent waiting for data, over --steps steps; 0 skips
  it.

With --json the last line is one JSON object: `crops_per_second_per_core` and `rss_gb` (ours), the same with `_dense`,
`_dense_augmented` and `_dense_published`, `crops_per_second_per_core_one_a_read`, `canvases_per_second_per_core`,
`crops_per_second_per_core_kept` and `canvases_per_second_per_core_kept` (from decoded records), `rss_gb_quarter`,
`rss_gb_per_hand_dense`, `prepared_hands_per_second`, `data_wait_share`, `hands`, `cores`.
"""

import concurrent.futures
import contextlib
import dataclasses
import json
import logging
import multiprocessing
import os
import pathlib
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from typing import Any

import cv2
import numpy as np
from absl import flags
from PIL import Image
from pycocotools import mask as coco_mask
from tqdm import tqdm

from benchmarks import common
from experiments import multitask
from ramjax import anatomy, command_line, phantom
from ramjax import config as config_lib
from ramjax.config import AugmentConfig, DataConfig
from ramjax.data import parallel, pipeline, source
from ramjax.data.augment import change_grey, draw_grey
from ramjax.io import coco, release_tree
from ramjax.record import Record, unpack_bones
from ramjax.tasks import labels_of, make_tasks

CROP = 512
LABELS = labels_of(make_tasks(config_lib.from_config_dict(multitask.get_config())))
"""Side in pixels of the published training patch."""

WARM_UP, REPEATS = 2, 5
"""Batches or samples before the clock starts; parts of a measurement, of which the median counts."""


def write_release(folder: pathlib.Path, hands: int) -> None:
    """Writes `hands` synthetic hands of full size as a release, two more for validation and two for test."""
    config = phantom.PhantomConfig(patients=hands // 2 + 2, scale=1.0, seed=9)
    cases = list(phantom.cases(config))[: hands + 4]
    rendered = parallel.in_order(_Render(config), cases)
    records = release_tree.as_h1200(tqdm(rendered, desc="Rendering hands", total=len(cases), unit="hand"))
    splits = {"train": records[:hands], "validation": records[hands : hands + 2], "test": records[hands + 2 :]}
    release_tree.write_h1200(splits, folder, quirks=True)


@dataclasses.dataclass(frozen=True)
class _Render:
    config: phantom.PhantomConfig

    def __call__(self, case: phantom.Case) -> Record:
        return phantom.render(self.config, case).record


def dense(folder: str, seconds: float) -> dict[str, Any]:
    """The dense pattern on one core: samples a second by what is done to them, and memory of the planes."""
    empty = common.resident_gb(os.getpid())
    path = pathlib.Path(folder) / "Segmentation" / "train"
    content = json.loads((path / "_annotations_bone_rle.coco.json").read_text())
    names = {category["id"]: category["name"] for category in content["categories"] if category["id"]}
    files, planes = {image["id"]: image["file_name"] for image in content["images"]}, {}
    for image in content["images"]:
        planes[image["id"]] = np.zeros((anatomy.NUM_BONES, image["height"], image["width"]), np.uint8)
    for annotation in content["annotations"]:
        name = names[annotation["category_id"]]
        if name not in ("Ring", "Metal Implant", "Intravenous cannula"):
            plane = planes[annotation["image_id"]][anatomy.BONE_INDEX[anatomy.canonical_bone(name)]]
            plane |= _dense_mask(annotation["segmentation"], *plane.shape)
    names_on_disk = {key: name.split("_bmp")[0].removesuffix(".bmp") + ".bmp" for key, name in files.items()}
    grown = common.resident_gb(os.getpid()) - empty
    rng, keys = np.random.default_rng(0), list(planes)
    augment = config_lib.from_config_dict(multitask.get_config()).data.augment

    def sample(augmented: bool, foreground: bool) -> int:
        key = keys[rng.integers(len(keys))]
        image = np.asarray(Image.open(path / names_on_disk[key]).convert("L"), np.float32)
        image = (image - image.min()) / (image.max() - image.min())
        rows, columns = image.shape
        y, x = int(rng.integers(rows - CROP)), int(rng.integers(columns - CROP))
        if foreground and rng.random() < 0.7:
            places = np.argwhere(planes[key].any(0))
            at_y, at_x = places[rng.integers(len(places))]
            y, x = int(np.clip(at_y - CROP // 2, 0, rows - CROP)), int(np.clip(at_x - CROP // 2, 0, columns - CROP))
        crop = np.ascontiguousarray(image[y : y + CROP, x : x + CROP])
        target = np.ascontiguousarray(planes[key][:, y : y + CROP, x : x + CROP])
        if augmented:
            crop, target = _augmented(crop, target, augment, rng)
        return len(crop[None]) * bool(target.astype(np.float32).shape)

    rates = {
        name: _rate(iter(lambda how=how: sample(*how), None), seconds, int)
        for name, how in {"": (False, False), "_augmented": (True, False), "_published": (True, True)}.items()
    }
    return {"rates": rates, "rss_gb": empty + grown, "rss_gb_per_hand": grown / len(planes)}


def _augmented(
    crop: np.ndarray, planes: np.ndarray, augment: AugmentConfig, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """The crop and its planes (30, h, w) turned and magnified at random, grey values changed."""
    affine = cv2.getRotationMatrix2D(
        (CROP / 2, CROP / 2), rng.uniform(-augment.rotation, augment.rotation), 1 + rng.uniform(0, augment.scale)
    )
    crop = cv2.warpAffine(crop, affine, (CROP, CROP), flags=cv2.INTER_LINEAR)
    warped = [cv2.warpAffine(plane, affine, (CROP, CROP), flags=cv2.INTER_NEAREST) for plane in planes]
    return change_grey(crop, draw_grey(augment, *crop.shape, rng)), np.stack(warped)


def ours(data_dir: str, seconds: float, crops: int, whole: bool, cache: str = "none") -> dict[str, float]:
    """Canvases a second on one core, planes unpacked: native crops, or whole hands on the quickstart's canvas."""
    data = dataclasses.replace(_data(data_dir, crops, whole, workers=0), cache=cache)
    batches = pipeline.make_train_batches(
        data,
        pipeline.open_sources(data, "train"),
        seed=0,
        start_step=0,
        steps=10**6,
        labels=LABELS,
    )
    return {"per_second": _rate(batches, seconds, _unpack)}


def memory(data_dir: str, seconds: float, crops: int, split: str) -> dict[str, float]:
    """Most resident memory in GB of this process and its data workers while they make native crops."""
    data = _data(data_dir, crops, whole=False, workers=2)
    batches = pipeline.make_train_batches(
        data,
        pipeline.open_sources(data, split),
        seed=0,
        start_step=0,
        steps=10**6,
        labels=LABELS,
    )
    most, end = 0.0, time.perf_counter() + seconds
    with contextlib.closing(batches):
        while time.perf_counter() < end:
            _unpack(next(batches))
            most = max(most, common.resident_gb(os.getpid()))
    return {"rss_gb": most}


def data_wait_share(data_dir: str, steps: int) -> float:
    """Median share of a quickstart's steps, after the first report, that waits for data."""
    with tempfile.TemporaryDirectory() as workdir:
        every = max(steps // 4, 1)
        command = [
            sys.executable, "-m", "ramjax.main", "--config=experiments/multitask.py", f"--workdir={workdir}/run",
            "--mode=train", f"--config.data.data_dir={data_dir}", f"--config.train.steps={steps}",
            f"--config.train.log_every={every}", f"--config.train.eval_every={10 * steps}",
            "--config.data.validation_split=validation[:8]",
        ]  # fmt: skip
        done = subprocess.run(command, capture_output=True, text=True)
        if done.returncode:
            raise RuntimeError(f"The quickstart ended with {done.returncode}: {done.stderr.strip()[-500:]}")
        rows = [json.loads(line) for line in (pathlib.Path(workdir) / "run" / "metrics.jsonl").read_text().splitlines()]
    shares = [row["train/data_wait_share"] for row in rows if "train/data_wait_share" in row]
    return statistics.median(shares[1:])


def measure(folder: pathlib.Path, hands: int, crops: int, seconds: float, steps: int) -> dict[str, float]:
    """Returns all numbers of the module's docstring."""
    release = folder / f"release_{hands}" / "RAM-H1200-v1"
    if not release.exists():
        release.parent.mkdir(parents=True, exist_ok=True)
        write_release(release, hands)
    with tempfile.TemporaryDirectory(dir=folder) as prepared:
        began = time.perf_counter()
        source.prepare("ram_h1200", prepared, release)
        rate = (hands + 4) / (time.perf_counter() - began)
        baseline = _apart(dense, str(release), seconds)
        numbers = {
            "hands": hands,
            "cores": common.cores(),
            "prepared_hands_per_second": rate,
            **{f"crops_per_second_per_core_dense{name}": rate for name, rate in baseline["rates"].items()},
            "rss_gb_dense": baseline["rss_gb"],
            "rss_gb_per_hand_dense": baseline["rss_gb_per_hand"],
            "crops_per_second_per_core": _apart(ours, prepared, seconds, crops, False)["per_second"],
            "crops_per_second_per_core_one_a_read": _apart(ours, prepared, seconds, 1, False)["per_second"],
            "canvases_per_second_per_core": _apart(ours, prepared, seconds, 1, True)["per_second"],
            "crops_per_second_per_core_kept": _apart(ours, prepared, seconds, 1, False, "host")["per_second"],
            "canvases_per_second_per_core_kept": _apart(ours, prepared, seconds, 1, True, "host")["per_second"],
            "rss_gb_quarter": _apart(memory, prepared, seconds, crops, "train[:25%]", pinned=False)["rss_gb"],
            "rss_gb": _apart(memory, prepared, seconds, crops, "train", pinned=False)["rss_gb"],
        }
    if steps:
        source.prepare("ram_phantom/small", str(folder))
        numbers["data_wait_share"] = data_wait_share(str(folder), steps)
    return {name: round(value, 4) for name, value in numbers.items()}


def _data(data_dir: str, crops: int, whole: bool, workers: int) -> DataConfig:
    """The quickstart's data settings on the release, with native crops unless `whole`."""
    data = config_lib.from_config_dict(multitask.get_config()).data
    canvas = data.canvas
    if not whole:
        canvas = dataclasses.replace(canvas, height=CROP, width=CROP, sizing="scale", scale=1.0)
    return dataclasses.replace(
        data, datasets=("ram_h1200",), weights=(1.0,), data_dir=data_dir, batch_size=8, crops=crops, workers=workers,
        canvas=canvas,
    )  # fmt: skip


def _apart(function: Callable[..., dict[str, Any]], *arguments: Any, pinned: bool = True) -> dict[str, Any]:
    """Calls a function in a fresh process, on one core where `pinned`."""
    context = multiprocessing.get_context("spawn")
    with concurrent.futures.ProcessPoolExecutor(1, context, _start, (pinned,)) as pool:
        return pool.submit(function, *arguments).result()


def _start(pinned: bool) -> None:
    logging.disable()
    cv2.setNumThreads(1)
    if pinned and hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})


def _rate(things: Iterator[Any], seconds: float, use: Callable[[Any], int]) -> float:
    """Examples a second, `use` telling how many a thing holds: the median of `REPEATS` parts of the time."""
    for _ in range(WARM_UP):
        use(next(things))
    rates = []
    for _ in range(REPEATS):
        began, count = time.perf_counter(), 0
        while time.perf_counter() - began < seconds / REPEATS:
            count += use(next(things))
        rates.append(count / (time.perf_counter() - began))
    return statistics.median(rates)


def _unpack(batch: pipeline.Batch) -> int:
    """Unpacks the 30 planes of each example, as a network's loss does on the device; returns how many there are."""
    for words in batch["bones"]:
        assert unpack_bones(words[..., None].view(np.uint8)).shape == (*words.shape, anatomy.NUM_BONES)
    return len(batch["bones"])


def _dense_mask(segmentation: Any, height: int, width: int) -> np.ndarray:
    if isinstance(segmentation, dict) and isinstance(segmentation["counts"], str):
        return coco_mask.decode({**segmentation, "counts": segmentation["counts"].encode()})
    rows, columns, cut = coco.decode_mask(segmentation, height, width, "benchmark")
    mask = np.zeros((height, width), np.uint8)
    mask[rows, columns] = cut
    return mask


def main(argv: list[str]) -> int:
    """Runs the command line `argv` (program name first) and returns the exit code."""

    def define(values):
        own = {"flag_values": values}
        flags.DEFINE_integer("hands", 48, "Hands of the training split.", 8, **own)
        flags.DEFINE_enum("crops", "4", ["1", "2", "4", "8"], "Crops taken of a hand each time it is read.", **own)
        flags.DEFINE_float("seconds", 10.0, "Length of each measurement.", 0.1, **own)
        flags.DEFINE_integer("steps", 60, "Steps of the quickstart; 0 leaves it out.", 0, **own)
        command_line.define_path("folder", "data/benchmark", "Where the release is written and prepared.", **own)

    def run(values):
        folder = pathlib.Path(values.folder).absolute()
        return measure(folder, values.hands, int(values.crops), values.seconds, values.steps)

    def show(numbers):
        ratio = numbers["crops_per_second_per_core"] / numbers["crops_per_second_per_core_dense_published"]
        last = f"Native crops a second a core: {ratio:.1f} times those of the dense pattern as published."
        return f"{common.table(numbers)}\n{last}"

    return common.run(argv, __doc__, define, run, show)


if __name__ == "__main__":
    sys.exit(main(sys.argv))
