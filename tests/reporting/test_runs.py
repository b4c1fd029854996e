"""Reading runs, and what speaks against reporting them."""

import json

import numpy as np
import pytest

from ramjax.errors import RunError
from ramjax.files import write_json
from ramjax.reporting import runs
from tests.reporting import fakes


def bare_run(folder, of=None, **settings):
    return fakes.write_run(folder, of or fakes.cases(2, tasks=("be",)), pictures=False, curves=False, **settings)


def test_a_run_is_all_that_its_folder_tells(tmp_path):
    folder = fakes.write_run(tmp_path / "a", fakes.cases(4), seed=3)
    with (folder / "metrics.jsonl").open("a") as file:
        file.write('{"step": 1020, "train/lo')  # a killed run leaves this
    (run,) = runs.read_runs([folder])
    assert (run.name, run.parameters, len(run.cases)) == ("a", 3_199_445, 4)
    assert run.git.startswith("0123") and run.config["seed"] == 3 and run.cases.about["seed"] == 3
    assert run.curves[-1]["step"] == 1000 and "train/loss" in run.curves[0]


def test_what_need_not_be_there(tmp_path):
    folder = bare_run(tmp_path / "a")
    for name in ("versions.json", "parameters.txt"):
        (folder / name).unlink()
    (run,) = runs.read_runs([folder])
    assert (run.git, run.parameters, run.curves) == ("unknown", None, [])


@pytest.mark.parametrize("total", [b"3,199\xff445", b",", "\u0663".encode(), b"9" * 5000])
def test_a_damaged_count_of_parameters_is_none(tmp_path, total):
    folder = bare_run(tmp_path / "a")
    (folder / "parameters.txt").write_bytes(b"total  " + total + b"\n")
    (run,) = runs.read_runs([folder])
    assert run.parameters is None


def test_names_tell_folders_of_the_same_name_apart(tmp_path):
    folders = [bare_run(tmp_path / parent / "run") for parent in ("one", "two")]
    assert [run.name for run in runs.read_runs(folders)] == ["one/run", "two/run"]


def test_runs_that_differ_in_the_seed_are_one_system(tmp_path):
    folders = [
        bare_run(tmp_path / "a", seed=0),
        bare_run(tmp_path / "b", name="other"),
        bare_run(tmp_path / "c", seed=1),
        bare_run(tmp_path / "d", seed=2),
    ]
    systems = runs.as_systems(runs.read_runs(folders))
    assert [[run.name for run in system.runs] for system in systems] == [["a", "c", "d"], ["b"]]
    assert [system.name for system in systems] == ["a and 2 more seeds", "b"]


def test_a_run_of_an_older_version_is_of_the_same_system(tmp_path):
    folders = [bare_run(tmp_path / "a", seed=0), bare_run(tmp_path / "b", seed=1)]
    write_json(folders[1] / "config.json", runs.read_runs(folders)[1].config)
    assert [len(system.runs) for system in runs.as_systems(runs.read_runs(folders))] == [2]


def test_other_ways_to_evaluate_and_the_same_seed_again_are_systems_of_their_own(tmp_path):
    mirrored = fakes.cases(2, tasks=("be",), mirror=True)
    folders = [bare_run(tmp_path / "a"), bare_run(tmp_path / "b", mirrored, seed=1), bare_run(tmp_path / "c")]
    for folder, grid in zip(folders, ("native", "square512", "native"), strict=True):
        config = json.loads((folder / "config.json").read_text()) | {"evaluation": {"grid": grid}}  # of training
        (folder / "config.json").write_text(json.dumps(config))
    systems = runs.as_systems(runs.read_runs(folders))
    assert [system.name for system in systems] == ["a", "b", "c"]
    assert [system.key for system in systems] == ["system-1", "system-2", "system-3"]


def test_names_that_are_given(tmp_path):
    folders = [bare_run(tmp_path / "a"), bare_run(tmp_path / "b", seed=1), bare_run(tmp_path / "c", name="other")]
    found = runs.read_runs(folders, ["Baseline", "Baseline", "With dropout"])
    assert [run.name for run in found] == ["Baseline, seed 0", "Baseline, seed 1", "With dropout"]
    assert [system.name for system in runs.as_systems(found)] == ["Baseline", "With dropout"]
    found = runs.read_runs(folders, ["First", "Second", "With dropout"])
    assert [system.name for system in runs.as_systems(found)] == ["First and 1 more seed", "With dropout"]


