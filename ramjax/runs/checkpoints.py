"""Checkpoints by Orbax: the latest ones, to continue from, and the best on validation, to evaluate and predict with.

Layout of the folder: ``latest/STEP/``, ``best/STEP/`` and, only after one was found damaged, ``damaged/``. A checkpoint
holds the whole training state by parameter path. A small JSON item beside it has a checksum of every array, so that a
flipped bit is noticed as well as a missing file. Orbax writes each checkpoint under another name and renames it when it
is complete. A state that was saved split over devices and processes in one way can be restored split in any other.
"""

import contextlib
import logging
import pathlib
import shutil
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import jax
import numpy as np
import orbax.checkpoint as ocp
from jax.experimental import multihost_utils
from orbax.checkpoint import checkpoint_managers

from ramjax.devices import hosts
from ramjax.devices.sharding import gather_bytes
from ramjax.errors import RunError, is_disk_full
from ramjax.trees import by_name

PyTree = Any
log = logging.getLogger(__name__)


class Checkpoints:
    """The checkpoints of one run. Every process of a run calls the same methods in the same order.

    A context manager: on leaving it, also by an exception, it waits until every save that was begun is on disk. Only
    when another process is gone it does not wait, because then no save can end.

    Args:
      folder: where they are; made when `read_only` is False.
      keep: how many of the latest stay.
      read_only: never write, rename or delete anything.
    """

    def __init__(self, folder: str | pathlib.Path, keep: int = 1, read_only: bool = False):
        self._folder = pathlib.Path(folder).absolute()
        self._read_only = read_only
        self._latest = _manager(self._folder / "latest", keep, read_only)
        self._best = _manager(self._folder / "best", 1, read_only)

    def __enter__(self) -> "Checkpoints":
        return self

    def __exit__(self, _: type | None, error: BaseException | None, __: object) -> None:
        if not hosts.is_lost(error):
            self.wait()
            self._latest.close()
            self._best.close()

    @property
    def best_step(self) -> int | None:
        """Step of the best checkpoint on validation; None before the first."""
        return max(self._best.all_steps(), default=None)

    @property
    def best_score(self) -> float | None:
        """Validation score of the best checkpoint, higher is better; None where there is none or it cannot be read."""
        step = self.best_step
        if step is None:
            return None
        try:
            return float(self._best.restore(step, args=ocp.args.Composite(about=ocp.args.JsonRestore())).about["score"])
        except Exception as error:
            log.warning("The score of the best checkpoint %s cannot be read (%s).", self._best.directory, _first(error))
            return None

    def save_latest(self, step: int, state: PyTree) -> None:
        """Starts saving `state` in the background, unless this step is there; the buffers may be donated on return."""
        if step not in self._latest.all_steps():
            self._save(self._latest, step, state, {})

    def save_best(self, step: int, state: PyTree, score: float) -> None:
        """Replaces the best checkpoint; `score` is the finite validation score it was chosen by."""
        if step in self._best.all_steps():
            self._best.delete(step)
        self._save(self._best, step, state, {"score": float(score)})

    def wait(self) -> None:
        """Returns when everything is on disk; raises RunError when that failed."""
        for manager in (self._latest, self._best):
            try:
                manager.wait_until_finished()
            except Exception as error:
                raise _save_error(manager, error) from error

    def restore_latest(self, abstract: PyTree) -> PyTree | None:
        """The newest whole checkpoint as the tree `abstract` (ShapeDtypeStructs with shardings), None if none was made.

        Where none of the latest is whole, the best on validation is taken; it is a whole state, too. Damaged
        checkpoints are reported and, once a whole one was found, moved to ``damaged/`` (unless read only).

        Raises:
          RunError: there are, or were, checkpoints and none is whole, or they hold another network.
        """
        return self._restore([self._latest, self._best], abstract)

    def restore_best(self, abstract: PyTree, partly: bool = False) -> PyTree | None:
        """As `restore_latest`, but the best on validation first.

        With `partly`, only the entries of the state that `abstract` has are looked at and read: averaged parameters
        without the optimiser's moments, a quarter of the bytes.
        """
        return self._restore([self._best, self._latest], abstract, partly)

    def _save(self, manager: ocp.CheckpointManager, step: int, state: PyTree, about: dict[str, Any]) -> None:
        self.wait()  # one save at a time: two at once meet at the same barriers where there are several processes
        arrays = by_name(state)
        _check_space(self._folder, arrays)
        about = {**about, "checksums": checksums(arrays)}
        items = ocp.args.Composite(state=ocp.args.StandardSave(arrays), about=ocp.args.JsonSave(about))
        try:
            manager.save(step, args=items, force=True)
        except Exception as error:
            raise _save_error(manager, error) from error

    def _restore(
        self, managers: Sequence[ocp.CheckpointManager], abstract: PyTree, partly: bool = False
    ) -> PyTree | None:
        damaged = []
        for manager in managers:
            for step in sorted(manager.all_steps(), reverse=True):
                try:
                    state = _read(manager, step, abstract, partly)
                except RunError:
                    raise
                except Exception as error:  # what Orbax raises depends on which of its files is damaged, and how
                    log.warning("Checkpoint %s/%d is damaged (%s).", manager.directory, step, _first(error))
                    damaged.append((manager, step))
                    continue
                for where in damaged:
                    self._set_aside(*where)
                return state
        if self._has_remains():
            raise RunError(
                f"None of the checkpoints in {self._folder} is whole; restore the folder from a copy, or delete the "
                "workdir to start afresh."
            )
        return None

    def _has_remains(self) -> bool:
        """Whether anything was saved, even if only an empty folder of a step is left."""
        steps = (path for name in ("latest", "best", "damaged") for path in (self._folder / name).glob("*"))
        return any(path.name.rsplit("-")[-1].isdigit() for path in steps)

    def _set_aside(self, manager: ocp.CheckpointManager, step: int) -> None:
        """Moves a damaged checkpoint away, so that its step can be saved anew; nothing is deleted."""
        if self._read_only:
            return
        if jax.process_index() == 0:
            source = pathlib.Path(manager.directory) / str(step)
            target = self._folder / "damaged" / f"{source.parent.name}-{step}"
            target.parent.mkdir(exist_ok=True)
            shutil.rmtree(target, ignore_errors=True)
            source.rename(target)
        if jax.process_count() > 1:
            multihost_utils.sync_global_devices(f"damaged checkpoint {step} set aside")
        manager.reload()


