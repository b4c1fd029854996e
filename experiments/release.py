"""The network that ships with ramjax: all tasks and the positioning, on synthetic hands of any sharpness.

    python -m experiments.release --workdir=runs/release --films=FOLDER_OF_RADIOGRAPHS

trains it, measures it on the synthetic test hands and on radiographs that were not trained on (`benchmarks.real_films`
says what their folder needs), and writes ramjax/weights/default.safetensors and the card beside it, default.md. It
continues where it was stopped. ``--config=experiments/release.py:accelerator`` is the same network on a GPU or TPU.

It is trained briefly on purpose: docs/predicting.md says what happens on radiographs after more steps.
"""

import pathlib
import sys

from absl import flags
from ml_collections import ConfigDict

from experiments import multitask


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
    config.train.steps, config.optimizer.final_fraction = 1000, 0.75
    if preset == "accelerator":
        config.data.batch_size, config.data.eval_batch_size, config.data.workers = 32, 32, 16
        config.model.dtype = "bfloat16"
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
    from benchmarks import card

    workdir, output = pathlib.Path(values.workdir), pathlib.Path(values.output)
    config = ramjax.load_experiment(values.config)
    run = ramjax.load(workdir) if (workdir / "eval_test.json").exists() else ramjax.train(config, workdir)
    about = card.about_training(run, workdir)
    output.parent.mkdir(parents=True, exist_ok=True)
    run.export(output, about)
    # Measured as it ships, in half precision.
    about |= card.about_reading(ramjax.load(output), pathlib.Path(values.films) if values.films else None)
    run.export(output, about)
    output.with_suffix(".md").write_text(card.card(run, about, output.name))
    print(f"{output} ({output.stat().st_size / 1e6:.1f} MB) and {output.with_suffix('.md')}")


if __name__ == "__main__":
    sys.exit(main(sys.argv))
