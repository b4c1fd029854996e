"""The evaluation benchmark, in miniature."""

import json
import math
import re

import numpy as np
import pytest

from benchmarks import evaluation
from ramjax.metrics.segmentation import segmentation_metrics

MINIATURE = {"shape": (180, 140), "scale": 0.1}
NAMED = {name for name in re.findall(r"`(\w+)`", evaluation.__doc__) if not name.endswith("_metrics")}


def test_without_monai_ours_is_measured_and_the_rest_is_not_known():
    numbers = evaluation.measure(hands=32, repeats=1, monai=False, **MINIATURE)
    assert numbers.keys() == NAMED
    assert {name for name, value in numbers.items() if value is None} == set(evaluation._OF_MONAI)
    assert all(value > 0 for value in numbers.values() if value is not None)
    assert 0.03 < numbers["rss_gb"] < 0.3  # an interpreter with numpy, OpenCV and scipy, without JAX


def test_monai_is_measured_beside_ours_and_agrees():
    pytest.importorskip("monai", reason="needs the extra 'parity'")
    numbers = evaluation.measure(hands=32, repeats=1, monai=True, **MINIATURE)
    assert numbers.keys() == NAMED and None not in numbers.values()
    assert numbers["ratio"] == pytest.approx(numbers["monai_seconds_per_hand"] / numbers["seconds_per_hand"])
    assert 1 < numbers["ratio_published"] < numbers["ratio"]
    assert all(numbers[name] <= most for name, most in evaluation.AGREEMENT.items())


def test_the_hand_lies_in_the_middle_and_its_prediction_has_the_usual_mistakes():
    truth = evaluation.make_truth(**MINIATURE)
    assert truth.shape == (180, 140, 30) and truth.any((0, 1)).all()
    lines = [np.flatnonzero(truth.any((axis, 2))) for axis in (1, 0)]
    assert all(abs(there[0] + there[-1] + 1 - size) < 20 for there, size in zip(lines, (180, 140), strict=True))
    large = np.repeat(np.repeat(truth, 4, 0), 4, 1)  # bones of more than the few pixels by which masks are off
    pred = evaluation.imagine(large, np.random.default_rng(0))
    np.testing.assert_array_equal(pred, evaluation.imagine(large, np.random.default_rng(0)))
    metrics = segmentation_metrics(pred, large)
    assert metrics["missed"].sum() == 3
    found = metrics["missed"] == 0
    assert 0.5 < np.median(metrics["dsc"][found]) < 0.99
    assert (metrics["dsc"][found] < 1).all() and metrics["hd95"][found].max() > 20


def test_differences_are_by_the_value_and_infinite_where_what_is_undefined_differs():
    def of(*values):
        return {"planes": {"msd": np.array(values)}}

    def differ(ours, theirs):
        return evaluation.max_difference(ours, theirs, ["msd"])

    assert differ(of(math.nan, math.inf, 1.0), of(math.nan, math.inf, 1.0)) == 0
    assert differ(of(0.5, 0.1), of(0.25, 0.1)) == 0.25
    assert differ(of(110.0), of(100.0)) == pytest.approx(0.1)
    for ours, theirs in ((math.nan, 1.0), (1.0, math.nan), (math.nan, math.inf), (math.inf, -math.inf)):
        assert differ(of(ours), of(theirs)) == math.inf


@pytest.mark.parametrize(("difference", "code"), [(1e-8, 0), (1e-5, 1), (math.inf, 1), (math.nan, 1)])
def test_disagreement_with_monai_fails(difference, code, monkeypatch, capsys):
    numbers = dict.fromkeys(NAMED, 2.0) | {"max_difference": difference, "max_difference_hd95": 1e-5}
    monkeypatch.setattr(evaluation, "measure", lambda hands, repeats, monai: numbers)
    monkeypatch.setattr(evaluation.importlib.util, "find_spec", lambda name: name)
    assert evaluation.main(["evaluation", "--json"]) == code
    out, err = capsys.readouterr()
    assert set(json.loads(out.splitlines()[-1])) == NAMED
    assert ("do not agree" in err) == bool(code) and "not installed" not in out


def test_without_monai_it_is_said_how_to_get_it(monkeypatch, capsys):
    numbers = dict.fromkeys(NAMED, 2.0) | dict.fromkeys(evaluation._OF_MONAI)
    monkeypatch.setattr(evaluation, "measure", lambda hands, repeats, monai: numbers)
    monkeypatch.setattr(evaluation.importlib.util, "find_spec", lambda name: None)
    assert evaluation.main(["evaluation", "--json"]) == 0
    *_, note, line = capsys.readouterr().out.splitlines()
    assert "[parity]" in note and json.loads(line)["ratio"] is None


def test_mistakes_are_usage_errors(capsys):
    assert evaluation.main(["evaluation", "--hands=3"]) == 2
    assert "hands" in capsys.readouterr().err
