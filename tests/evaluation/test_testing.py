"""The evaluation of a split: every record once, on its own grid, whatever canvas the network sees."""

import dataclasses
import functools

import jax
import numpy as np
import pytest

from ramjax.config import Config
from ramjax.data import pipeline
from ramjax.devices import sharding
from ramjax.errors import RunError
from ramjax.evaluation import predictions, testing
from ramjax.evaluation.split_metrics import summarize
from ramjax.metrics import cases as cases_lib
from ramjax.steps.state import init_state
from ramjax.tasks import make_tasks, parts_of
from ramjax.written import RECORD


@pytest.fixture
def config(debug_config):
    """Three records, so that the last batch of two is filled up."""
    return dataclasses.replace(debug_config, data=dataclasses.replace(debug_config.data, test_split="train[:3]"))


PARTS = parts_of(make_tasks(Config()))


def with_settings(config, **changes):
    return dataclasses.replace(config, evaluation=dataclasses.replace(config.evaluation, **changes))


def with_canvas(config, **changes):
    canvas = dataclasses.replace(config.data.canvas, **changes)
    return dataclasses.replace(config, data=dataclasses.replace(config.data, canvas=canvas))


@functools.cache
def state_of(config, seed: int = 0):
    return init_state(dataclasses.replace(config, seed=seed))


def evaluate(config, states=None, **options):
    mesh = sharding.make_mesh(dataclasses.replace(config, mesh=dataclasses.replace(config.mesh, data=1)))
    (source,) = pipeline.open_sources(config.data, config.data.test_split)
    states = [state_of(config)] if states is None else states
    return testing.evaluate_source(config, states, source, mesh=mesh, dataset=0, name="hands", quiet=True, **options)


def collect(evaluated):
    return cases_lib.collect([one.case for one in evaluated], {"run": "x"}, PARTS)


def test_every_record_is_measured_once_in_order_and_pictured(config, tmp_path):
    (source,) = pipeline.open_sources(config.data, config.data.test_split)
    evaluated = evaluate(config)
    assert [one.case.attributes["id"] for one in evaluated] == [source[i].id for i in range(3)]
    folder = tmp_path / "pictures"
    cases = testing.write(tmp_path, {"hands": evaluated}, {"run": "x"}, make_tasks(config), 2)
    assert sorted(path.name for path in folder.iterdir()) == [f"hands-{i:05}.jpg" for i in range(3)]
    assert all((tmp_path / picture).read_bytes()[:2] == b"\xff\xd8" for picture in cases.attributes["picture"])
    assert (tmp_path / "test_grid.png").read_bytes().startswith(b"\x89PNG")
    again = cases_lib.read(tmp_path / "cases.parquet")
    np.testing.assert_array_equal(again.get("bones", "dsc"), cases.get("bones", "dsc"))
    metrics = summarize(make_tasks(config), cases)
    assert metrics["bones/dsc/n"] == 3 and metrics["scores/be_qwk/n"] == np.isfinite(cases.get("be", "annotated")).sum()
    assert metrics["joints/recall_50/n"] == (cases.get("joints", "present") == 1).sum()
    for name in list(metrics):
        assert name.endswith("/n") or f"{name}/n" in metrics


def test_only_pictures_of_an_earlier_evaluation_are_removed(config, tmp_path):
    folder, evaluated = tmp_path / "pictures", evaluate(config)

    def write(count):
        return testing.write(tmp_path, {"hands": evaluated[:count]}, {"run": "x"}, make_tasks(config), 2)

    write(3)
    (tmp_path / RECORD).unlink()  # as an older version left it: only the cases name the pictures
    own = {"hands-00009.jpg": b"mine", "hands-00001.jpg": b"with arrows", "notes.txt": b"of mine"}
    write(3)
    for name, content in own.items():
        (folder / name).write_bytes(content)
    (folder / "more").mkdir()
    cases = write(2)
    assert {name: (folder / name).read_bytes() for name in own} == own
    assert cases.attributes["picture"].tolist() == ["pictures/hands-00000.jpg", "pictures/hands-00001-2.jpg"]
    names = {"hands-00000.jpg", "hands-00001-2.jpg", "more", *own}
    assert {path.name for path in folder.iterdir()} == names


def test_a_part_left_out_or_counted_twice_is_an_error(config, monkeypatch):
    whole = predictions.predict_split

    def short(*arguments, **options):
        yield from list(whole(*arguments, **options))[1:]

    monkeypatch.setattr(predictions, "predict_split", short)
    with pytest.raises(RuntimeError, match="saw 2 cases of a split of 3"):
        evaluate(config)


def test_it_can_be_stopped_before_every_batch(config):
    looks = []

    def check():
        looks.append(1)
        if len(looks) == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        evaluate(config, check=check)


