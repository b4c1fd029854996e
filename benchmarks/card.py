"""The card of a network that ships: what it was trained on, and what it reaches on synthetic and on real hands."""

import json
import pathlib
from typing import Any

import numpy as np

import ramjax
from benchmarks.real_films import measure_films
from ramjax import anatomy
from ramjax.files import read_json_lines
from ramjax.notice import NOTE
from ramjax.record import Record

_WORDS = {
    "bones/dsc": "mean Dice of the bones",
    "erosions/dsc": "Dice of any erosion, hands with erosions",
    "joints/recall_50": "joints found at IoU 0.5",
    "joints/center_error_mm": "distance of the box centres, mm",
    "scores/be_qwk": "quadratic weighted kappa of BE",
    "scores/jsn_qwk": "quadratic weighted kappa of JSN",
}


def about_training(run: ramjax.Run, workdir: pathlib.Path) -> dict[str, Any]:
    """What a run was trained on and with, and what eval_test.json says of it."""
    versions = json.loads((workdir / "versions.json").read_text())
    metrics = json.loads((workdir / "eval_test.json").read_text())
    rows = [
        row
        for row in read_json_lines(workdir / "metrics.jsonl")
        if "train/examples_per_second" in row and row["step"] <= run.step
    ]
    examples = run.config.train.log_every * run.config.data.batch_size
    return {
        "datasets": list(run.config.data.datasets),
        "git": versions["git"],
        "device": versions["devices"][0],
        "training_minutes": round(sum(examples / row["train/examples_per_second"] for row in rows) / 60, 2),
        "test": {name: metrics[name] for name in _WORDS} | {"n": metrics["bones/dsc/n"]},
    }


def about_reading(run: ramjax.Run, films: pathlib.Path | None) -> dict[str, Any]:
    """What a network says of the synthetic test hands, and of a folder of radiographs: see `benchmarks.real_films`."""
    told = {"decisions": _decisions(run)}
    return told | {"films": measure_films(run.trained, films)} if films else told


def _decisions(run: ramjax.Run) -> dict[str, dict[str, int]]:
    """How often side and view are told of the synthetic test hands, whole and as films of the wrist alone."""
    data = run.config.data
    counts = {view: dict.fromkeys(("films", "side_right", "view_right", "doubtful"), 0) for view in ("hand", "wrist")}
    for record in ramjax.open_dataset(data.datasets[0], data.test_split, data.data_dir):
        for view, image in (("hand", record.image), ("wrist", _wrist(record))):
            report = run.predict(image).report
            counts[view]["films"] += 1
            counts[view]["side_right"] += report["side"] == record.side
            counts[view]["view_right"] += report["view"] == view
            counts[view]["doubtful"] += any("doubtful" in note for note in report["notes"])
    return counts


def _wrist(record: Record) -> np.ndarray:
    """A square film about the wrist's sites, 1.4 times as wide as they: the 90 mm of a wrist film."""
    height, width = record.image.shape
    boxes = np.array(
        [joint.bbox for joint in record.joints if anatomy.SITE_INDEX[joint.site] in anatomy.WRIST_SITES]
    ) * (height, width, height, width)
    lower, upper = boxes[:, :2].min(axis=0), boxes[:, 2:].max(axis=0)
    half = 0.7 * (upper - lower).max()
    (top, left), (bottom, right) = (np.rint((lower + upper) / 2 + sign * half).astype(int) for sign in (-1, 1))
    return np.ascontiguousarray(record.image[max(top, 0) : bottom, max(left, 0) : right])


def card(run: ramjax.Run, about: dict[str, Any], name: str) -> str:
    """The card as Markdown, of all that was told about the network; `name` is its file's."""
    test, films = about["test"], about.get("films")
    lines = [
        f"# {name}",
        "",
        f"The network that `python -m ramjax.predict` uses without `--workdir`. {NOTE}",
        "",
        "| | |",
        "|---|---|",
        f"| tasks | {', '.join(task.name for task in run.tasks)} |",
        f"| trained on | {', '.join(about['datasets'])}: synthetic hands alone, no radiograph of a person |",
        f"| canvas | {run.config.data.canvas.height} x {run.config.data.canvas.width} |",
        f"| steps | {run.step}, of a schedule of {run.config.train.steps}; batches of {run.config.data.batch_size} |",
        f"| device, time of the training steps | {about['device']}, {about['training_minutes']:.0f} minutes |",
        f"| code | {about['git'][:12]} |",
        "| parameters | half precision |",
        "",
        f"## On {test['n']} synthetic test hands",
        "",
        "| metric | what | value |",
        "|---|---|---|",
        *(f"| `{name}` | {words} | {_number(test[name])} |" for name, words in _WORDS.items()),
        "",
    ]
    lines += [
        "Their side and view, of the whole film and of a square about the wrist, with nothing stated:",
        "",
        "| film | side right | view right | called doubtful |",
        "|---|---|---|---|",
        *(
            f"| {view} | {of['side_right']} of {of['films']} | {of['view_right']} of {of['films']} | {of['doubtful']} |"
            for view, of in about["decisions"].items()
        ),
        "",
    ]
    if films:
        lines += [
            "## On radiographs",
            "",
            "None of them was trained on. `python -m benchmarks.real_films` measures it and says how.",
            "",
            "| what | value |",
            "|---|---|",
            *(f"| {name.replace('_', ' ')} | {_number(value)} |" for name, value in films.items()),
            "",
            "Hands that are not erosive should score 0. Until they nearly do, take scores and erosions of real films",
            "for what they are: those of a network that has only seen synthetic disease.",
            "",
        ]
    return "\n".join(lines)


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.4g}"
