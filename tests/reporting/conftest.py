"""Reports that several files of tests look at: making one takes seconds."""

import pytest

from ramjax.reporting.write import write_report
from tests.reporting import fakes

REPLICATES = 100


@pytest.fixture(scope="session")
def runs(tmp_path_factory):
    """Two seeds of a network, a worse one that was tested on fewer hands, and one of wrists on the papers' grid."""
    folder = tmp_path_factory.mktemp("runs")
    fakes.write_run(folder / "a", fakes.cases(24))
    fakes.write_run(folder / "b", fakes.cases(24, seed=1), seed=1)
    fakes.write_run(folder / "worse", fakes.cases(20, seed=2, skill=0.6), name="other")
    tasks = ("bones", "pairs", "joints", "be")
    wrists = fakes.cases(40, dataset="ram_w600", tasks=tasks, grid="square512", run="wrists")
    fakes.write_run(folder / "wrists", wrists, pictures=False, curves=False)
    return folder


@pytest.fixture(scope="session")
def single(runs, tmp_path_factory):
    folder = tmp_path_factory.mktemp("single")
    write_report([str(runs / "a")], folder / "report.html", REPLICATES)
    return folder


@pytest.fixture(scope="session")
def several(runs, tmp_path_factory):
    folder = tmp_path_factory.mktemp("several")
    write_report([str(runs / name) for name in ("a", "b", "worse")], folder / "report.html", REPLICATES)
    return folder


@pytest.fixture(scope="session")
def wrists(runs, tmp_path_factory):
    folder = tmp_path_factory.mktemp("wrists")
    write_report([str(runs / "wrists")], folder / "report.html", REPLICATES)
    return folder
