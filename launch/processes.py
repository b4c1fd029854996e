"""Starts one run as several processes of this machine and minds them; `launch/local.sh --processes=N` calls it.

    python launch/processes.py --processes=2 [--python=PYTHON] [--dry-run] FLAGS of ramjax.main

Each process gets one device: a CPU, or the GPU of its number. The console shows process 0, and what the others print
after their number in brackets. SIGTERM and Ctrl-C go to all of them. When one fails, the others have half a minute to
say so and end. Exit code: 0 when all ended with it, else that of the first that did not; 128 + N for one that signal N
ended.
"""

import argparse
import os
import shlex
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Sequence

GRACE_SECONDS = 30
"""How long the others may take to end when one process has failed."""


def main(argv: Sequence[str]) -> int:
    """Runs the processes and returns the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--processes", type=int, required=True)
    parser.add_argument("--python", default=sys.executable)
    parser.add_argument("--dry-run", action="store_true")
    own, flags = parser.parse_known_args(argv)
    if own.processes < 1:
        parser.error(f"--processes={own.processes} must be at least 1.")
    commands = make_commands(own.python, own.processes, flags)
    if own.dry_run:
        for command in commands:
            print("+", shlex.join(command))
        return 0
    return mind(commands)


def make_commands(python: str, count: int, flags: Sequence[str]) -> list[list[str]]:
    """The command of each process: they meet at a free port of this machine."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    meeting = [f"--coordinator=127.0.0.1:{port}", f"--process_count={count}"]
    main = [python, "-m", "ramjax.main"]
    return [[*main, *meeting, f"--process_index={index}", *flags] for index in range(count)]


def mind(commands: Sequence[Sequence[str]]) -> int:
    """Runs the commands side by side until all have ended; returns the exit code (see above)."""
    processes: list[subprocess.Popen] = []

    def pass_on(number: int, _) -> None:
        for process in processes:
            if process.poll() is None:
                process.send_signal(number)

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, pass_on)
    readers = []
    for index, command in enumerate(commands):
        pipes = {} if index == 0 else {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True}
        # Groups of their own: a Ctrl-C of the terminal comes to this process alone, which passes it on once.
        environment = {**os.environ, "JAX_LOCAL_DEVICE_IDS": str(index)}
        process = subprocess.Popen(command, env=environment, process_group=0, stdin=subprocess.DEVNULL, **pipes)
        processes.append(process)
        if index > 0:
            readers.append(threading.Thread(target=_show, args=(process, index)))
            readers[-1].start()
    code = _wait(processes)
    for reader in readers:
        reader.join()
    return code


def _wait(processes: Sequence[subprocess.Popen]) -> int:
    """Waits for all, kills those that outlive a failure by `GRACE_SECONDS`, and returns the exit code."""
    code, last_line, deadline = 0, "", float("inf")
    running = dict(enumerate(processes))
    while running:
        for index, process in list(running.items()):
            returned = process.poll()
            if returned is not None:
                del running[index]
            if returned and not code:
                deadline = time.monotonic() + GRACE_SECONDS
                code = 128 - returned if returned < 0 else returned
            if returned and returned < 0 and not last_line:
                last_line = f"Process {index} of {len(processes)} was ended by {signal.Signals(-returned).name}"
        if running and time.monotonic() > deadline:
            for index, process in running.items():
                _say(f"Process {index} of {len(processes)} did not end within {GRACE_SECONDS} s and is killed.")
                process.kill()
            deadline = float("inf")
        time.sleep(0.1)
    if last_line:
        _say(f"Error: {last_line}; the same command continues from the last checkpoint.")
    return code


def _show(process: subprocess.Popen, index: int) -> None:
    """Prints what a process prints, behind its number."""
    for line in process.stdout:
        _say(f"[{index}] {line.rstrip()}")


def _say(text: str) -> None:
    sys.stderr.write(text + "\n")  # in one piece, however many write
    sys.stderr.flush()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
