"""Every experiment builds, its steps have the promised shapes, and it can learn two hands by heart."""

import dataclasses
import functools
import importlib
import pathlib
import re

import jax
import numpy as np
import pytest

import experiments
from experiments import debug, multitask, release
from ramjax import config as config_lib
from ramjax import phantom
from ramjax.data.canvas import to_canvas
from ramjax.evaluation.validation import canvas_metrics_of
from ramjax.steps.evaluate import make_eval_step
from ramjax.steps.state import init_state
from ramjax.steps.train import make_train_step
from ramjax.tasks import labels_of, make_tasks
from tests.tasks.batches import random_batch

NAMES = sorted(path.stem for path in pathlib.Path(experiments.__file__).parent.glob("*.py") if path.stem != "__init__")
PRESETS = [(name, ()) for name in NAMES] + [(name, ("accelerator",)) for name in NAMES if name != "debug"]
PRESETS += [
    ("multitask", (preset,)) for preset in ("w600", "h1200+w600+phantom", "accelerator+w600", "accelerator+quick")
]
NUMBERS = ("learning_rate", "warmup_steps", "final_fraction", "ema_decay")


def get_config(name: str, *arguments: str):
    return importlib.import_module(f"experiments.{name}").get_config(*arguments)


def computed(config: config_lib.Config) -> config_lib.Config:
    """The config without what no step knows of: which records there are, where a run begins, and what is done with it.

    So a program that two experiments share is made once.
    """
    usual = config_lib.Config()
    data = {name: getattr(config.data, name) for name in ("canvas", "batch_size", "labelled_fraction", "other_hand")}
    train = {name: getattr(config.train, name) for name in ("steps", "accumulation_steps")}
    return dataclasses.replace(
        config,
        data=dataclasses.replace(usual.data, **data),
        train=dataclasses.replace(usual.train, **train),
        init=usual.init,
        evaluation=usual.evaluation,
        tracking=usual.tracking,
    )


@functools.cache
def shapes(config: config_lib.Config):
    """Shapes and dtypes of a batch, the state before and after a step of training, its metrics, and observations."""
    canvas, size = config.data.canvas, config.data.batch_size
    batch = jax.tree.map(
        lambda x: jax.ShapeDtypeStruct((size, *x.shape[1:]), x.dtype), random_batch(1, canvas.height, canvas.width)
    )
    state = jax.eval_shape(lambda: init_state(config))
    return (
        state,
        *jax.eval_shape(make_train_step(config), state, batch),
        jax.eval_shape(make_eval_step(config), state, batch),
    )


@pytest.mark.parametrize(("name", "arguments"), PRESETS)
def test_train_and_eval_steps_shape_evaluate(name, arguments):
    config = computed(config_lib.from_config_dict(get_config(name, *arguments)))
    # How long and how fast it learns are numbers in the same program.
    usual = config_lib.Config()
    numbers = {name: getattr(usual.optimizer, name) for name in NUMBERS}
    config = dataclasses.replace(
        config,
        optimizer=dataclasses.replace(config.optimizer, **numbers),
        train=dataclasses.replace(config.train, steps=usual.train.steps),
    )
    state, after, metrics, counts = shapes(config)
    assert jax.tree.map(lambda x: (x.shape, x.dtype), after) == jax.tree.map(lambda x: (x.shape, x.dtype), state)
    assert set(metrics) == {"loss", "grad_norm", "learning_rate", *(f"loss/{task}" for task in config.tasks)}
    assert all(leaf.dtype == np.float32 for leaf in jax.tree.leaves(after.params))
    assert {key.split("/")[0] for key in counts} == set(config.tasks)
    assert all(leaf.shape[0] == config.data.batch_size for leaf in jax.tree.leaves(counts))


@pytest.mark.parametrize(
    ("preset", "datasets", "weights", "canvas"),
    [
        ("", ("ram_phantom/small",), (1.0,), (448, 320)),
        ("cpu", ("ram_phantom/small",), (1.0,), (448, 320)),
        ("accelerator", ("ram_phantom/full",), (1.0,), (896, 704)),
        ("h1200", ("ram_h1200",), (2.0,), (448, 320)),
        ("w600", ("ram_w600/joint",), (1.0,), (320, 320)),
        ("w600+accelerator", ("ram_w600/joint",), (1.0,), (640, 640)),
        ("phantom+w600+h1200", ("ram_h1200", "ram_w600/joint", "ram_phantom/small"), (2.0, 1.0, 1.0), (448, 320)),
        ("accelerator+h1200+w600", ("ram_h1200", "ram_w600/joint"), (2.0, 1.0), (896, 704)),
    ],
)
def test_a_preset_names_machine_and_data(preset, datasets, weights, canvas):
    data = config_lib.from_config_dict(multitask.get_config(preset)).data
    assert (data.datasets, data.weights, (data.canvas.height, data.canvas.width)) == (datasets, weights, canvas)
    assert (data.augment.wrist_crop == 0) == (datasets == ("ram_w600/joint",))


