"""Reads many damaged and odd files of every kind, and counts what comes of them.

    python -m tests.fuzz.run --count=5000 --formats=png8,jpeg --seed=0

Each file is made of a small valid one by `tests.fuzz.mutate`, and read in a child process with limits of time and
memory. What must not be is kept in a folder, which the last line names, and makes the exit code 1.
"""

import argparse
import collections
import importlib
import json
import multiprocessing
import multiprocessing.connection
import os
import pathlib
import resource
import shutil
import signal
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence

from tqdm import tqdm

from tests.fuzz.formats import FORMATS, Format
from tests.fuzz.trying import FORBIDDEN, Outcome, Tried, judge, make, read


def fuzz(name: str, count: int, seed: int, folder: pathlib.Path, module: str = "tests.fuzz.formats") -> Iterator[Tried]:
    """Tries the first `count` mutants of a format, in order; keeps the files that must not come out as they did.

    Args:
      name: of the format.
      count: how many mutants.
      seed: of the mutations.
      folder: for whole files and those that are kept; made.
      module: that has the format in its ``FORMATS``.
    """
    of = _format(module, name)
    whole, scratch = folder / name / "whole", folder / name / "scratch"
    whole.mkdir(parents=True)
    path, contents = of.build(whole)
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["tests.fuzz.trying"])  # whose imports take seconds
    start = 0
    while start < count:
        shutil.copytree(whole, scratch)
        receiving, sending = context.Pipe(duplex=False)
        place = scratch / path.relative_to(whole)
        process = context.Process(
            target=_batch, args=(sending, module, name, place, contents, seed, range(start, count))
        )
        process.start()
        sending.close()
        for tried in _received(receiving):
            start = tried.index + 1
            if tried.outcome in FORBIDDEN:
                _keep(of, contents, seed, tried, folder)
            yield tried
        process.join()
        shutil.rmtree(scratch)
        if start < count:  # it died at the next one
            outcome = Outcome.HANG if process.exitcode in (-signal.SIGALRM, -signal.SIGPROF) else Outcome.CRASH
            tried = Tried(start, make(of, contents, seed, start).kind, outcome, f"exit code {process.exitcode}")
            _keep(of, contents, seed, tried, folder)
            yield tried
            start += 1


def table(outcomes: Mapping[str, Sequence[Tried]]) -> str:
    """The counts by format and outcome, as Markdown."""
    counts = {name: collections.Counter(tried.outcome for tried in several) for name, several in outcomes.items()}
    columns = list(Outcome)
    lines = [["", "files", *columns], ["---"] + ["--:"] * (1 + len(columns))]
    lines += [[name, str(of.total()), *(str(of[column]) for column in columns)] for name, of in counts.items()]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)


def _received(connection: multiprocessing.connection.Connection) -> Iterator[Tried]:
    """What a child sends until it ends."""
    while True:
        try:
            yield connection.recv()
        except EOFError:
            return


def _batch(
    connection: multiprocessing.connection.Connection,
    module: str,
    name: str,
    path: pathlib.Path,
    contents: Sequence[bytes],
    seed: int,
    indices: range,
) -> None:
    """Tries mutants in this process, until one ends it."""
    of = _format(module, name)
    _limit_memory(of.memory)
    silent = os.open(os.devnull, os.O_WRONLY)
    os.dup2(silent, 1)
    os.dup2(silent, 2)
    wholes = []
    for content in contents:
        path.write_bytes(content)
        _limit_time(of.seconds)
        wholes.append(read(of, path))
    for index in indices:
        one = make(of, contents, seed, index)
        path.write_bytes(one.content)
        _limit_time(of.seconds)
        outcome, detail = judge(of, path, one, wholes[one.seed])
        _limit_time(0)
        connection.send(Tried(index, one.kind, outcome, detail))


def _format(module: str, name: str) -> Format:
    return importlib.import_module(module).FORMATS[name]


def _limit_memory(more: int) -> None:
    pages = int(pathlib.Path("/proc/self/statm").read_text().split()[0])
    most = pages * resource.getpagesize() + more
    resource.setrlimit(resource.RLIMIT_AS, (most, most))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


def _limit_time(seconds: float) -> None:
    """Ends this process after seconds of work, or ten times as many of waiting; 0 lifts both limits."""
    for timer, signal_number, factor in (
        (signal.ITIMER_PROF, signal.SIGPROF, 1),
        (signal.ITIMER_REAL, signal.SIGALRM, 10),
    ):
        signal.signal(signal_number, signal.SIG_DFL)
        signal.setitimer(timer, factor * seconds)


def _keep(of: Format, contents: Sequence[bytes], seed: int, tried: Tried, folder: pathlib.Path) -> None:
    kept = folder / "kept" / of.name / tried.outcome.replace(" ", "_")
    kept.mkdir(parents=True, exist_ok=True)
    (kept / str(tried.index)).write_bytes(make(of, contents, seed, tried.index).content)
    (kept / f"{tried.index}.txt").write_text(f"{tried.kind}\n{tried.detail}\n")


def main(argv: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, default=1000, help="files of each format")
    parser.add_argument("--formats", default=",".join(FORMATS), help="comma-separated; default all: %(default)s")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--output", type=pathlib.Path, help="folder for what is kept; default a temporary one")
    parser.add_argument("--json", action="store_true", help="print the counts as JSON")
    options = parser.parse_args(argv)
    names = options.formats.split(",")
    if strange := [name for name in names if name not in FORMATS]:
        parser.error(f"--formats: {', '.join(strange)} is none of {', '.join(FORMATS)}")
    folder = pathlib.Path(options.output or tempfile.mkdtemp(prefix="ramjax_fuzz_"))
    outcomes: dict[str, list[Tried]] = {}
    with tqdm(total=options.count * len(names), unit="file", disable=None) as bar:
        for name in names:
            bar.set_description(name)
            outcomes[name] = []
            for tried in fuzz(name, options.count, options.seed, folder):
                outcomes[name].append(tried)
                bar.update()
    if options.json:
        counts = {name: collections.Counter(tried.outcome for tried in several) for name, several in outcomes.items()}
        print(json.dumps(counts, indent=2))
    else:
        print(table(outcomes))
    bad = sum(tried.outcome in FORBIDDEN for several in outcomes.values() for tried in several)
    if bad:
        print(f"{bad} files came out as none may; they are in {folder / 'kept'}.", file=sys.stderr)
    return int(bad > 0)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