def test_a_window_that_shows_everything_gives_what_the_canvas_gives(config):
    """Records of one size at a scale at which they just fit the canvas: one tile, the same answer."""
    (source,) = pipeline.open_sources(config.data, config.data.test_split)
    canvas = config.data.canvas
    record = source[0]
    scale = min(canvas.height / record.image.shape[0], canvas.width / record.image.shape[1])
    one = dataclasses.replace(config, data=dataclasses.replace(config.data, test_split="train[:1]"))
    fit, window = evaluate(one), evaluate(with_canvas(one, sizing="scale", scale=scale))
    a, b = collect(fit), collect(window)
    np.testing.assert_allclose(a.get("be", "p0"), b.get("be", "p0"), atol=1e-4)
    np.testing.assert_allclose(a.get("joints", "confidence"), b.get("joints", "confidence"), atol=1e-4)
    np.testing.assert_allclose(a.get("bones", "dsc"), b.get("bones", "dsc"), atol=1e-3)


def test_a_canvas_smaller_than_the_records_is_moved_over_them(config):
    crops = with_canvas(config, sizing="scale", scale=1.0)
    (source,) = pipeline.open_sources(crops.data, "train[:2]")
    states = [state_of(config)]
    mesh = sharding.make_mesh(crops)
    for index, prediction in predictions.predict_split(crops, states, source, mesh=mesh):
        height, width = source[index].image.shape
        stride = prediction.canvas_height / prediction.maps["bones"].shape[0]
        assert prediction.maps["bones"].shape[0] * stride >= height > crops.data.canvas.height
        assert prediction.maps["bones"].shape[1] * stride >= width
        assert np.isfinite(prediction.maps["bones"]).all() and prediction.maps["boxes"].shape == (22, 4)
    cases = collect(evaluate(dataclasses.replace(crops, data=dataclasses.replace(crops.data, test_split="train[:2]"))))
    assert len(cases) == 2


def predict(config, states, images):
    return jax.device_get(jax.jit(predictions.make_predict(config))(states, images))


def test_averaging_is_as_the_settings_say(config):
    images = np.random.default_rng(0).random((1, 128, 96, 1)).astype(np.float32)
    a, b = state_of(config), state_of(config, seed=1)
    one, other = predict(config, (a,), images), predict(config, (b,), images)
    both = predict(with_settings(config, ensemble=("elsewhere",)), (a, b), images)
    np.testing.assert_allclose(both["bones"], (one["bones"] + other["bones"]) / 2, atol=1e-5)
    flipped = predict(config, (a,), np.ascontiguousarray(images[:, :, ::-1]))["bones"][:, :, ::-1]
    mirrored = predict(with_settings(config, mirror=True), (a,), images)
    np.testing.assert_allclose(mirrored["bones"], (one["bones"] + flipped) / 2, atol=1e-5)
    scaled = predict(with_settings(config, scales=(1.0, 0.8)), (a,), images)
    assert np.abs(scaled["bones"] - one["bones"]).max() > 1e-4 and np.isfinite(scaled["be"]).all()


def test_scores_at_annotated_boxes_cannot_be_averaged(config):
    alone = with_settings(dataclasses.replace(config, tasks=("bones", "scores")), mirror=True)
    with pytest.raises(RunError, match=r"evaluation\.mirror, evaluation\.scales and evaluation\.ensemble"):
        predictions.make_predict(alone)


@pytest.mark.parametrize("tasks", [("scores",), ("bones", "scores")])
def test_a_window_cannot_read_scores_at_annotated_boxes(config, tasks):
    crops = with_canvas(dataclasses.replace(config, tasks=tasks), sizing="scale", scale=1.0)
    with pytest.raises(RunError, match=r"train joints too, or set data\.canvas\.sizing to fit"):
        evaluate(crops, [None])


def test_scores_alone_are_read_at_the_annotated_boxes(config):
    alone = dataclasses.replace(config, tasks=("scores",))
    cases = collect(evaluate(alone, [state_of(alone)]))
    assert set(cases.values) == {"be", "jsn"}
    graded = np.isfinite(cases.get("be", "annotated"))
    assert np.isfinite(cases.get("be", "predicted")[graded]).all()


@pytest.mark.parametrize("grid", ["native", "square512"])
def test_both_grids_are_measured(config, grid):
    cases = collect(evaluate(with_settings(config, grid=grid)))
    (source,) = pipeline.open_sources(config.data, config.data.test_split)
    side = 512 if grid == "square512" else source[0].image.shape[0]
    expected = cases.get("joints", "annotated_ymax")[0]
    boxes = {joint.site: joint.bbox[2] * side for joint in source[0].joints}
    np.testing.assert_allclose(np.sort(expected[np.isfinite(expected)]), sorted(boxes.values()), rtol=1e-5)