def test_a_quick_accelerator_is_the_same_job_on_a_smaller_budget():
    quick, whole = (config_lib.from_config_dict(multitask.get_config(f"accelerator{word}")) for word in ("+quick", ""))
    assert (quick.model, quick.data, quick.tasks) == (whole.model, whole.data, whole.tasks)
    assert quick.optimizer.warmup_steps < quick.train.steps < whole.train.steps
    for wrong in ("quick", "cpu+quick"):
        with pytest.raises(ValueError, match="quick shortens accelerator alone"):
            multitask.get_config(wrong)


def test_a_deterministic_preset_differs_in_how_a_gpu_computes_alone():
    for preset in ("", "accelerator+quick", "h1200"):
        words = f"{preset}+deterministic".lstrip("+")
        plain, same_bits = (config_lib.from_config_dict(multitask.get_config(name)) for name in (preset, words))
        assert not plain.train.deterministic and same_bits.train.deterministic
        assert config_lib.trained(config_lib.to_dict(plain)) == config_lib.trained(config_lib.to_dict(same_bits))


@pytest.mark.parametrize(
    ("preset", "words"),
    [
        ("laptop", "('laptop')"), ("h1200+", "('')"), ("h1200+H1200", "('H1200')"),
        ("w600+w600", "('w600' and 'w600')"),
        ("cpu+w600+accelerator", "('cpu' and 'accelerator')"), ("h1200,w600", "('h1200,w600')"),
    ],
)  # fmt: skip
def test_impossible_presets_are_named(preset, words):
    with pytest.raises(
        ValueError, match=rf"^Unknown preset '{re.escape(preset)}' .*{re.escape(words)}; join words of "
    ):
        multitask.get_config(preset)


@functools.cache
def two_hands(height: int, width: int) -> dict[str, np.ndarray]:
    """A batch of two ill hands without augmentation."""
    hands = phantom.PhantomConfig(patients=8, scale=0.12, seed=5)
    records = [phantom.render(hands, case).record for case in phantom.cases(hands)]
    records.sort(key=lambda record: sum(max(joint.be, 0) + max(joint.jsn, 0) for joint in record.joints))
    config = config_lib.from_config_dict(debug.shrink(release.get_config()))  # whose tasks are the most
    canvas, labels = config.data.canvas, labels_of(make_tasks(config))
    assert (canvas.height, canvas.width) == (height, width)
    examples = [to_canvas(record, canvas, labels=labels) for record in records[-2:]]
    return {key: np.stack([example[key] for example in examples]) for key in examples[0]}


LEARNED = {
    "bones": lambda metrics: metrics["canvas/bones/dsc"] > 0.75,
    "erosions": lambda metrics: metrics["canvas/erosions/dsc"] > 0.4,
    "joints": lambda metrics: metrics["canvas/joints/recall_50"] > 0.9,
    "positioning": lambda metrics: (
        metrics["canvas/positioning/right_acc"] == metrics["canvas/positioning/hand_acc"] == 1
    ),
    "reconstruction": lambda metrics: metrics["canvas/reconstruction/explained"] > 0.3,
    "scores": lambda metrics: metrics["canvas/scores/be_qwk"] > 0.6 and metrics["canvas/scores/jsn_qwk"] > 0.6,
}


@functools.cache
def learn(config: config_lib.Config) -> dict[str, float]:
    """Trains on the two hands, and returns the metrics after all steps."""
    batch = two_hands(config.data.canvas.height, config.data.canvas.width)
    state = init_state(config)
    train_step = jax.jit(make_train_step(config), donate_argnums=0)
    for _ in range(config.train.steps):
        state, _ = train_step(state, batch)
    observed = jax.device_get(jax.jit(make_eval_step(config))(state, batch))
    return canvas_metrics_of(make_tasks(config), "made", [observed])


@pytest.mark.slow
@pytest.mark.parametrize("name", [name for name in NAMES if name != "debug"])  # multitask, shrunk, is debug
def test_overfits_two_hands(name):
    values = get_config(name)
    debug.shrink(values)
    values.train.steps, values.optimizer.warmup_steps, values.optimizer.learning_rate = 300, 10, 1e-2
    config = computed(config_lib.from_config_dict(values))
    metrics = learn(config)
    failed = [task for task in config.tasks if not LEARNED[task](metrics)]
    assert not failed, {key: value for key, value in metrics.items() if "dsc_" not in key and "/n" not in key}
