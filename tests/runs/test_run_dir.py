import dataclasses
import json
import multiprocessing
import pathlib
import subprocess

import jax
import pytest

from ramjax import config as config_lib
from ramjax.errors import RunError
from ramjax.runs import run_dir


def with_steps(config, steps):
    return dataclasses.replace(config, train=dataclasses.replace(config.train, steps=steps))


def test_the_config_comes_back(tmp_path, debug_config):
    run_dir.prepare(tmp_path / "a" / "run", debug_config)
    run_dir.claim(tmp_path / "a" / "run", debug_config)
    assert run_dir.load_config(tmp_path / "a" / "run") == debug_config
    run_dir.prepare(tmp_path / "a" / "run", debug_config)  # the same again is welcome


def test_another_config_is_refused_by_its_first_key(tmp_path, debug_config):
    run_dir.claim(tmp_path, debug_config)
    before = (tmp_path / "config.json").read_bytes()
    with pytest.raises(RunError, match=r"belongs to another config: train\.steps is 6 there and 7 here; name another"):
        run_dir.prepare(tmp_path, with_steps(debug_config, 7))
    assert (tmp_path / "config.json").read_bytes() == before


def test_where_and_how_fast_may_change(tmp_path, debug_config):
    run_dir.claim(tmp_path, debug_config)
    data = dataclasses.replace(debug_config.data, data_dir="elsewhere", workers=3, prefetch=9)
    train = dataclasses.replace(debug_config.train, log_every=5, keep_checkpoints=7)
    moved = dataclasses.replace(
        debug_config, data=data, train=train, mesh=dataclasses.replace(debug_config.mesh, data=1)
    )
    run_dir.prepare(tmp_path, moved)
    run_dir.claim(tmp_path, moved)
    assert (
        run_dir.load_config(tmp_path) == moved
    )  # an evaluation that names only the folder looks where the data are now
    with pytest.raises(RunError, match=r"data\.batch_size is 2 there and 4 here"):
        run_dir.prepare(tmp_path, dataclasses.replace(moved, data=dataclasses.replace(data, batch_size=4)))


@pytest.mark.parametrize("text", ["", "{", "[]", "{}", '{"packages": 3, "data": {}, "git": ""}', "\x00"])
def test_a_damaged_record_of_versions_is_one_sentence(tmp_path, text):
    (tmp_path / "versions.json").write_text(text)
    with pytest.raises(RunError, match=r"versions\.json is damaged \(.*\); restore it from a copy, or delete it .*\.$"):
        run_dir.write_about(tmp_path, PARAMS, {"train": "aa"})


@pytest.mark.parametrize("text", ["{", "[]", "{}", '{"seed": "x"}'])
def test_a_damaged_config_is_one_sentence(tmp_path, debug_config, text):
    (tmp_path / "config.json").write_text(text)
    with pytest.raises(RunError, match=r"config\.json cannot be read \(.*\); restore it from a copy\.$"):
        run_dir.prepare(tmp_path, debug_config)


def test_a_folder_that_is_no_run_says_so(tmp_path):
    with pytest.raises(RunError, match="is no run of ramjax"):
        run_dir.load_config(tmp_path)


def test_a_file_is_no_workdir(tmp_path, debug_config):
    (tmp_path / "file").write_text("mine")
    with pytest.raises(RunError, match="is a file; name a folder"):
        run_dir.prepare(tmp_path / "file", debug_config)
    assert (tmp_path / "file").read_text() == "mine"


def _hold(workdir, held, leave):
    with run_dir.locked(workdir):
        held.set()
        leave.wait(30)


def test_two_runs_do_not_share_a_workdir(tmp_path):
    context = multiprocessing.get_context("spawn")
    held, leave = context.Event(), context.Event()
    other = context.Process(target=_hold, args=(tmp_path, held, leave))
    other.start()
    assert held.wait(60)
    with pytest.raises(RunError, match="Another run is training in"), run_dir.locked(tmp_path):
        pass
    leave.set()
    other.join(30)
    with run_dir.locked(tmp_path):  # free again
        assert other.exitcode == 0


def _array(*shape):
    return jax.ShapeDtypeStruct(shape, "float32")


PARAMS = {
    "encoder": {"stem": {"kernel": _array(3, 3, 1, 8), "bias": _array(8)}},
    "heads": {"bones": {"kernel": _array(8, 30)}},
}


def test_the_parameter_table_counts():
    lines = [line.split() for line in run_dir.parameter_table(PARAMS).splitlines()]
    assert ["encoder/stem/kernel", "(3,", "3,", "1,", "8)", "float32", "72"] in lines
    assert ["encoder/stem", "80"] in lines
    assert ["encoder", "80"] in lines
    assert ["heads/bones", "240"] in lines
    assert lines[-1] == ["total", "320"]


def test_versions_name_the_code_and_the_machine(tmp_path):
    run_dir.write_about(tmp_path, PARAMS, {"train": "aa"})
    about = json.loads((tmp_path / "versions.json").read_text())
    assert about["packages"]["jax"] == jax.__version__
    assert about["devices"] == [jax.devices()[0].device_kind]
    code = pathlib.Path(run_dir.__file__).parent
    here = subprocess.run(["git", "rev-parse", "HEAD"], capture_output=True, text=True, cwd=code)
    assert about["git"].removesuffix("-dirty") == (here.stdout.strip() if here.returncode == 0 else "unknown")
    assert "total" in (tmp_path / "parameters.txt").read_text()


def test_other_data_are_refused_and_the_same_are_noted(tmp_path):
    run_dir.write_about(tmp_path, PARAMS, {"train": "aa", "validation": "bb"})
    run_dir.write_about(tmp_path, PARAMS, {"train": "aa", "validation": "bb"})
    assert len(json.loads((tmp_path / "versions.json").read_text())["continued"]) == 1
    with pytest.raises(RunError, match=r"^The validation data differ from those .* began with; name another"):
        run_dir.write_about(tmp_path, PARAMS, {"train": "aa", "validation": "cc"})


def test_config_json_is_the_resolved_config(tmp_path, debug_config):
    run_dir.claim(tmp_path, debug_config)
    assert config_lib.from_dict(json.loads((tmp_path / "config.json").read_text())) == debug_config
    assert [path.name for path in tmp_path.iterdir()] == ["config.json"]  # nothing half-written stays
