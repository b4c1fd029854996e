"""The network that ships with ramjax: all tasks and the positioning, on synthetic hands of any sharpness.

    python -m experiments.release --workdir=runs/release --films=FOLDER_OF_RADIOGRAPHS

trains it, measures it on the synthetic test hands and on radiographs that were not trained on (`benchmarks.real_films`
says what their folder needs), and writes ramjax/weights/default.safetensors and the card beside it, default.md. It
continues where it was stopped. ``--config=experiments/release.py:accelerator`` is the same network on a GPU or TPU.
"""

import json
import pathlib
import sys
from typing import Any

from absl import flags
from ml_collections import ConfigDict

from experiments import multitask

_WORDS = {
    "bones/dsc": "mean Dice of the bones",
    "erosions/dsc": "Dice of any erosion, hands with erosions",
    "joints/recall_50": "joints found at IoU 0.5",
    "joints/center_error_mm": "distance of the box centres, mm",
    "scores/be_qwk": "quadratic weighted kappa of BE",
    "scores/jsn_qwk": "quadratic weighted kappa of JSN",
}


def get_config(preset: str = "") -> ConfigDict:
    """Returns the experiment; ``accelerator`` takes larger batches in bfloat16."""
    if preset not in ("", "cpu", "accelerator"):
        raise ValueError(f"Unknown preset {preset!r} of experiments/release.py; use cpu or accelerator.")
    config = multitask.get_config()
    config.tasks = (*config.tasks, "positioning")
    # Real films are softer than synthetic ones, and some are sharpened.
    config.data.augment.blur, config.data.augment.resample = 2.5, 1.0
    config.data.augment.mirror, config.data.augment.wrist_crop = 0.3, 0.25
    config.optimizer.ema_decay = 0.998
    config.optimizer.warmup_steps = 100
    config.train.steps, config.train.eval_every, config.train.checkpoint_every = 3000, 500, 250
    if preset == "accelerator":
        config.data.batch_size, config.data.eval_batch_size, config.data.workers = 32, 32, 16
        config.model.dtype = "bfloat16"
        config.train.steps = 4000
    return config


def main(argv: list[str]) -> int:
    from ramjax import command_line
    from ramjax.runs import weights

    def define(values: flags.FlagValues) -> None:
        define = {"flag_values": values}
        command_line.define_path("workdir", "runs/release", "Run directory.", **define)
        flags.DEFINE_string("config", "experiments/release.py", "Experiment file, or one with a preset.", **define)
        command_line.define_path("films", None, "Radiographs to measure it on, with INDEX.csv.", **define)
        command_line.define_path("output", str(weights.SHIPPED), "File to write; the card gets .md.", **define)

    stopped = "Interrupted; start again to continue."
    return command_line.command("python -m experiments.release", __doc__, define, _release, interrupted=stopped)(argv)


def _release(values: flags.FlagValues) -> None:
    import ramjax

    workdir, output = pathlib.Path(values.workdir), pathlib.Path(values.output)
    config = ramjax.load_experiment(values.config)
    if (workdir / "eval_test.json").exists():
        run = ramjax.load(workdir)
    else:
        run = ramjax.train(config, workdir)
    about = _about(run, workdir)
    output.parent.mkdir(parents=True, exist_ok=True)
    run.export(output, about)
    if values.films:  # measured as it ships, in half precision
        from benchmarks.real_films import measure_films

        about["films"] = measure_films(ramjax.load(output).trained, pathlib.Path(values.films))
        run.export(output, about)
    card = output.with_suffix(".md")
    card.write_text(_card(run, about, output))
    print(f"{output} ({output.stat().st_size / 1e6:.1f} MB) and {card}")


def _about(run: Any, workdir: pathlib.Path) -> dict[str, Any]:
    """What the network was trained on and with, and what it reaches on the synthetic test hands."""
    from ramjax.files import read_json_lines

    versions = json.loads((workdir / "versions.json").read_text())
    metrics = json.loads((workdir / "eval_test.json").read_text())
    rows = [row for row in read_json_lines(workdir / "metrics.jsonl") if "train/examples_per_second" in row]
    examples = run.config.train.log_every * run.config.data.batch_size
    return {
        "datasets": list(run.config.data.datasets),
        "git": versions["git"],
        "device": versions["devices"][0],
        "training_minutes": round(sum(examples / row["train/examples_per_second"] for row in rows) / 60, 1),
        "test": {name: metrics[name] for name in _WORDS} | {"n": metrics["bones/dsc/n"]},
    }


def _card(run: Any, about: dict[str, Any], output: pathlib.Path) -> str:
    """The card: what it is, how it was made, and what it reaches."""
    from ramjax.notice import NOTE

    test, films = about["test"], about.get("films")
    lines = [
        f"# {output.name}",
        "",
        f"The network that `python -m ramjax.predict` uses without `--workdir`. {NOTE}",
        "",
        "| | |",
        "|---|---|",
        f"| tasks | {', '.join(task.name for task in run.tasks)} |",
        f"| trained on | {', '.join(about['datasets'])}: synthetic hands alone, no radiograph of a person |",
        f"| canvas | {run.config.data.canvas.height} x {run.config.data.canvas.width} |",
        f"| steps | {run.step} of {run.config.train.steps}, the best on validation; batches of "
        f"{run.config.data.batch_size} |",
        f"| device, time of the training steps | {about['device']}, {about['training_minutes']:.0f} minutes |",
        f"| code | {about['git'][:12]} |",
        "| parameters | half precision |",
        "",
        f"## On {test['n']} synthetic test hands",
        "",
        "| metric | what | value |",
        "|---|---|---|",
        *(f"| `{name}` | {words} | {test[name]:.3f} |" for name, words in _WORDS.items()),
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
            *(
                f"| {name.replace('_', ' ')} | {'' if value is None else f'{value:.4g}'} |"
                for name, value in films.items()
            ),
            "",
            "Hands that are not erosive should score 0. Until they nearly do, take scores and erosions of real films",
            "for what they are: those of a network that has only seen synthetic disease.",
            "",
        ]
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(main(sys.argv))
