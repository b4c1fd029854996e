"""The report of a sweep of ablations."""

import numpy as np
import pytest

from benchmarks import ablations_table
from ramjax import report as command
from ramjax.config import Config
from ramjax.errors import RunError
from ramjax.metrics import statistics
from ramjax.reporting import estimates, questions
from ramjax.reporting.runs import as_systems, read_runs
from ramjax.runs.questions import Question, save
from ramjax.tasks import make_tasks
from tests.reporting import fakes, pages

REPLICATES = 100


@pytest.fixture(scope="module")
def sweep(tmp_path_factory):
    """Two questions with a baseline in common, a better and a worse arm, one that only has bones, and missing runs."""
    folder = tmp_path_factory.mktemp("sweep")
    for seed in (0, 1):
        fakes.write_run(folder / f"base,seed={seed}", fakes.cases(24, seed=seed), seed=seed, pictures=False)
        worse = fakes.cases(24, seed=10 + seed, skill=0.6)
        fakes.write_run(folder / f"worse,seed={seed}", worse, seed=seed, name="worse", pictures=False)
    bones = fakes.cases(24, seed=5, tasks=("bones", "pairs"))
    fakes.write_run(folder / "bones,seed=0", bones, name="bones", pictures=False, tasks=["bones"])
    seeds = ("base,seed=0", "base,seed=1")
    asked = [
        Question(
            "encoder", "Which encoder?", {"residual": seeds, "small": ("worse,seed=0", "worse,seed=1")}, "Take care."
        ),
        Question("joint", "Joint or single?", {
            "joint": seeds, "bones": ("bones,seed=0", "bones,seed=1"), "scores": ("scores,seed=0",),
        }),
        Question("other", "Anything else?", {"a": ("a,seed=0",), "b": ("b,seed=0",)}),
    ]  # fmt: skip
    save(asked, folder)
    return folder


@pytest.fixture(scope="module")
def page(sweep, tmp_path_factory):
    output = tmp_path_factory.mktemp("page") / "report.html"
    assert command.main(["report", f"--sweep={sweep}", f"--output={output}", f"--replicates={REPLICATES}"]) == 0
    return output


def test_each_question_has_a_table_and_charts_of_its_arms(page):
    text, tables = page.read_text(), pages.tables(page.read_text())
    assert all(f"<h2>{title}</h2>" in text for title in ("Which encoder?", "Joint or single?", "Anything else?"))
    assert "<p>Take care.</p>" in text
    means = tables["ram-phantom-encoder-means"]
    assert [row[0] for row in means[1:]] == ["residual", "small"] and [row[1] for row in means[1:]] == ["2", "2"]
    columns = ["Bones, DSC", "Erosions, DSC of any", "Joint sites, IoU", "BE, QWK", "JSN, QWK"]
    assert means[0][3:] == columns
    for name in ("bones-dsc", "joints-iou", "scores-jsn-qwk"):
        assert f'id="chart-ram-phantom-encoder-{name}"' in text
    single = tables["ram-phantom-joint-differences"]
    assert [row[0] for row in single[1:]] == ["bones"]
    assert [cell == "–" for cell in single[1][1:]] == [False, True, True, True, True]
    assert 'id="chart-ram-phantom-joint-bones-dsc"' in text and 'id="chart-ram-phantom-joint-joints-iou"' not in text


def test_what_is_missing_is_named(page):
    text = page.read_text()
    assert "Not finished: bones,seed=1 and scores." in text
    assert "None of its runs is finished." in text


