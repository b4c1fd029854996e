"""Tasks beyond the first four are in every part of a report: the patient, and one that ramjax knows nothing of."""

import ast
import dataclasses
import html
import pathlib
import re

import numpy as np
import pytest

from ramjax import config as config_lib
from ramjax.config import Config
from ramjax.errors import RunError
from ramjax.figures.content import tables_of
from ramjax.reporting import estimates
from ramjax.reporting import runs as runs_lib
from ramjax.reporting.write import write_report
from ramjax.tasks import make_tasks, parts_of
from tests.reporting import fakes, pages

ROOT = pathlib.Path(__file__).parents[2]
OWN = "tests.reporting.own.Sharpness"
TASKS = ("bones", "patient", OWN)


def cases(seed: int = 0, count: int = 24):
    """Bones, and what the patient task and the one of `own.py` measure; of every fifth patient the age is unknown."""
    of, rng = fakes.cases(count, seed=seed, tasks=("bones",)), np.random.default_rng((seed, 3))
    hands = np.random.default_rng(5)
    sex, age = hands.integers(0, 2, count).astype(float), hands.uniform(20, 85, count)
    age[::5] = np.nan
    male = np.clip(0.5 + 0.3 * (sex - 0.5) + rng.normal(0, 0.2, count), 0.01, 0.99)
    nothing = np.full(count, np.nan)
    columns = {
        "predicted": (male > 0.5, np.nan_to_num(age, nan=50.0) + rng.normal(0, 8, count)),
        "annotated": (sex, age),
        "p0": (1 - male, nothing),
        "p1": (male, nothing),
    }
    values = {
        "patient": {name: np.stack([np.stack(both, -1).astype(float)] * 2) for name, both in columns.items()},
        "sharpness": {"off": rng.normal(0.2, 0.1 + 0.1 * seed, (2, count, 2))},
    }
    parts = parts_of(make_tasks(Config(tasks=TASKS)))
    return dataclasses.replace(of, values=of.values | values, parts=of.parts | {name: parts[name] for name in values})


def write_run(folder, of, **settings):
    made = fakes.write_run(folder, of, **{"tasks": TASKS, "own": {"sharpness": {"weight": 2.0}}, **settings})
    with (made / "metrics.jsonl").open("a") as file:
        for step in (200, 400):
            file.write(f'{{"step": {step}, "train/loss/sharpness": 0.5, "train/loss/patient": 0.25}}\n')
            file.write(f'{{"step": {step}, "validation/canvas/patient/sex_acc": 0.75, ')
            file.write('"validation/canvas/sharpness/agreement": 0.125}\n')
    return made


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    """The report of two systems; the first is two seeds."""
    folder = tmp_path_factory.mktemp("own")
    write_run(folder / "a", cases())
    write_run(folder / "b", cases(1), seed=1)
    write_run(folder / "c", cases(2), name="other")
    write_report([str(folder / name) for name in "abc"], folder / "out" / "report.html", 100)
    return folder / "out"


def test_the_fifth_task_has_a_section_with_its_values(written):
    values, text = pages.values(written / "tables.csv"), (written / "report.html").read_text()
    of = cases(2)
    (pred_sex, pred_age), (sex, age), chance = (
        of.get("patient", name).T if name != "p1" else of.get("patient", name)[:, 0]
        for name in ("predicted", "annotated", "p1")
    )
    known = np.isfinite(age)
    women, men = chance[sex == 0], chance[sex == 1]
    residual, spread = (pred_age - age)[known], age[known] - age[known].mean()
    expected = {
        "Sex, accuracy": ((pred_sex == sex).mean(), 24),
        "Sex, AUROC": (np.mean(men[:, None] > women), 24),
        "Age, MAE (years)": (np.abs(residual).mean(), known.sum()),
        "Age, R²": (1 - (residual**2).sum() / (spread**2).sum(), known.sum()),
    }
    for column, (value, n) in expected.items():
        line = values["ram-phantom-task-patient", "c", "strict", column]
        assert (float(line["value"]), int(line["n"])) == (pytest.approx(value), n), column
        assert float(line["low"]) < value < float(line["high"]), column
        assert values["ram-phantom-summary", column, "strict", "c"] | {"table": ""} == line | {
            "table": "", "row": column, "column": "c",
        }  # fmt: skip
    for row, label in enumerate(("F", "M")):
        for column, guess in enumerate(("F", "M")):
            line = values[
                "ram-phantom-patient-sex-confusion-table-system-2", f"annotated {label}", "", f"predicted {guess}"
            ]
            assert float(line["value"]) == ((sex == row) & (pred_sex == column)).sum()
    assert 'id="ram-phantom-task-patient"' in text and ">Patient</h2>" in text
    (confusion,) = re.findall(r'id="chart-ram-phantom-patient-sex-confusion-system-2".*?</svg>', text, re.DOTALL)
    assert {">F<", ">M<"} <= set(re.findall(r">[^<>]+<", confusion))
    assert f"Predicted over annotated age of {known.sum()} images." in text
    first_seed = re.search(r'id="chart-ram-phantom-patient-age-scatter-system-1".*?</figure>', text, re.DOTALL)[0]
    assert "annotated (years)" in first_seed and "Of the first seed." in first_seed
    assert {"AUROC", "R²", "DSC"} <= {row[0] for row in pages.tables(text)["definitions"]}


