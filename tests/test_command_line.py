import errno
import importlib
import os
import resource
import subprocess
import sys

import pytest
from absl import flags

from ramjax import command_line, main, points, predict, prepare, report
from ramjax.config import Config, ConfigError, TrainConfig
from ramjax.errors import RunError, explain
from tests.commands import assert_one_sentence

phantom = importlib.import_module("ramjax.phantom.__main__")
sweep = importlib.import_module("ramjax.sweep.__main__")


def caused(error, cause):
    error.__cause__ = cause
    return error


MEMORY = (
    "The memory does not suffice; lower data.batch_size, data.eval_batch_size or data.canvas, raise "
    "train.accumulation_steps, or end other programs. --debug shows where."
)
FULL = OSError(errno.ENOSPC, "No space left on device")


@pytest.mark.parametrize(
    ("error", "text"),
    [
        (RunError("All is lost; try again."), "All is lost; try again."),
        (ConfigError("seed is -1; it must be 0 or above."), "seed is -1; it must be 0 or above."),
        (FULL, "The disk is full; make room and start the same command again."),
        (
            OSError(errno.ENOSPC, "No space left on device", "/a/b.json"),
            "The disk of /a/b.json is full; make room and start the same command again.",
        ),
        (caused(OSError("The data cannot be made in /d: full; name another"), FULL),
         "The data cannot be made in /d: full; name another."),
        (
            PermissionError(errno.EACCES, "Permission denied", "/a/b.json"),
            "/a/b.json cannot be written or read: permission denied; fix that, or name another folder.",
        ),
        (
            NotADirectoryError(errno.ENOTDIR, "Not a directory", "/a/b"),
            "/a/b cannot be written or read: not a directory; fix that, or name another folder.",
        ),
        (MemoryError(), MEMORY),
        (caused(ValueError("x"), OSError(errno.ENOMEM, "Cannot allocate memory")), MEMORY),
        (RuntimeError("can't start new thread"), MEMORY),
        (KeyError("two words"), "KeyError: two words. --debug shows where."),
        (ValueError(), "ValueError: ValueError. --debug shows where."),
    ],
)  # fmt: skip
def test_errors_are_one_sentence(error, text):
    assert explain(error) == text
    assert "None" not in text


def test_a_refusal_without_a_file_names_none():
    assert "None" not in explain(PermissionError(errno.EPERM, "Operation not permitted"))