def checksums(arrays: Mapping[str, jax.Array]) -> dict[str, int]:
    """A checksum of 32 bits of each array, the same however it is split; every process must call it.

    It is the sum of the elements as words of at most 32 bits, each multiplied by an odd number that depends on its
    place, modulo 2^32. A change of one element always changes it, and each process can add up the part that it has.
    """
    mine = np.array([_checksum_of_local(array) for array in arrays.values()], np.uint32)
    total = sum(np.frombuffer(part, np.uint32) for part in gather_bytes(mine.tobytes()))
    return dict(zip(arrays, map(int, total), strict=True))


def _checksum_of_local(array: jax.Array) -> int:
    """The terms of the shards that this process is the first to have."""
    total = 0
    places = np.arange(array.size, dtype=np.uint32).reshape(array.shape)
    for shard in array.addressable_shards:
        if shard.replica_id == 0:
            words = np.ascontiguousarray(shard.data).view(f"u{array.dtype.itemsize}").astype(np.uint32, copy=False)
            total += int((words * (2 * places[shard.index] + 1)).sum(dtype=np.uint32))
    return total % 2**32


def _manager(folder: pathlib.Path, keep: int, read_only: bool) -> ocp.CheckpointManager:
    """Saves when told to, and keeps the latest `keep`; Orbax's own defaults save often and keep everything."""
    if not read_only:
        folder.mkdir(parents=True, exist_ok=True)
    with _without_warnings():
        options = ocp.CheckpointManagerOptions(
            preservation_policy=checkpoint_managers.LatestN(keep),
            enable_async_checkpointing=not read_only,
            cleanup_tmp_directories=not read_only,
            create=not read_only,
            read_only=read_only,
        )
        return ocp.CheckpointManager(folder, options=options)


@contextlib.contextmanager
def _without_warnings() -> Iterator[None]:
    """Orbax warns that what is read only will not be written."""
    logger = logging.getLogger("absl")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        logger.setLevel(level)


def _read(manager: ocp.CheckpointManager, step: int, abstract: PyTree, partly: bool) -> PyTree:
    """One checkpoint; RunError where it holds another tree than `abstract`, any other exception where it is damaged."""
    folder = pathlib.Path(manager.directory) / str(step)
    stored = ocp.StandardCheckpointHandler().metadata(folder / "state").tree
    there = {path: (tuple(array.shape), str(array.dtype)) for path, array in stored.items()}
    wanted = by_name(abstract)
    here = {path: (tuple(array.shape), str(array.dtype)) for path, array in wanted.items()}
    if partly:
        entries = {path.partition("/")[0] for path in here}
        there = {path: array for path, array in there.items() if path.partition("/")[0] in entries}
    different = sorted(path for path in there.keys() | here.keys() if there.get(path) != here.get(path))
    if different:
        raise RunError(
            f"{folder} was made by another version of the network, which differs in {different[0]}; use another "
            "--workdir, or the version that made it."
        )
    how = ocp.checkpoint_utils.construct_restore_args(wanted)
    state = ocp.args.PyTreeRestore(wanted, how, partial_restore=True) if partly else ocp.args.StandardRestore(wanted)
    restored = manager.restore(step, args=ocp.args.Composite(state=state, about=ocp.args.JsonRestore()))
    for path, checksum in checksums(restored.state).items():
        if checksum != restored.about["checksums"][path]:
            raise ValueError(f"the checksum of {path} differs")
    return jax.tree.unflatten(jax.tree.structure(abstract), [restored.state[path] for path in wanted])


def _check_space(folder: pathlib.Path, arrays: dict[str, jax.Array]) -> None:
    need = sum(array.nbytes for array in arrays.values())
    free = shutil.disk_usage(folder).free
    if free < need:
        raise RunError(
            f"The disk of {folder} is full: a checkpoint needs {need / 1e6:.1f} MB and {free / 1e6:.1f} MB are free; "
            "make room and start the same command again."
        )


def _save_error(manager: ocp.CheckpointManager, error: Exception) -> RunError:
    if is_disk_full(error):
        return RunError(f"The disk of {manager.directory} is full; make room and start the same command again.")
    return RunError(f"A checkpoint could not be saved in {manager.directory}: {_first(error)}")


def _first(error: Exception) -> str:
    """The first line of an error's message, or its kind."""
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:200]
