"""A network that finds discs, and radiographs that show them: stand-ins with a known answer."""

import json
import pathlib

import cv2
import jax
import jax.numpy as jnp
import numpy as np

from experiments import debug
from ramjax import anatomy
from ramjax.config import Config, from_config_dict, to_dict
from ramjax.inference.network import PredictFn, TrainedNetwork
from ramjax.runs.checkpoints import Checkpoints
from ramjax.steps.state import init_state
from ramjax.tasks import Task, make_tasks
from ramjax.tasks.patient import Patient

STRIDE = 2
BOX = 5.0
"""Half the side of a predicted box, in canvas pixels."""


def config(**canvas) -> Config:
    """The debug experiment with changes of its canvas."""
    values = debug.get_config()
    values.data.canvas.update(canvas)
    return from_config_dict(values)


def disc_image(height: int, width: int, x: float, y: float, radius: float) -> np.ndarray:
    """uint8 (height, width), 250 inside the disc and 10 outside; (x, y) are continuous coordinates."""
    rows, columns = np.mgrid[:height, :width] + 0.5
    return np.where((columns - x) ** 2 + (rows - y) ** 2 <= radius**2, 250, 10).astype(np.uint8)


def predict_discs(images: np.ndarray) -> dict[str, np.ndarray]:
    """Calls everything bright the bone Radius and an SvdH-BE-50 erosion; every site sits at its centre of mass.

    Confidence is 0.9 where that centre lies in the left half of the canvas (a right hand's thumb), else 0.6.
    Every BE is 2 and every JSN 1.
    """
    b, h, w, _ = images.shape
    small = np.stack([cv2.resize(i[..., 0], (w // STRIDE, h // STRIDE), interpolation=cv2.INTER_AREA) for i in images])
    bones = np.zeros((*small.shape, anatomy.NUM_BONES), np.float32)
    bones[..., anatomy.BONE_INDEX["Radius"]] = small
    erosions = np.zeros((*small.shape, anatomy.NUM_EROSION_LABELS), np.float32)
    erosions[..., 0], erosions[..., 2] = 1 - small, small
    boxes = np.zeros((b, anatomy.NUM_SITES, 4), np.float32)
    confidence = np.zeros((b, anatomy.NUM_SITES), np.float32)
    for i, image in enumerate(images[..., 0]):
        mass = np.where(image > 0.5, image, 0)
        if mass.sum() == 0:
            continue
        y = (mass.sum(1) * (np.arange(h) + 0.5)).sum() / mass.sum()
        x = (mass.sum(0) * (np.arange(w) + 0.5)).sum() / mass.sum()
        boxes[i] = y - BOX, x - BOX, y + BOX, x + BOX
        confidence[i] = 0.9 if x < w / 2 else 0.6
    be, jsn = np.zeros((b, anatomy.NUM_SITES, 6), np.float32), np.zeros((b, anatomy.NUM_SITES, 5), np.float32)
    be[..., 2], jsn[..., 1] = 1, 1
    return {"bones": bones, "erosions": erosions, "boxes": boxes, "confidence": confidence, "be": be, "jsn": jsn}


def network(predict: PredictFn = predict_discs, tasks: tuple[Task, ...] = (), **canvas) -> TrainedNetwork:
    """The fake network as a trained one, of the debug experiment's tasks unless others are named."""
    of = config(**canvas)
    return TrainedNetwork(of, tasks or make_tasks(of), "fake", 7, {}, predict)


def predict_patients(images: np.ndarray) -> dict[str, np.ndarray]:
    """As `predict_discs`, and every patient is a woman of 54.06 years with a probability of 0.8."""
    b = len(images)
    sex, age = np.tile(np.float32((0.8, 0.2)), (b, 1)), np.full(b, 54.06, np.float32)
    return {**predict_discs(images), "patient_sex": sex, "patient_age": age}


def patient_network(**canvas) -> TrainedNetwork:
    """The fake network with the patient task."""
    return network(predict_patients, (*make_tasks(config(**canvas)), Patient()), **canvas)


def save_run(workdir: pathlib.Path, config: Config) -> pathlib.Path:
    """Makes the run directory of a network with random weights."""
    workdir.mkdir()
    (workdir / "config.json").write_text(json.dumps(to_dict(config)))
    rng = np.random.default_rng(0)
    shapes = jax.eval_shape(lambda: init_state(config))
    with Checkpoints(workdir / "checkpoints") as checkpoints:
        checkpoints.save_latest(0, jax.tree.map(lambda s: jnp.asarray(rng.normal(0, 0.1, s.shape), s.dtype), shapes))
    return workdir