@pytest.mark.slow
def test_a_training_keeps_its_compiled_programs_in_the_home_folder(tmp_path):
    environment = {key: value for key, value in os.environ.items() if key != "JAX_COMPILATION_CACHE_DIR"}
    environment |= {"HOME": str(tmp_path), "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0"}
    command = [sys.executable, "-m", "tests.faults.tiny_main", "never", "none", f"--workdir={tmp_path / 'run'}"]
    settings = ["--config=experiments/debug.py", "--config.tasks=('bones',)", "--config.train.steps=2"]
    done = subprocess.run([*command, *settings], env=environment, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    assert list((tmp_path / ".cache" / "ramjax" / "jax").glob("jit_*-cache"))


PATHS = [
    (predict, ("workdir", "input", "output")),
    (report, ("workdir", "output", "captions", "baseline")),
    (prepare, ("source", "data_dir")),
    (points, ("prediction", "points")),
    (phantom, ("output", "beside")),
    (main, ("workdir", "config")),
    (sweep, ("config", "output", "list")),
]
FLAGS = [(command, name) for command, names in PATHS for name in names]
NEEDED = {
    predict: {"workdir": "w", "input": "a.png", "output": "o"},
    report: {"workdir": "w", "output": "o.html"},
    prepare: {"dataset": "ram_w600"},
    points: {"prediction": "a", "points": "b"},
    phantom: {"output": "o.png"},
    main: {"workdir": "w", "config": "experiments/debug.py"},
    sweep: {"config": "experiments/debug.py", "output": "o"},
}


def called(command, **given) -> list[str]:
    return ["command", *(f"--{name}={value}" for name, value in (NEEDED[command] | given).items())]


@pytest.mark.parametrize(("command", "name"), FLAGS)
@pytest.mark.parametrize("empty", ["", "  "])
def test_an_empty_path_is_wrong_usage(command, name, empty, capsys):
    """As that of a variable that is not set."""
    assert command.main(called(command, **{name: empty})) == 2
    assert capsys.readouterr().err.startswith(f"Usage error: --{name} is missing.")


@pytest.mark.parametrize("value", ["a.png,,b.png", "a.png,", ",a.png", ","])
def test_an_empty_path_in_a_list_is_wrong_usage(value, capsys):
    assert predict.main(called(predict, input=value)) == 2
    assert capsys.readouterr().err.startswith("Usage error: --input is missing.")
    assert predict.main([*called(predict), ""]) == 2
    assert capsys.readouterr().err.startswith("Usage error: --input is missing.")


@pytest.mark.parametrize(("command", "name"), [flag for flag in FLAGS if flag[1] not in ("config", "baseline")])
def test_the_home_folder_can_be_short(command, name, monkeypatch):
    monkeypatch.setenv("HOME", "/my/home")
    values = flags.FlagValues()
    command.define(values, *([["command"]] if command is main else []))
    values(["command", f"--{name}=~/x"])
    value = values[name].value
    assert (value[0] if isinstance(value, list) else value) == "/my/home/x"


def test_the_home_folder_can_be_short_in_lists_and_for_experiments(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    argv = [*called(predict, input="~/a.png,~/b.png"), "~/c.png", "~"]
    values = command_line.parse("", predict.define, argv, check=predict.check, positional="input")
    assert values.input == [*(f"{tmp_path}/{name}.png" for name in "abc"), str(tmp_path)]
    (tmp_path / "mine.py").write_text(
        "from experiments import debug\ndef get_config():\n    c = debug.get_config()\n    c.seed = 77\n    return c\n"
    )
    assert main.parse(called(main, config="~/mine.py")).config.seed == 77


FLOATS = [(predict, "min_confidence"), (predict, "spacing_mm"), (phantom, "scale")]


@pytest.mark.parametrize(("command", "name"), FLOATS)
@pytest.mark.parametrize("value", ["nan", "-NaN", "inf", "-inf"])
def test_a_number_that_is_none_is_wrong_usage(command, name, value, capsys):
    assert command.main(called(command, **{name: value})) == 2
    assert name in capsys.readouterr().err


def test_an_error_does_not_control_the_terminal(capsys):
    assert predict.main(called(predict, workdir="\x1b[2J\n")) == 1
    error = capsys.readouterr().err
    assert error.startswith("Error: \\x1b[2J\\n is no run") and "\x1b" not in error
    assert predict.main(["predict", "--\x1b[2Jx"]) == 2
    assert "\x1b" not in capsys.readouterr().err


@pytest.mark.parametrize("gigabytes", [1.5, 2.5, 3.0])
def test_too_little_address_space_is_one_sentence(tmp_path, gigabytes):
    """As after ulimit -v: JAX would hang, or LLVM abort."""
    command = [sys.executable, "-m", "ramjax.main", f"--workdir={tmp_path / 'run'}", "--config=experiments/debug.py"]
    limit = int(gigabytes * 1e9)
    done = subprocess.run(
        command, capture_output=True, text=True, timeout=60,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_AS, (limit, limit)),
    )  # fmt: skip
    assert_one_sentence(done, 1, f"(ulimit -v) is {gigabytes} GB, and JAX needs about 3.3 GB", "raise the limit")
    assert not (tmp_path / "run").exists()


def test_the_address_space_of_a_training_grows_with_its_batch(monkeypatch):
    monkeypatch.setattr(resource, "getrlimit", lambda kind: (4_000_000_000, 4_000_000_000))
    command_line.check_memory()
    with pytest.raises(RunError, match=r"is 4\.0 GB, and JAX needs about 4\.4 GB .*data\.batch_size \(now 4\)"):
        command_line.check_memory(Config())
    command_line.check_memory(Config(train=TrainConfig(accumulation_steps=4)))
    monkeypatch.setattr(resource, "getrlimit", lambda kind: (resource.RLIM_INFINITY,) * 2)
    command_line.check_memory(Config())


def test_a_float_of_no_number_passes_no_flag():
    def define(values):
        flags.DEFINE_float("share", 0.5, "Of it.", 0.0, 1.0, flag_values=values)

    assert command_line.parse("", define, ["x", "--share=0.25"]).share == 0.25
    for text in ("nan", "-nan", "inf"):
        with pytest.raises(flags.Error):
            command_line.parse("", define, ["x", f"--share={text}"])
