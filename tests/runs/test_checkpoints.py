import errno
import logging
import pathlib
import shutil

import flax.struct
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ramjax.errors import RunError
from ramjax.runs.checkpoints import Checkpoints


@flax.struct.dataclass
class State:
    step: jax.Array
    params: dict
    opt_state: tuple


def make_state(step: int) -> State:
    key = jax.random.key(step)
    params = {"layer": {"kernel": jax.random.normal(key, (31, 17)), "0": jnp.ones(3, jnp.bfloat16)}}
    return State(jnp.int32(step), params, (jnp.uint32(7), {"mu": jnp.full((5,), jnp.inf)}, ()))


@pytest.fixture
def abstract():
    sharding = jax.sharding.SingleDeviceSharding(jax.devices()[0])
    shapes = jax.eval_shape(lambda: make_state(0))
    return jax.tree.map(lambda leaf: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=sharding), shapes)


@pytest.fixture
def folder(tmp_path) -> pathlib.Path:
    """Steps 1 to 4 with the latest two kept; the best is that of step 2."""
    with Checkpoints(tmp_path / "checkpoints", keep=2) as checkpoints:
        for step in range(1, 5):
            checkpoints.save_latest(step, make_state(step))
            if step == 2:
                checkpoints.save_best(step, make_state(step), score=0.25)
    return tmp_path / "checkpoints"


def assert_same(one, other):
    assert jax.tree.structure(one) == jax.tree.structure(other)
    for a, b in zip(jax.tree.leaves(one), jax.tree.leaves(other), strict=True):
        assert a.dtype == b.dtype
        np.testing.assert_array_equal(np.asarray(a), np.asarray(b))


def steps_in(folder: pathlib.Path) -> set[str]:
    return {path.name for path in folder.iterdir() if path.is_dir()}


