import time

import pytest

from ramjax.training.progress import Progress

PULL = 0.2


class Outputs:
    """Of a step that the devices work on until `seconds` from now."""

    def __init__(self, seconds: float):
        self._until = time.perf_counter() + seconds

    def block_until_ready(self) -> "Outputs":
        time.sleep(max(0.0, self._until - time.perf_counter()))
        return self


def waited(step_seconds: float) -> float:
    """Seconds counted as waiting for data, for one batch that takes `PULL` seconds beside a step of `step_seconds`."""

    def batches():
        yield "first"
        progress.watch(Outputs(step_seconds))
        time.sleep(PULL)
        yield "second"

    progress = Progress(0, 2, 1, quiet=True)
    for _ in progress.timed(batches()):
        pass
    began = time.perf_counter() - 1
    progress._began = began
    share = progress.report(2, {"loss": 1.0})["data_wait_share"]
    seconds = time.perf_counter() - began
    progress.close()
    return share * seconds


@pytest.mark.parametrize(("step_seconds", "expected"), [(0.0, PULL), (PULL / 2, PULL / 2), (3 * PULL, 0.0)])
def test_only_while_the_devices_have_nothing_to_do_is_it_waiting(step_seconds, expected):
    assert waited(step_seconds) == pytest.approx(expected, abs=0.06)


def test_before_the_first_step_all_of_it_is_waiting():
    def batches():
        time.sleep(PULL)
        yield "first"

    progress = Progress(0, 1, 1, quiet=True)
    assert list(progress.timed(batches())) == ["first"]
    assert progress.report(1, {"loss": 1.0})["data_wait_share"] > 0.9
    progress.close()
