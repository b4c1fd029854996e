"""`python -m ramjax.report`: what it says, what it writes, and mistakes."""

import os
import pathlib
import subprocess
import sys

import pytest

from ramjax import command_line, report
from ramjax.errors import RunError
from ramjax.reporting import REPLICATES
from ramjax.reporting.write import write_report
from ramjax.written import RECORD
from tests.commands import assert_one_sentence
from tests.reporting import fakes

ROOT = pathlib.Path(__file__).parent.parent


@pytest.fixture(scope="module")
def run(tmp_path_factory) -> pathlib.Path:
    return fakes.write_run(tmp_path_factory.mktemp("runs") / "a", fakes.cases(6, tasks=("be",)), curves=False)


def call(*flags: str) -> subprocess.CompletedProcess:
    command = [sys.executable, "-m", "ramjax.report", *flags]
    return subprocess.run(command, capture_output=True, text=True, cwd=ROOT, timeout=300)


def test_it_says_where_everything_went(run, tmp_path):
    output = tmp_path / "new" / "report.html"
    done = call(f"--workdir={run}", f"--output={output}", "--replicates=100")
    assert done.returncode == 0, done.stderr
    assert f"Report: {output}" in done.stdout and "tables.tex" in done.stdout and "not a medical device" in done.stdout
    written = ["cases.parquet", "report.html", "tables.csv", "tables.tex"]
    assert sorted(os.listdir(output.parent)) == [RECORD, *written]


def test_without_output_it_is_in_the_run(run):
    values = command_line.parse(
        report.__doc__, report.define, ["report", f"--workdir={run}", "--workdir=other"], check=report.check
    )
    assert values.output == str(run / "report" / "report.html") and values.replicates == REPLICATES


def test_it_takes_no_device(run, tmp_path):
    """The tasks import JAX; but a backend would take most of an accelerator's memory from the training beside."""
    code = f"""
import sys
from ramjax import report
assert report.main(["report", "--workdir={run}", "--output={tmp_path}/r.html", "--replicates=100"]) == 0
assert not [name for name in sys.modules if name.partition(".")[0] in ("tensorflow", "torch")]
from jax._src import xla_bridge
assert not xla_bridge.backends_are_initialized()
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, timeout=300)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        ((), ("--workdir is missing", "--help")),
        (("--workdir=RUN", "--output=report.pdf"), ("report.pdf", "ends in .html")),
        (("--workdir=RUN", "--output=r.html", "--replicates=5"), ("replicates",)),
        (("--workdir=RUN", "--output=r.html", "more"), ("'more' is not a flag",)),
        (("--workdirs=RUN", "--output=r.html"), ("workdirs",)),
        (
            ("--workdir=RUN", "--name=a", "--name=b"),
            ("--name is given 2 times and --workdir 1", "name each run, or none"),
        ),
        (("--workdir=RUN", "--name= "), ("--name is empty",)),
    ],
)
def test_wrong_usage(run, flags, words, capsys):
    assert report.main(["report", *(flag.replace("RUN", str(run)) for flag in flags)]) == 2
    last = capsys.readouterr().err.strip().splitlines()[-1]
    assert last.startswith("Usage error: ") and all(word in last for word in words)


def test_help_tells_it_all(capsys):
    assert report.main(["report", "--help"]) == 0
    text = capsys.readouterr().out
    for word in (
        "--workdir",
        "--output",
        "--replicates",
        "--name",
        "--baseline",
        "--tables",
        "--captions",
        "tables.csv",
        "cases.parquet",
        "Exit codes",
        "medical device",
    ):
        assert word in text


@pytest.mark.parametrize(
    ("workdir", "output", "words"),
    [
        ("RUN/nowhere", "r.html", ("nowhere is no folder", "run directory")),
        ("RUN", "RUN/report.html", ("would replace cases.parquet of a run", "name another folder")),
        ("RUN", "OUT/folder.html", ("is a folder", "name a file in it")),
        ("RUN", "OUT/file/report.html", ("cannot be written", "name another place")),
    ],
)
def test_what_cannot_be_done_is_a_sentence(run, tmp_path, workdir, output, words):
    (tmp_path / "folder.html").mkdir()
    (tmp_path / "file").write_text("")
    before = sorted(tmp_path.rglob("*"))
    paths = [path.replace("RUN", str(run)).replace("OUT", str(tmp_path)) for path in (workdir, output)]
    done = call(f"--workdir={paths[0]}", f"--output={paths[1]}", "--replicates=100")
    assert_one_sentence(done, 1, *words)
    assert sorted(tmp_path.rglob("*")) == before


def test_what_was_there_stays_when_the_new_cannot_be_written(run, tmp_path, monkeypatch):
    output = tmp_path / "report.html"
    write_report([str(run)], output, 100)
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir() if path.name != RECORD}
    real = pathlib.Path.open

    def full(self, *args, **kwargs):
        if "tables.tex" in self.name and self.suffix == ".tmp":
            raise OSError(28, "No space left on device", str(self))
        return real(self, *args, **kwargs)

    monkeypatch.setattr(pathlib.Path, "open", full)
    other = fakes.write_run(tmp_path.parent / f"{tmp_path.name}-other", fakes.cases(8, tasks=("be",)), curves=False)
    with pytest.raises(RunError, match="the disk is full; make room and start again"):
        write_report([str(other)], output, 100)
    monkeypatch.undo()
    after = {path.name: path.read_bytes() for path in tmp_path.iterdir() if path.name != RECORD}
    assert after == before