def flip_a_bit(step_folder: pathlib.Path) -> None:
    """In the middle of the largest file: array data, not an index."""
    largest = max((path for path in step_folder.rglob("*") if path.is_file()), key=lambda path: path.stat().st_size)
    content = bytearray(largest.read_bytes())
    content[len(content) // 2] ^= 4
    largest.write_bytes(content)


def truncate(step_folder: pathlib.Path) -> None:
    for path in step_folder.rglob("*"):
        if path.is_file():
            path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def empty(step_folder: pathlib.Path) -> None:
    shutil.rmtree(step_folder)
    step_folder.mkdir()


def test_the_latest_and_the_best_stay_and_come_back_whole(folder, abstract):
    assert steps_in(folder / "latest") == {"3", "4"}
    assert steps_in(folder / "best") == {"2"}
    checkpoints = Checkpoints(folder, keep=2)
    assert_same(checkpoints.restore_latest(abstract), make_state(4))
    assert_same(checkpoints.restore_best(abstract), make_state(2))
    assert checkpoints.best_step == 2
    assert checkpoints.best_score == 0.25


def test_a_better_one_replaces_the_best_and_a_step_is_saved_once(folder, abstract):
    checkpoints = Checkpoints(folder, keep=2)
    checkpoints.save_best(4, make_state(4), score=0.5)
    checkpoints.save_latest(4, make_state(1))  # the step is there: nothing to do
    checkpoints.wait()
    assert steps_in(folder / "best") == {"4"}
    assert checkpoints.best_score == 0.5
    assert_same(checkpoints.restore_latest(abstract), make_state(4))


def test_nothing_saved_is_no_error(tmp_path, abstract):
    checkpoints = Checkpoints(tmp_path / "new")
    assert checkpoints.restore_latest(abstract) is None
    assert checkpoints.restore_best(abstract) is None
    assert checkpoints.best_step is None
    assert checkpoints.best_score is None


@pytest.mark.parametrize("damage", [flip_a_bit, truncate, empty])
def test_a_damaged_newest_is_set_aside_and_the_one_before_is_taken(folder, abstract, caplog, damage):
    damage(folder / "latest" / "4")
    checkpoints = Checkpoints(folder, keep=2)
    with caplog.at_level(logging.WARNING):
        restored = checkpoints.restore_latest(abstract)
    assert_same(restored, make_state(3))
    if damage is not empty:  # an empty folder is no checkpoint to Orbax
        assert "latest/4 is damaged" in caplog.text
        assert steps_in(folder / "damaged") == {"latest-4"}
    checkpoints.save_latest(4, make_state(4))  # the run reaches the step again
    checkpoints.wait()
    assert_same(checkpoints.restore_latest(abstract), make_state(4))


def contents(folder):
    return {path: path.read_bytes() if path.is_file() else None for path in folder.rglob("*")}


def damage_all(folder, damage):
    for path in [folder / "latest" / "3", folder / "latest" / "4", folder / "best" / "2"]:
        damage(path)


@pytest.mark.parametrize("damage", [flip_a_bit, truncate, empty])
def test_none_whole_is_one_sentence_at_every_start_and_moves_nothing(folder, abstract, damage):
    damage_all(folder, damage)
    before = contents(folder)
    for read_only in (False, False, True):
        for restore in (Checkpoints.restore_latest, Checkpoints.restore_best):
            with (
                pytest.raises(RunError, match=r"^None of the checkpoints in .* is whole; restore .*\.$"),
                Checkpoints(folder, keep=2, read_only=read_only) as checkpoints,
            ):
                restore(checkpoints, abstract)
    assert contents(folder) == before


def test_none_left_but_those_set_aside_is_no_fresh_start(folder, abstract):
    flip_a_bit(folder / "latest" / "4")
    Checkpoints(folder, keep=2).restore_latest(abstract)
    for path in (folder / "latest" / "3", folder / "best" / "2"):
        shutil.rmtree(path)
    with pytest.raises(RunError, match="None of the checkpoints"):
        Checkpoints(folder, keep=2).restore_latest(abstract)


def test_where_no_latest_is_whole_the_best_is_gone_on_from(folder, abstract):
    for step in ("3", "4"):
        flip_a_bit(folder / "latest" / step)
    assert_same(Checkpoints(folder, keep=2).restore_latest(abstract), make_state(2))
    assert steps_in(folder / "damaged") == {"latest-3", "latest-4"}
    assert steps_in(folder / "best") == {"2"}


@pytest.mark.parametrize(
    ("change", "path"),
    [
        (lambda params: {**params, "more": params["layer"]["0"]}, "params/more"),
        (lambda params: {"layer": {"kernel": params["layer"]["kernel"]}}, "params/layer/0"),
        (lambda params: {"layer": {**params["layer"], "0": params["layer"]["kernel"]}}, "params/layer/0"),
    ],
    ids=["more", "fewer", "another shape"],
)
def test_another_network_is_no_damage(folder, abstract, change, path):
    before = contents(folder)
    other = abstract.replace(params=change(abstract.params))
    for _ in range(2):
        with pytest.raises(RunError, match=rf"4 was made by another version of the network, .* {path}; use another"):
            Checkpoints(folder, keep=2).restore_latest(other)
    assert contents(folder) == before


def test_a_damaged_best_gives_way_to_the_latest(folder, abstract):
    flip_a_bit(folder / "best" / "2")
    assert_same(Checkpoints(folder, read_only=True).restore_best(abstract), make_state(4))


def test_reading_changes_nothing(folder, abstract):
    flip_a_bit(folder / "latest" / "4")

    before = contents(folder)
    with Checkpoints(folder, read_only=True) as checkpoints:
        assert_same(checkpoints.restore_latest(abstract), make_state(3))
    assert contents(folder) == before


def test_a_full_disk_is_one_sentence_and_spares_what_is_there(folder, abstract, monkeypatch):
    checkpoints = Checkpoints(folder, keep=2)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: shutil._ntuple_diskusage(10**9, 10**9, 100))
    with pytest.raises(RunError, match=r"disk of .* is full: a checkpoint needs .* MB and 0\.0 MB are free; make room"):
        checkpoints.save_latest(5, make_state(5))
    assert_same(checkpoints.restore_latest(abstract), make_state(4))


def test_a_disk_that_fills_while_saving_is_noticed(folder, abstract, monkeypatch):
    checkpoints = Checkpoints(folder, keep=2)

    def full(*_, **__):
        raise ValueError("storage failed") from OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(checkpoints._latest, "wait_until_finished", full)
    with pytest.raises(RunError, match=r"^The disk of .*latest is full; make room and start the same command again\.$"):
        checkpoints.wait()


def test_reading_alone_is_quiet(folder, abstract, caplog):
    """Orbax would warn four times that nothing will be saved."""
    level = logging.getLogger("absl").level
    with caplog.at_level(logging.WARNING), Checkpoints(folder, read_only=True) as checkpoints:
        assert checkpoints.restore_best(abstract) is not None
    assert not caplog.records
    assert logging.getLogger("absl").level == level
