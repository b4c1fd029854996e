import ctypes
import os
import pathlib
import signal
import subprocess
import sys

import pytest

from ramjax.data import parallel
from ramjax.errors import RunError, explain

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


def die(number: int) -> int:
    """Ends its process at 11, as native code does or the kernel for want of memory."""
    if number == 11:
        os.kill(os.getpid(), DEADLY)
    return number


def die_of_a_segmentation_fault(number: int) -> int:
    return ctypes.string_at(0) if number == 11 else number


def exit_at_once(number: int) -> int:
    return os._exit(3) if number == 11 else number


DEADLY = signal.SIGKILL


@pytest.mark.parametrize(
    ("function", "words"),
    [
        (die, "(signal 9); likely memory ran out"),
        (die_of_a_segmentation_fault, "(signal 11); if it is damaged, fetch it again"),
        (exit_at_once, "(exit code 3); if it is damaged"),
    ],
)
def test_a_process_that_dies_names_the_file_it_was_at(two_processes, function, words):
    taken = []
    with pytest.raises(RunError) as error:
        taken += parallel.in_order(function, list(range(40)), name=lambda number: f"films/{number}.bmp")
    assert str(error.value).startswith("The process that worked on films/11.bmp died " + words)
    assert "\n" not in explain(error.value)


def test_other_exceptions_name_the_file_that_was_read(two_processes):
    with pytest.raises(ZeroDivisionError) as error:
        list(parallel.in_order(divide, [1, 2, 0, 4], name=lambda number: f"films/{number}.bmp"))
    assert explain(error.value) == "ZeroDivisionError (at films/0.bmp): division by zero. --debug shows where."


def test_other_exceptions_of_few_items_name_the_file_too():
    with pytest.raises(ZeroDivisionError) as error:
        list(parallel.in_order(divide, [1, 0], name=lambda number: f"films/{number}.bmp"))
    assert "at films/0.bmp" in explain(error.value)


def divide(number: int) -> float:
    return 1 / number


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
