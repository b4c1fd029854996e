"""What the measuring programs share: turns, table, command line, memory."""

import json
import os
import time

import pytest
from absl import flags

from benchmarks import common


def define(values):
    flags.DEFINE_integer("size", 3, "Of it.", 1, flag_values=values)


def test_ways_take_turns_of_two_calls():
    calls = []
    seconds = common.take_turns({"a": lambda: calls.append("a"), "b": lambda: calls.append("b")}, repeats=3)
    assert "".join(calls) == "aabb" * 3
    assert seconds.keys() == {"a", "b"}


def test_median_of_the_turns():
    naps = iter([0.5, 0.001, 0.5, 0.5, 0.5, 0.002])  # every other one counts
    assert common.take_turns({"a": lambda: time.sleep(next(naps))}, repeats=3)["a"] < 0.4


def test_last_line_is_json(capsys):
    assert common.run(["x", "--size=5", "--json"], "About.", define, lambda values: {"side": values.size}) == 0
    lines = capsys.readouterr().out.splitlines()
    assert json.loads(lines[-1]) == {"side": 5}
    assert lines[0].split() == ["side", "5"]


def test_table_leaves_out_what_was_not_measured():
    assert common.table({"a": 1.23456, "b": None, "c": "cpu"}).split() == ["a", "1.235", "c", "cpu"]


@pytest.mark.parametrize("flag", ["--size=0", "--wrong"])
def test_wrong_usage(flag, capsys):
    assert common.run(["x", flag], "About.", define, lambda values: {}) == 2
    assert "Usage error: " in capsys.readouterr().err


def test_failure_is_one_sentence(capsys):
    def fail(values):
        raise ValueError("Split 'x' is unknown; name another.")

    assert common.run(["x"], "About.", define, fail) == 1
    assert "Split 'x' is unknown; name another." in capsys.readouterr().err


def test_help(capsys):
    assert common.run(["x", "--help"], "About.", define, lambda values: {}) == 0
    assert {"About.", "--size:", "--[no]json:"} <= set(capsys.readouterr().out.split())


def _grown() -> float:
    before = common.resident_gb(os.getpid())
    block = bytearray(200_000_000)
    block[::4096] = b"x" * len(block[::4096])
    return common.resident_gb(os.getpid()) - before


def test_resident_memory_grows_with_what_is_touched():
    """In a process of its own: in this one, the end of others that share its pages counts too."""
    assert common.apart(_grown) == pytest.approx(0.2, abs=0.02)
