"""Examples that a device makes beside those that OpenCV makes of the same parameters."""

import jax
import numpy as np

from ramjax import anatomy
from ramjax import config as config_lib
from ramjax.config import DataConfig
from ramjax.data import augment as augmentation
from ramjax.data import canvas as canvases
from ramjax.data import plan
from ramjax.record import Record
from ramjax.steps import rendering
from ramjax.tasks import labels_of, make_tasks

LABELS = labels_of(make_tasks(config_lib.Config()))


def planes_of(record: Record, shape: tuple[int, int]) -> dict[str, np.ndarray]:
    """As the cache keeps them: in the corner of a larger array, whose rest here is full of what must not be seen."""
    words = np.ascontiguousarray(record.bones).view("<u4")[..., 0]
    kept = {}
    for name, plane in (("image", record.image), ("bones", words), ("erosions", record.erosions)):
        kept[name] = np.full(shape, np.iinfo(plane.dtype).max, plane.dtype)
        kept[name][: plane.shape[0], : plane.shape[1]] = plane
    return kept


def levels_of(record: Record, data: DataConfig, seed: int) -> np.ndarray | None:
    """The noise that the host draws."""
    rng = np.random.default_rng(seed)
    canvas, augment = data.canvas, data.augment
    augmentation.vary_placement(canvases.place(record, canvas, rng), record, canvas, augment, rng)
    return augmentation.draw_grey(augment, canvas.height, canvas.width, rng).levels


def both(record: Record, data: DataConfig, render, seed: int, shape: tuple[int, int]) -> tuple[dict, dict]:
    """An example of the host, and the same of the devices with the host's noise."""
    canvas, augment = data.canvas, data.augment
    expected = canvases.to_canvas(record, canvas, augment, np.random.default_rng(seed), LABELS)
    planned = plan.draw(record, canvas, augment, np.random.default_rng(seed), LABELS)
    made = render(planes_of(record, shape), planned, levels_of(record, data, seed))
    return expected, jax.tree.map(np.asarray, made)


def renderer_of(data: DataConfig, records):
    scale = min(canvases.scale_of(record, data.canvas) for record in records)
    return jax.jit(rendering.make_renderer(data, LABELS, 0, scale))


def assert_alike(made: dict, expected: dict) -> None:
    """The same keys, types and shapes; grey values to 2/255 but for a thousandth; masks, boxes and all else."""
    assert made.keys() == expected.keys()
    for name, value in expected.items():
        assert made[name].shape == np.shape(value) and made[name].dtype == np.asarray(value).dtype, name
    assert (np.abs(made["image"] - expected["image"]) > 2 / 255).mean() <= 0.001
    assert (made["padding"] != expected["padding"]).mean() <= 0.001
    for k in range(anatomy.NUM_BONES):
        one, other = made["bones"] >> k & 1, expected["bones"] >> k & 1
        if one.sum() + other.sum():
            assert 2 * (one & other).sum() / (one.sum() + other.sum()) >= 0.995, anatomy.BONES[k]
    assert (made["erosions"] != expected["erosions"]).mean() <= 0.001
    np.testing.assert_allclose(made["boxes"], expected["boxes"], atol=1e-3)
    for name in expected.keys() - {"image", "padding", "bones", "erosions", "boxes"}:
        np.testing.assert_array_equal(made[name], expected[name], err_msg=name)


def compare(records: list[Record], data: DataConfig, draws: int) -> None:
    render = renderer_of(data, records)
    height, width = np.max([record.image.shape for record in records], axis=0)
    shape = height + 5, width + 3
    for seed in range(draws):
        expected, made = both(records[seed % len(records)], data, render, seed, shape)
        assert_alike(made, expected)