@pytest.mark.parametrize(
    ("seeds", "methods", "names", "words"),
    [
        ((0, 1), ("one", "other"), ("X", "X"), "--name=X is given to .*a and .*b, which are not seeds of one method"),
        ((0, 0), ("one", "one"), ("X", "X"), "--name=X is given to .*a and .*b, which are not seeds of one method"),
        ((0, 1, 2), ("one",) * 3, ("X", "X", "X, seed 0"), "Two runs would both be named X, seed 0; give them other"),
    ],
)
def test_names_that_cannot_be(tmp_path, seeds, methods, names, words):
    folders = [bare_run(tmp_path / "abc"[i], seed=seeds[i], name=methods[i]) for i in range(len(seeds))]
    with pytest.raises(RunError, match=words):
        runs.read_runs(folders, names)


def test_a_system_is_found_by_its_name_or_that_of_a_run_or_folder(tmp_path):
    folders = [bare_run(tmp_path / "a"), bare_run(tmp_path / "b", seed=1), bare_run(tmp_path / "c", name="other")]
    systems = runs.as_systems(runs.read_runs(folders, ["Base", "Base", "Other"]))
    for wanted in ("Base", "Base, seed 1", str(tmp_path / "a"), f"{tmp_path}/c/../b"):
        assert runs.find_system(systems, wanted) is systems[0]
    assert runs.find_system(runs.as_systems(runs.read_runs(folders)), "c").name == "c"
    with pytest.raises(RunError, match="--baseline=a is none of the systems; name one of: Base, Other"):
        runs.find_system(systems, "a")
    with pytest.raises(RunError, match="--baseline=Base has nothing beside it"):
        runs.find_system(systems[:1], "Base")


def test_shared_cases_come_in_the_order_of_the_first():
    first, second = fakes.cases(6), fakes.cases(6).take(np.array([5, 3, 1, 0]))
    a, b = runs.shared_cases([first, second])
    assert a.attributes["id"].tolist() == b.attributes["id"].tolist() == first.attributes["id"][[0, 1, 3, 5]].tolist()
    np.testing.assert_array_equal(a.get("be", "annotated"), b.get("be", "annotated"))
    assert len(runs.shared_cases([first, fakes.cases(4, dataset="ram_w600")])[0]) == 0


def broken(folder):
    """How each kind of folder is made, and the words that its sentence needs."""
    unfinished = bare_run(folder / "unfinished")
    (unfinished / "cases.parquet").unlink()
    untested = bare_run(folder / "untested")
    (untested / "cases.parquet").unlink()
    (untested / "checkpoints" / "best" / "750").mkdir(parents=True)
    damaged = bare_run(folder / "damaged")
    (damaged / "cases.parquet").write_bytes(b"PAR1")
    config = bare_run(folder / "config")
    (config / "config.json").write_text("{")
    (folder / "empty").mkdir()
    (folder / "file").write_text("")
    return {
        "unfinished": ["was not evaluated", "no checkpoint", "start its training again"],
        "untested": ["was not evaluated", f"python -m ramjax.main --workdir={untested} --mode=eval"],
        "damaged": ["cases.parquet cannot be read", "evaluate the run again"],
        "config": ["config.json cannot be read", "restore it from a copy"],
        "empty": ["is no run of ramjax", "no config.json"],
        "file": ["is no folder", "run directory"],
        "absent": ["is no folder", "run directory"],
    }


@pytest.mark.parametrize("kind", ["unfinished", "untested", "damaged", "config", "empty", "file", "absent"])
def test_what_is_no_finished_run_is_said_in_a_sentence(tmp_path, kind):
    words = broken(tmp_path)[kind]
    with pytest.raises(RunError) as error:
        runs.read_runs([tmp_path / kind])
    for word in [str(tmp_path / kind), *words]:
        assert word in str(error.value)


def test_a_run_is_named_once(tmp_path):
    folder = bare_run(tmp_path / "a")
    (tmp_path / "link").symlink_to(folder)
    for twice in (folder, f"{folder}/", tmp_path / "link"):
        with pytest.raises(RunError, match="is named twice; name each run once"):
            runs.read_runs([folder, twice])


@pytest.mark.parametrize(
    ("key", "value"), [("split", "validation"), ("grid", "square512"), ("tolerance", 1.0), ("unit", "mm")]
)
def test_evaluations_that_differ_do_not_stand_in_one_table(tmp_path, key, value):
    one = bare_run(tmp_path / "a")
    other = bare_run(tmp_path / "b", fakes.cases(2, tasks=("be",), **{key: value}))
    with pytest.raises(
        RunError, match=f"evaluated with {key} {value} and .*; evaluate them alike, or report them apart"
    ):
        runs.read_runs([one, other])


def test_metrics_that_are_no_rows_are_passed_over(tmp_path):
    folder = bare_run(tmp_path / "a")
    (folder / "metrics.jsonl").write_text(json.dumps([1]) + "\n" + json.dumps({"step": 1, "train/loss": None}) + "\n")
    assert runs.read_runs([folder])[0].curves == [{"step": 1, "train/loss": None}]
