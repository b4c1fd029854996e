"""What the programs of this folder share: command line and table, turns, fresh processes, memory, and the machine."""

import concurrent.futures
import importlib.metadata
import json
import multiprocessing
import os
import pathlib
import platform
import statistics
import sys
import time
from collections.abc import Callable, Mapping
from typing import Any

from absl import flags
from ml_collections import config_flags

from ramjax import command_line
from ramjax.errors import explain


def run(
    argv: list[str],
    about: str,
    define: Callable[[flags.FlagValues], None],
    measure: Callable[[flags.FlagValues], dict[str, Any]],
    show: Callable[[dict[str, Any]], str] | None = None,
    faults: Callable[[dict[str, Any]], list[str]] | None = None,
) -> int:
    """Runs a program: flags, measurement, table, and with --json one line of JSON at the end.

    Args:
      argv: command line, program name first.
      about: what --help says above the flags.
      define: defines the flags.
      measure: the numbers, by name.
      show: the numbers as text; None prints a name and a value a line.
      faults: a sentence for each number that must not be; they are printed last, and the exit code is 1.

    Returns:
      The exit code.
    """
    values = flags.FlagValues()
    define(values)
    flags.DEFINE_bool("json", False, "End with one line of JSON.", flag_values=values)
    if command_line.wants_help(argv):
        print(command_line.help_text(about, values))
        return 0
    try:
        values(argv)
    except flags.Error as error:
        print(f"Usage error: {error}", file=sys.stderr)
        return 2
    try:
        numbers = measure(values)
    except (ValueError, OSError) as error:
        print(f"Error: {explain(error)}", file=sys.stderr)
        return 1
    print((show or table)(numbers))
    if values.json:
        print(json.dumps(numbers))
    wrong = faults(numbers) if faults else []
    for sentence in wrong:
        print(sentence, file=sys.stderr)
    return 1 if wrong else 0


def define_config(values: flags.FlagValues, argv: list[str]) -> None:
    """Defines --config, and --config.KEY for each of its keys, as `ramjax.main` has them."""
    about = "Experiment file, or one with a preset: FILE:accelerator."
    default = "experiments/multitask.py"
    config_flags.DEFINE_config_file("config", default, about, flag_values=values, lock_config=True, sys_argv=argv)


def table(numbers: Mapping[str, Any]) -> str:
    """A line a number; those that are None were not measured and are left out."""
    width = max(map(len, numbers))
    shown = {name: f"{value:.4g}" if isinstance(value, float) else str(value) for name, value in numbers.items()}
    return "\n".join(f"{name:{width}}  {shown[name]:>10}" for name, value in numbers.items() if value is not None)


def take_turns(ways: Mapping[str, Callable[[], Any]], repeats: int) -> dict[str, float]:
    """Median seconds of each way. They take turns, so that what else the machine does falls on all of them.

    In each turn a way is called twice, of which the second call counts: before it, the machine gives back the memory
    and the caches that the other ways took. A way must not return before its work is done.
    """
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(repeats):
        for name, way in ways.items():
            way()
            began = time.perf_counter()
            way()
            seconds[name].append(time.perf_counter() - began)
    return {name: statistics.median(times) for name, times in seconds.items()}


def apart(
    function: Callable[..., Any],
    *arguments: Any,
    start: Callable[..., None] | None = None,
    start_arguments: tuple[Any, ...] = (),
) -> Any:
    """Calls a function in a fresh process, which calls `start` first."""
    context = multiprocessing.get_context("spawn")
    with concurrent.futures.ProcessPoolExecutor(1, context, start, start_arguments) as pool:
        return pool.submit(function, *arguments).result()


def resident_gb(pid: int) -> float:
    """Resident memory of a process and all below it, pages that they share counted once (PSS), in GB."""
    total = 0.0
    children = pathlib.Path(f"/proc/{pid}/task").glob("*/children")
    for child in {int(child) for path in children for child in path.read_text().split()}:
        total += resident_gb(child)
    rollup = pathlib.Path(f"/proc/{pid}/smaps_rollup").read_text()
    return total + next(int(line.split()[1]) for line in rollup.splitlines() if line.startswith("Pss:")) * 1024 / 1e9


def cores() -> int:
    """Processor cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()


def machine() -> dict[str, Any]:
    """What the numbers were measured on: processor cores, devices, and the versions that matter."""
    import jax  # the programs that need none start sooner without

    return {
        "device": jax.devices()[0].device_kind,
        "local_devices": jax.local_device_count(),
        "cores": cores(),
        "python": platform.python_version(),
        **{name: importlib.metadata.version(name) for name in ("jax", "jaxlib", "flax")},
    }