def test_a_task_from_outside_has_a_table_and_stands_wherever_tasks_do(written):
    values, text = pages.values(written / "tables.csv"), html.unescape((written / "report.html").read_text())
    tables = pages.tables((written / "report.html").read_text())
    off = cases(2).get("sharpness", "off")
    error = np.abs(off).mean()
    columns = ["Sharpness, error", "Sharpness, largest error", "Sharpness, offset"]
    assert tables["ram-phantom-task-sharpness"][0] == ["Run", "Evaluator", *columns]
    line = values["ram-phantom-task-sharpness", "c", "strict", "Sharpness, error"]
    assert float(line["value"]) == pytest.approx(error) and float(line["low"]) < error < float(line["high"])
    compat = values["ram-phantom-task-sharpness", "c", "compat", "Sharpness, error"]
    assert float(compat["value"]) == pytest.approx(np.abs(cases(2).get("sharpness", "off", "compat")).mean())
    largest = values["ram-phantom-task-sharpness", "c", "strict", "Sharpness, largest error"]
    assert (float(largest["value"]), largest["low"], largest["n"]) == (np.abs(off).max(), "", "48")
    rows = {(row[0], row[1]) for row in tables["ram-phantom-task-sharpness-all"][1:]}
    assert ("agreement", "strict") in rows and ("error", "compat") in rows

    summary = [row[0] for row in tables["ram-phantom-summary"]]
    assert "Sharpness, error" in summary and "Sharpness, offset" not in summary
    assert summary.index("Bones, DSC") < summary.index("Sex, accuracy") < summary.index("Sharpness, error")
    difference = values["ram-phantom-compare-1", "Sharpness, error", "strict", "Difference"]
    seeds = [np.abs(cases(seed).get("sharpness", "off")).mean() for seed in (0, 1)]
    assert float(difference["value"]) == pytest.approx(error - np.mean(seeds)) and difference["low"]
    unsure = values["ram-phantom-compare-1", "Sharpness, largest error", "strict", "Difference"]
    assert unsure["value"] and unsure["low"] == ""
    mean = values["ram-phantom-system-1-seeds", "Sharpness, error", "strict", "Mean ± SD over seeds"]
    assert float(mean["sd"]) == pytest.approx(np.std(seeds, ddof=1))
    group = cases(2).attributes["center"] == "Sapporo"
    of_group = values["ram-phantom-by-center", "c: Sapporo", "strict", "Sharpness, offset"]
    assert (float(of_group["value"]), int(of_group["n"])) == (pytest.approx(off[group].mean()), group.sum())

    for words in (
        "Worst sharpness: c", "By the error of sharpness, the worst first.", "Training loss, sharpness",
        "Validation: Sex, accuracy", "Validation: sharpness/agreement", "How far off the sharpness is.",
    ):  # fmt: skip
        assert words in text, words
    assert ["Blank halves", "Left out.", "Count as 0."] in tables["evaluators"]
    assert "Higher is better, but lower for: Bones, MSD; Age, MAE (years); Sharpness, error;" in text
    assert "Lower is better; 0 is best for: Sharpness, offset." in text


def test_the_pictures_of_a_further_task_are_its_worst(written):
    text = html.unescape((written / "report.html").read_text())
    off = np.abs(cases(2).get("sharpness", "off")).mean(1)
    gallery = text.split('id="gallery-ram-phantom-system-2-worst-sharpness"')[1].split("</section>")[0]
    shown = re.findall(r"<figcaption>(.*?)</figcaption>", gallery)
    worst = np.argsort(-off)[:3]
    assert shown == [f"{cases(2).attributes['id'][index]}: {off[index]:.3f}" for index in worst]


