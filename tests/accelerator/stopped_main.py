"""Runs `ramjax.main`, told to stop at the n-th time that it looks whether it is.

python -m tests.accelerator.stopped_main 3 --config=experiments/debug.py --workdir=runs/stopped
"""

import itertools
import sys

from ramjax import main as command
from ramjax.devices.preemption import Preempted, Preemption


def main(argv: list[str]) -> int:
    looks, check = itertools.count(1), Preemption.check

    def stop(preemption: Preemption) -> None:
        if next(looks) == int(argv[1]):
            raise Preempted
        check(preemption)

    Preemption.check = stop
    return command.main([argv[0], *argv[2:]])


if __name__ == "__main__":
    sys.exit(main(sys.argv))
