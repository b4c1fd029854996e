"""The section of task affinity: means over steps and runs, and nothing where nothing was measured."""

import re

from ramjax.config import Config
from ramjax.reporting import affinity
from ramjax.reporting.runs import Run, System
from ramjax.tasks import make_tasks
from tests.reporting import fakes

TASKS = make_tasks(Config(tasks=("bones", "joints")))


def systems(*rows_of_runs):
    cases = fakes.cases(2, tasks=("bones",))
    runs = tuple(
        Run(f"run{number}", None, cases, {}, TASKS, "", list(rows), None) for number, rows in enumerate(rows_of_runs)
    )
    return [System("ours", "ours", runs)]


def row(step, cosine, forth, back):
    return {
        "step": step,
        "train/affinity/cosine/bones/joints": cosine,
        "train/affinity/transfer/bones/joints": forth,
        "train/affinity/transfer/joints/bones": back,
        "train/affinity/transfer/bones/bones": 0.5,
    }


def test_means_over_steps_and_runs():
    section = affinity.section(
        systems([row(1, 0.5, 0.01, -0.02), row(2, 0.1, 0.03, -0.02)], [row(1, 0.7, 0.01, 0)]), TASKS
    )
    words = {chart.title: chart.alt for chart in section.blocks}
    # Step 1 has the mean of both runs, 0.6; step 2 one value.
    assert "Bones and joints +0.35; Joints and bones +0.35" in words["Cosine of gradients"]
    transfer = words["Transfer (% of the loss)"]
    assert "Bones and joints +2.00 %; Joints and bones -1.50 %" in transfer
    assert "Bones → joints ends at 3.00" in words["Transfer over the steps (% of the loss)"]
    picture = section.blocks[2].svg
    assert set(re.findall(r">([+−]\d+\.\d\d)<", picture)) == {"+50.00", "+2.00", "−1.50"}


def test_the_parts_of_a_task():
    sites = TASKS[1].learned_parts
    of_part = {
        f"train/affinity/cosine/joints.{sites[2]}/{name}": value for name, value in (("bones", -0.25), ("joints", 0.5))
    }
    section = affinity.section(systems([row(1, 0.5, 0, 0) | of_part], [row(1, 0.5, 0, 0)]), TASKS)
    chart = next(chart for chart in section.blocks if chart.title == "Cosine of gradients, the parts of joints")
    assert chart.alt.endswith(f"{sites[2]} and bones -0.25; {sites[2]} and joints +0.50.")
    assert ">−0.25<" in chart.svg and sites[2] in chart.svg and sites[3] not in chart.svg


def test_nothing_where_nothing_was_measured():
    assert affinity.section(systems([{"step": 1, "train/loss": 1.0}]), TASKS) is None