def test_a_task_without_headlines_shows_all_it_measured():
    from tests.reporting.own import Sharpness, SharpnessConfig

    class Plain(Sharpness):
        headlines = ()

    task = Plain(SharpnessConfig())
    of = cases()
    run = runs_lib.Run("a", None, of, {"seed": 0}, (task,), "", [], None)
    several = [estimates.measure(runs_lib.System("a", "system-1", (run,)), "ram_phantom", [task])]
    (section,) = task.sections(several)
    (table,) = tables_of((section,))
    assert [(row.name, row.mode) for row in table.rows] == [
        ("error", "strict"), ("largest", "strict"), ("offset", "strict"), ("agreement", "strict"), ("error", "compat"),
    ]  # fmt: skip
    without = dataclasses.replace(of, values={"bones": of.values["bones"]})
    run = dataclasses.replace(run, cases=without)
    assert task.sections([estimates.measure(runs_lib.System("a", "s", (run,)), "ram_phantom", [task])]) == []


def test_runs_with_other_tasks_share_one_report(tmp_path):
    """Each has rows of its own; what one alone measured is not compared."""
    write_run(tmp_path / "a", cases())
    fakes.write_run(tmp_path / "b", fakes.cases(24, tasks=("bones", "be"), skill=0.7), name="other")
    write_report([str(tmp_path / "b"), str(tmp_path / "a")], tmp_path / "out" / "report.html", 100)
    tables = pages.tables((tmp_path / "out" / "report.html").read_text())
    assert [row[0] for row in tables["ram-phantom-summary"]][:2] == ["Metric", "Bones, DSC"]
    for table in ("patient", "sharpness"):
        assert {row[0] for row in tables[f"ram-phantom-task-{table}"][1:]} == {"a"}
    assert tables["ram-phantom-task-sharpness-all"][0] == ["Metric", "Evaluator", "a"]
    meanings = {row[0]: row[1] for row in tables["definitions"][1:]}
    assert "a site with" in meanings["AUROC"] and "an image of the class" in meanings["AUROC (patient)"]
    rows = {row[0]: row[1:] for row in tables["ram-phantom-summary"][1:]}
    assert list(rows)[-2:] == ["Sharpness, error", "Sharpness, largest error"]  # from outside, so the last
    assert rows["BE, QWK"][1] == rows["Sex, accuracy"][0] == "–"
    compared = {row[0] for row in tables["ram-phantom-compare-1"][1:]}
    assert "Bones, DSC" in compared and not compared & {"BE, QWK", "Sex, accuracy", "Sharpness, error"}


def test_nothing_in_the_report_or_the_sweep_names_a_task():
    """No text of their code, docstrings aside, is the name of a task or of a group of values, or begins with one."""
    tasks = [task for name in config_lib.TASK_NAMES for task in make_tasks(Config(tasks=(name,)))]
    names = {task.name for task in tasks} | set(parts_of(tasks))
    texts = []
    for path in [*(ROOT / "ramjax" / "reporting").glob("*.py"), *(ROOT / "ramjax" / "sweep").glob("*.py")]:
        tree = ast.parse(path.read_text())
        bare = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
        texts += [
            (path.name, node.value)
            for node in ast.walk(tree)
            if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in bare
        ]
    assert len(texts) > 100
    # ``patient`` is an attribute of every case, too.
    assert [of for of in texts if re.split("[/_@]", of[1])[0] in names and of[1] != "patient"] == []


def test_values_of_a_task_that_the_run_does_not_have_are_an_error(tmp_path):
    folder = write_run(tmp_path / "a", cases(), tasks=("bones", OWN))
    with pytest.raises(RunError, match=r"has values of patient, which no task .* \(bones, sharpness\); evaluate"):
        runs_lib.read_runs([folder])


def test_a_task_that_cannot_be_imported_is_an_error(tmp_path):
    folder = write_run(tmp_path / "a", cases(), tasks=("bones", "patient", "tests.reporting.own.Gone"))
    with pytest.raises(RunError, match=r"config\.json cannot be used: tasks names tests\.reporting\.own\.Gone"):
        runs_lib.read_runs([folder])


def test_two_tasks_of_one_name_do_not_stand_in_one_report(tmp_path):
    tasks = {"a": TASKS, "b": ("bones", "patient", "tests.reporting.own.Other")}
    folders = [write_run(tmp_path / name, cases(), tasks=of) for name, of in tasks.items()]
    with pytest.raises(RunError, match=r"own\.Sharpness and tests\.reporting\.own\.Other are both called sharpness"):
        runs_lib.tasks_of(runs_lib.read_runs(folders))
