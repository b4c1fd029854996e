"""The check of an accelerator: what comes of stages that pass, fail, hang or cannot run; and all of it in miniature."""

import json
import sys
import time

import pytest

from benchmarks import accelerator_check as check
from benchmarks.accelerator_check import Stage


def stage(name: str, code: str, limit: float = 60.0, needs: str = "") -> Stage:
    rows = check._tests_rows if name == "tests" else lambda numbers: [("number", f"{numbers['number']} | 2")]
    return Stage(name, (sys.executable, "-c", code), limit, rows, needs)


PASSES = stage("passes", 'print(\'begun\'); print(\'{"number": 7, "device": "Abacus"}\')')
FAILS = stage("fails", "print('Error: no such thing'); raise SystemExit(3)")
TELLS_NOTHING = stage("tells_nothing", "print('done')")
HANGS = stage("hangs", "import subprocess; subprocess.run(['sleep', '99'])", 1)
NEEDS = stage("needs", "print('{}')", needs="no_such_module")


def test_what_fails_is_named_and_the_others_are_kept(tmp_path):
    began = time.monotonic()
    results = check.check([PASSES, FAILS, TELLS_NOTHING, HANGS, NEEDS, PASSES], tmp_path, budget=60, small=False)
    assert time.monotonic() - began < 30
    statuses = {name: result.status for name, result in results.items()}
    assert statuses == {
        "passes": "passed", "fails": "failed", "tells_nothing": "failed", "hangs": "too long", "needs": "left out",
    }  # fmt: skip
    whole = json.loads((tmp_path / "check.json").read_text())
    assert whole["device"] == "Abacus" and not whole["small"]
    assert whole["stages"]["passes"]["numbers"] == {"number": 7, "device": "Abacus"}
    assert whole["stages"]["fails"]["said"] == "Error: no such thing"
    assert "after 1 s" in whole["stages"]["hangs"]["said"] and "no_such_module" in whole["stages"]["needs"]["said"]
    assert (tmp_path / "passes.log").read_text().startswith("begun")
    rows = (tmp_path / "check.md").read_text().splitlines()
    assert rows[0] == "| Abacus | |" and "| number | 7 \\| 2 |" in rows
    assert all(row.replace("\\|", "").count("|") == 3 for row in rows)
    for name, status in statuses.items():
        assert any(row.startswith(f"| **{name}** | {status}") for row in rows)


def test_all_stages_together_have_a_budget(tmp_path):
    long = stage("long", "import time; time.sleep(99)")
    results = check.check([long, PASSES], tmp_path, budget=1, small=False)
    assert [result.status for result in results.values()] == ["too long", "left out"]


@pytest.mark.parametrize(
    ("printed", "status", "numbers"),
    [
        ("2 failed, 5 passed, 1 skipped in 3.10s", "passed", {"failed": 2, "passed": 5, "skipped": 1}),
        ("===== 4 skipped in 0.1s =====", "failed", {"skipped": 4}),
    ],
)
def test_tests_that_were_all_skipped_have_not_passed(tmp_path, printed, status, numbers):
    result = check.run(stage("tests", f"print({printed!r})"), tmp_path / "log", 60)
    assert (result.status, result.numbers) == (status, numbers)


def test_exit_codes_and_what_is_said(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(check, "stages", lambda small, data_dir: [PASSES, FAILS])
    assert check.main(["check", f"--output={tmp_path}", "--stages=passes"]) == 0
    assert "| number |" in capsys.readouterr().out
    assert check.main(["check", f"--output={tmp_path}"]) == 1
    assert capsys.readouterr().err == "Stage fails: failed, Error: no such thing\n"
    assert check.main(["check", "--stages=nothing"]) == 2
    assert "any of passes, fails" in capsys.readouterr().err


def test_a_dry_run_tells_every_stage(capsys):
    for small in ("--small", "--nosmall"):
        assert check.main(["check", "--dry_run", small]) == 0
        out = capsys.readouterr().out.splitlines()
        assert [line.split()[0] for line in out] == ["tests", "training", "utilisation", "step", "compiled"]
        assert ("accelerator" in out[1]) == (small == "--nosmall")


@pytest.mark.slow
def test_the_whole_check_in_miniature(data_dir, tmp_path, capsys):
    """Every stage for real, on whatever is here; PyTorch may be missing."""
    code = check.main(["check", "--small", f"--output={tmp_path}", f"--data_dir={data_dir}", "--budget=1500"])
    out = capsys.readouterr()
    assert code == 0, out.err
    stages = json.loads((tmp_path / "check.json").read_text())["stages"]
    for name in ("tests", "training", "utilisation", "step"):
        assert stages[name]["status"] == "passed" and stages[name]["numbers"]
    assert "the numbers mean nothing" in out.out and "until `bones/dsc` >= 0.93" in out.out