def test_differences_are_paired_with_the_baseline_and_corrected_within_their_question(page, sweep):
    """Against the statistics taken by hand."""
    tasks = make_tasks(Config())
    runs = read_runs([sweep / f"{name},seed={seed}" for name in ("worse", "base") for seed in (0, 1)])
    metrics = [estimates.metrics_of(tasks, run.cases, "strict") for run in runs]
    by_hand, patients = [], runs[0].cases.attributes["patient"]
    for headline in questions.primary(tasks):
        of = [metric[headline.metric] for metric in metrics]
        data = [metric.data for metric in of]
        by_hand.append(
            statistics.compare(
                data[:2], data[2:], of[0].statistic, patients, replicates=REPLICATES, seed=estimates.SEED
            )
        )
    corrected = statistics.holm([it.p_value for it in by_hand])
    values = pages.values(page.with_name("tables.csv"))
    for headline, comparison, p in zip(questions.primary(tasks), by_hand, corrected, strict=True):
        row = values["ram-phantom-encoder-differences", "small", "strict", headline.title]
        np.testing.assert_allclose(
            [float(row[key]) for key in ("value", "low", "high")],
            [comparison.difference, comparison.low, comparison.high],
        )
        assert float(values["ram-phantom-encoder-p", "small", "strict", headline.title]["value"]) == pytest.approx(p)
    assert by_hand[0].high < 0  # the worse arm is worse


def test_the_answers_as_markdown(page, capsys):
    assert ablations_table.main(["ablations_table", str(page.with_name("tables.csv"))]) == 0
    text, values = capsys.readouterr().out, pages.values(page.with_name("tables.csv"))
    cell = values["ram-phantom-encoder-differences", "small", "strict", "Bones, DSC"]
    numbers = [f"{float(cell[key]):+.3f}".replace("-", "−") for key in ("value", "low", "high")]
    assert float(values["ram-phantom-encoder-p", "small", "strict", "Bones, DSC"]["value"]) > 0.05  # of 100 replicates
    (line,) = [line for line in text.splitlines() if line.startswith("| small ")]
    assert line.split(" | ")[1] == f"{numbers[0]} ({numbers[1]} to {numbers[2]})"
    (line,) = [line for line in text.splitlines() if line.startswith("| bones ")]
    assert [cell.strip() != "" for cell in line.split("|")[3:-1]] == [False] * 4
    mean = values["ram-phantom-encoder-means", "residual", "strict", "Bones, DSC"]
    assert f"| residual | {float(mean['value']):.3f} ± {float(mean['sd']):.3f} |" in text
    assert ablations_table.main(["ablations_table"]) == 2


def test_an_interval_that_cannot_reach_the_level_says_so(page):
    words = "With 100 replicates none of them can be below 0.099; --replicates=1000 lets the smallest be 0.01."
    assert words in page.read_text()


def test_the_baseline_of_two_questions_is_one_system(sweep):
    asked, names = questions.find_runs(sweep)
    assert names["base,seed=0"] == "residual / joint" and "bones,seed=1" not in names
    systems = as_systems(read_runs([sweep / name for name in names], list(names.values())))
    assert [(system.name, len(system.runs)) for system in systems] == [
        ("residual / joint", 2), ("small", 2), ("bones", 1),
    ]  # fmt: skip
    assert len(asked) == 3


def test_arms_of_one_name_are_told_apart_by_their_questions(tmp_path):
    for name in ("one", "other"):
        fakes.write_run(tmp_path / name, fakes.cases(8), name=name, pictures=False)
    save([Question("width", "a", {"large": ("one",)}), Question("depth", "b", {"large": ("other",)})], tmp_path)
    assert questions.find_runs(tmp_path)[1] == {"one": "width: large", "other": "depth: large"}


def test_a_sweep_of_which_nothing_is_finished(tmp_path):
    save([Question("width", "a", {"large": ("one",)})], tmp_path)
    with pytest.raises(RunError, match=r"No run of the sweep in .* is finished"):
        questions.find_runs(tmp_path)


@pytest.mark.parametrize("flag", ["--workdir=runs/a", "--baseline=a"])
def test_a_sweep_has_its_own_runs(flag, sweep, capsys):
    assert command.main(["report", f"--sweep={sweep}", flag]) == 2
    assert "of its own; leave out --" in capsys.readouterr().err
