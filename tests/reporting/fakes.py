"""Finished runs that no network made: seeded values with the definitions' own gaps, written as an evaluation does."""

import dataclasses
import io
import json
import pathlib

import numpy as np
from PIL import Image

from ramjax import anatomy
from ramjax.config import Config
from ramjax.metrics import cases as cases_lib
from ramjax.metrics import detection
from ramjax.metrics.cases import Case, Cases
from ramjax.tasks import make_tasks, parts_of

PARTS = parts_of(make_tasks(Config()))
ABOUT = {
    "run": "a", "seed": 0, "step": 1000, "checkpoint": "best on validation", "split": "test", "grid": "native",
    "tolerance": 2.0, "unit": "px", "tasks": ["bones", "erosions", "joints", "scores"],
}  # fmt: skip
DIAGONAL = 900.0


def cases(
    count: int = 24, seed: int = 0, skill: float = 0.8, dataset: str = "ram_phantom", tasks=tuple(PARTS), **about
) -> Cases:
    """Hands of patients with a left and a right one; `seed` and `skill` are the network's, the hands do not change."""
    hands, network = np.random.default_rng(7), np.random.default_rng((seed, 11))
    made = []
    for index in range(count):
        severity = hands.gamma(1.2, 1.0) if index % 4 else 0.0
        values = {
            "bones": _bones(hands, network, skill, dataset),
            "pairs": _masks(hands, network, skill - 0.25, 14, 0.9, 0.01),
            "erosions": _erosions(hands, network, skill - 0.35, severity),
            "joints": _joints(hands, network, skill, dataset),
            "be": _scores(hands, network, skill, severity, "be", dataset),
            "jsn": _scores(hands, network, skill, severity, "jsn", dataset),
        }
        wrist = dataset == "ram_w600"
        attributes = {
            "dataset": dataset, "id": f"{dataset}_{index // 2:03}-{'LR'[index % 2]}",
            "patient": f"{dataset}-p{index // 2}",
            "visit": "", "center": ("Sapporo", "Osaka & Kobe", "")[index // 2 % 3], "side": "LR"[index % 2],
            "view": "wrist" if wrist else "hand", "is_ra": int(severity > 0), "pixel_spacing_mm": 0.15, "picture": "",
        }  # fmt: skip
        made.append(Case(attributes, {task: of for task, of in values.items() if task in tasks}))
    return cases_lib.collect(made, ABOUT | about, PARTS)


def write_run(
    folder: pathlib.Path,
    of: Cases,
    *,
    seed: int = 0,
    pictures: bool = True,
    curves: bool = True,
    name: str = "train",
    **changes,
) -> pathlib.Path:
    """A run directory with all that a report reads; `name` tells its method, `changes` are keys of its config."""
    folder.mkdir(parents=True)
    if pictures:
        (folder / "pictures").mkdir()
        names = np.array([f"pictures/{key}.jpg" for key in of.attributes["id"]], object)
        of = dataclasses.replace(of, attributes=of.attributes | {"picture": names})
        for index, path in enumerate(names):
            (folder / path).write_bytes(_picture(index))
    about = of.about | {"run": folder.name, "seed": seed}
    cases_lib.write(folder / "cases.parquet", dataclasses.replace(of, about=about))
    values = {"seed": seed, "data": {"train_split": name}, **changes}
    (folder / "config.json").write_text(json.dumps(values))
    (folder / "versions.json").write_text(json.dumps({"git": "0123456789abcdef0123456789abcdef01234567"}))
    (folder / "parameters.txt").write_text("Parameters\na   (3,)  float32  3\n\ntotal            3,199,445\n")
    if curves:
        (folder / "metrics.jsonl").write_text("".join(json.dumps(row) + "\n" for row in _curves(seed, 1000)))
    return folder


def _masks(hands, network, skill: float, count: int, prevalence: float, failing: float) -> dict[str, np.ndarray]:
    """Values of `count` masks that agree with the table in `segmentation.segmentation_metrics`."""
    there = hands.random(count) < prevalence
    fails = network.random(count) < failing
    found = there ^ fails
    overlap = np.clip(skill + network.normal(0, 0.08, count), 0.02, 0.995)
    both = there & found
    dsc = np.where(both, overlap, 0.0)
    iou = dsc / (2 - dsc)
    rec, prec = np.clip(overlap + network.normal(0, 0.03, (2, count)), 0, 1)
    near, distance = np.clip(overlap + 0.05, 0, 1), 0.5 + 8 * (1 - overlap)
    ravd = np.abs(network.normal(0, 0.1, count))
    nan, inf = np.nan, np.inf
    missed, invented = there & ~found, found & ~there

    def choose(strict_missed, strict_invented, compat_missed, compat_invented, value, empty=(nan, nan)):
        return np.stack([
            np.where(both, value, np.where(missed, strict_missed, np.where(invented, strict_invented, empty[0]))),
            np.where(both, value, np.where(missed, compat_missed, np.where(invented, compat_invented, empty[1]))),
        ])  # fmt: skip

    return {
        "dsc": choose(0, nan, 0, nan, dsc),
        "iou": choose(0, nan, 0, nan, iou),
        "voe": choose(1, nan, 1, nan, 1 - iou),
        "nsd": choose(0, nan, 0, 0, near),
        "msd": choose(DIAGONAL, nan, inf, inf, distance),
        "hd95": choose(DIAGONAL, nan, inf, inf, 3 * distance),
        "ravd": choose(1, nan, 1, 0, ravd, (nan, 0)),
        "rec": choose(0, nan, 0, 0, rec, (nan, 0)),
        "prec": choose(nan, 0, 0, 0, prec, (nan, 0)),
        "missed": np.stack([np.where(there, missed, nan)] * 2).astype(float),
        "invented": np.stack([np.where(there, nan, invented)] * 2).astype(float),
    }


def _bones(hands, network, skill: float, dataset: str) -> dict[str, np.ndarray]:
    known = np.array([dataset != "ram_w600" or bone in anatomy.WRIST_BONES for bone in anatomy.BONES])
    prevalence = np.where(np.array(anatomy.BONES) == "Sesamoid", 0.7, 1.0)
    ease = np.linspace(-0.1, 0.1, anatomy.NUM_BONES)
    values = _masks(hands, network, skill + ease, anatomy.NUM_BONES, prevalence, 0.01)
    return {name: np.where(known, value, np.nan) for name, value in values.items()}


def _erosions(hands, network, skill: float, severity: float) -> dict[str, np.ndarray]:
    prevalence = np.array([0.8, 0.4, 0.3, 0.9]) if severity else np.zeros(4)
    values = _masks(hands, network, skill, 4, prevalence, 0.12)
    dsc = values["dsc"][0]
    there = np.isfinite(dsc)
    found = np.where(there, values["missed"][0] == 0, values["invented"][0] == 1)
    annotated = np.where(there, np.rint(hands.gamma(2.0, 60.0 * (1 + severity), 4)) + 4, 0)
    predicted = np.where(found, np.rint(np.maximum(annotated, 40) * network.uniform(0.6, 1.5, 4)) + 4, 0)
    lesions = np.where(there, 1 + hands.poisson(severity, 4), 0)
    guessed = np.where(found, np.maximum(lesions + network.integers(-1, 2, 4), 1), 0)
    matched = np.minimum(lesions, guessed)
    same = {
        "predicted_px": predicted, "annotated_px": annotated,
        "both_px": np.where(there & found, np.nan_to_num(dsc) * (predicted + annotated) / 2, 0.0),
        "predicted_mm2": predicted * 0.15**2, "annotated_mm2": annotated * 0.15**2,
        "dsc_or_1": np.where(there, np.nan_to_num(dsc), np.where(found, 0.0, 1.0)),
        "lesions_predicted": guessed, "lesions_annotated": lesions,
        "matched_iou": matched // 2, "matched_distance": matched,
    }  # fmt: skip
    return values | {name: np.stack([value, value]).astype(float) for name, value in same.items()}


def _joints(hands, network, skill: float, dataset: str) -> dict[str, np.ndarray]:
    wrist = np.isin(np.arange(anatomy.NUM_SITES), anatomy.WRIST_SITES)
    present = (hands.random(anatomy.NUM_SITES) < 0.97) & (wrist | (dataset != "ram_w600"))
    corner, size = hands.uniform(100, 400, (anatomy.NUM_SITES, 2)), hands.uniform(30, 60, (anatomy.NUM_SITES, 1))
    annotated = np.concatenate([corner, corner + size], 1)
    predicted = annotated + network.normal(0, 12 * (1 - skill), (anatomy.NUM_SITES, 1))
    error = detection.center_distance(predicted, annotated)
    values = {
        "confidence": np.clip(network.beta(18, 1, anatomy.NUM_SITES), 0, 1),
        "present": present.astype(float),
        "iou": np.where(present, detection.box_iou(predicted, annotated), np.nan),
        "center_error": np.where(present, error, np.nan),
        "center_error_mm": np.where(present, 0.15 * error, np.nan),
    }
    for who, boxes in (("predicted", predicted), ("annotated", np.where(present[:, None], annotated, np.nan))):
        values |= {f"{who}_{side}": boxes[:, k] for k, side in enumerate(("ymin", "xmin", "ymax", "xmax"))}
    return {name: np.stack([value, value]) for name, value in values.items()}


def _scores(hands, network, skill: float, severity: float, scale: str, dataset: str) -> dict[str, np.ndarray]:
    top, sites = anatomy.SCALES[scale]
    graded = np.isin(np.arange(anatomy.NUM_SITES), sites)
    if dataset == "ram_w600":
        graded &= np.isin(np.arange(anatomy.NUM_SITES), anatomy.WRIST_SITES) & (scale == "be")
    truth = np.clip(hands.poisson(0.8 * severity, anatomy.NUM_SITES), 0, top)
    noise = network.normal(0, 4.5 * (1 - skill), anatomy.NUM_SITES)
    logits = -((np.arange(top + 1) - (truth + noise)[:, None]) ** 2) / 0.6
    chances = np.exp(logits - logits.max(1, keepdims=True))
    chances /= chances.sum(1, keepdims=True)
    predicted = np.rint((chances * np.arange(top + 1)).sum(1))
    values = {"predicted": predicted, "annotated": truth.astype(float)}
    values |= {f"p{score}": chances[:, score] for score in range(top + 1)}
    return {name: np.stack([np.where(graded, value, np.nan)] * 2) for name, value in values.items()}


def _curves(seed: int, steps: int) -> list[dict]:
    rng = np.random.default_rng(seed)
    rows = []
    for step in range(20, steps + 1, 20):
        losses = {task: 3 * np.exp(-step / 300) + rng.uniform(0, 0.2) for task in ("bones", "erosions", "scores")}
        row = {"step": step, "train/loss": sum(losses.values())}
        rows.append(row | {f"train/loss/{task}": loss for task, loss in losses.items()})
        if step % 200 == 0:
            names = (
                "canvas/bones/dsc", "canvas/erosions/dsc", "canvas/joints/recall_50", "canvas/joints/iou",
                "canvas/scores/be_qwk", "canvas/scores/jsn_qwk", "selection",
            )  # fmt: skip
            values = {name: float(1 - np.exp(-step / 400) - rng.uniform(0, 0.1)) for name in names}
            rows.append({"step": step, **{f"validation/{name}": value for name, value in values.items()}})
    return rows


def _picture(index: int) -> bytes:
    rng = np.random.default_rng(index)
    y, x = np.mgrid[0:640, 0:900] / 640
    tone = 90 + 80 * np.sin(6 * x + index) * np.cos(5 * y) + rng.normal(0, 6, (640, 900))
    content = io.BytesIO()
    Image.fromarray(np.clip(tone, 0, 255).astype(np.uint8)).save(content, "JPEG", quality=85)
    return content.getvalue()
