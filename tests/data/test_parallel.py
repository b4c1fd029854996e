import os
import pathlib
import subprocess
import sys

import pytest

from ramjax.data import parallel

ROOT = pathlib.Path(__file__).parents[2]


def square(number: int) -> tuple[int, int]:
    if number < 0:
        raise ValueError(f"{number} is negative.")
    return number**2, os.getpid()


@pytest.fixture
def two_processes(monkeypatch):
    monkeypatch.setattr(parallel, "_FEW", 0)
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: {0, 1}, raising=False)


def test_results_come_in_order_from_other_processes(two_processes):
    results = list(parallel.in_order(square, list(range(20))))
    assert [value for value, _ in results] == [n**2 for n in range(20)]
    assert os.getpid() not in {pid for _, pid in results}


def test_items_are_taken_a_few_ahead_of_the_results(two_processes):
    taken = []

    def items():
        for number in range(100):
            taken.append(number)
            yield number

    results = parallel.in_order(square, items(), total=100)
    assert next(results)[0] == 0 and len(taken) <= 2 * parallel._AHEAD + 1
    assert [value for value, _ in results] == [n**2 for n in range(1, 100)]


def test_few_items_are_done_here():
    assert {pid for _, pid in parallel.in_order(square, list(range(3)))} == {os.getpid()}


def test_an_exception_of_a_process_is_raised_here(two_processes):
    results = parallel.in_order(square, [3, -1, 4])
    assert next(results)[0] == 9
    with pytest.raises(ValueError, match="-1 is negative"):
        list(results)


def test_processes_end_with_a_killed_caller():
    """They hold its output open, so the call below only returns (within the time allowed) once they are gone."""
    code = (
        "import os, sys\n"
        "sys.path.insert(0, 'tests/data')\n"
        "from test_parallel import parallel, square\n"
        "parallel._FEW, os.sched_getaffinity = 0, lambda pid: {0, 1}\n"
        "print(next(parallel.in_order(square, list(range(9))))[0], flush=True)\n"
        "os.kill(os.getpid(), 9)"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert (done.stdout, done.returncode) == ("0\n", -9), done.stderr
