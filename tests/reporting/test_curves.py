"""Learning curves: which are shown, and that names of earlier versions are the same curves."""

import re

import pytest

from ramjax.config import Config
from ramjax.reporting import curves
from ramjax.reporting.runs import Run, System
from ramjax.tasks import make_tasks
from tests.reporting import fakes

TASKS = make_tasks(Config(tasks=("bones", "joints")))


def shown(*rows_of_runs):
    """Titles of the curves, and where each run's ends."""
    of = fakes.cases(2, tasks=("bones",))
    runs = tuple(
        Run(f"run{number}", None, of, {}, TASKS, "", list(rows), None) for number, rows in enumerate(rows_of_runs)
    )
    section = curves.section([System(run.name, run.name, (run,)) for run in runs], TASKS)
    if section is None:
        return {}
    assert len({chart.id for chart in section.blocks}) == len(section.blocks)
    return {chart.title: re.findall(r"(run\d) ends at (\d+\.\d+)", chart.alt) for chart in section.blocks}


def test_losses_of_the_tasks_then_what_selects_then_the_other_headlines():
    row = {
        "step": 5, "train/loss": 3.0, "train/loss/joints": 2.0, "train/loss/bones": 1.0, "train/loss/else": 9.0,
        "validation/selection": 0.5, "validation/canvas/joints/iou": 0.25, "validation/canvas/joints/recall_50": 0.75,
        "validation/canvas/joints/recall_75": 0.1, "validation/canvas/bones/dsc": 0.125,
        "validation/canvas/bones/dsc/n": 4, "validation/canvas/bones/dsc_Ulna": 0.1,
    }  # fmt: skip
    assert shown([row]) == {
        "Training loss": [("run0", "3.000")],
        "Training loss, bones": [("run0", "1.000")],
        "Training loss, joints": [("run0", "2.000")],
        "Validation: Bones, DSC": [("run0", "0.125")],
        "Validation: Joint sites, IoU": [("run0", "0.250")],
        "Validation: Joint sites, recall at IoU 0.5": [("run0", "0.750")],
        "Validation: selection of checkpoints": [("run0", "0.500")],
    }


@pytest.mark.parametrize(
    ("dataset", "where"), [("", ""), ("ram_w600/", ", RAM-W600"), ("ram_w600/bones/", ", ram_w600/bones")]
)
def test_names_with_and_without_canvas_are_one_curve(dataset, where):
    earlier = [{"step": step, f"validation/{dataset}bones/dsc": step / 10} for step in (1, 2)]
    now = [{"step": step, f"validation/{dataset}canvas/bones/dsc": step / 10} for step in (3, 4)]
    title = f"Validation: Bones, DSC{where}"
    assert shown(earlier, now) == {title: [("run0", "0.200"), ("run1", "0.400")]}
    assert shown([*earlier, *now]) == {title: [("run0", "0.400")]}  # it went on with a newer version


def test_data_sets_have_curves_of_their_own():
    row = {"step": 1, "validation/ram_w600/canvas/bones/dsc": 0.25, "validation/ram_phantom/canvas/bones/dsc": 0.5}
    assert shown([row]) == {
        "Validation: Bones, DSC, RAM-W600": [("run0", "0.250")],
        "Validation: Bones, DSC, Synthetic hands": [("run0", "0.500")],
    }


def test_values_that_are_no_numbers_make_no_curve():
    assert shown([{"step": 1, "train/loss": None, "validation/canvas/bones/dsc": None}]) == {}
    assert shown([{"step": 1, "train/loss": None}, {"step": 2, "train/loss": 0.5}])["Training loss"] == [
        ("run0", "0.500")
    ]
