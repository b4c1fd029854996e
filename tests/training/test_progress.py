import threading
import types

import pytest

from ramjax.training import progress as progress_lib
from ramjax.training.progress import Progress


@pytest.fixture
def clock(monkeypatch) -> types.SimpleNamespace:
    """The time that Progress sees, `now` in seconds, which stands still but where a test moves it."""
    clock = types.SimpleNamespace(now=0.0)
    monkeypatch.setattr(progress_lib, "time", types.SimpleNamespace(perf_counter=lambda: clock.now))
    return clock


class Outputs:
    """Of a step that the devices work on until `ready` is set."""

    def __init__(self):
        self.ready = threading.Event()

    def block_until_ready(self) -> "Outputs":
        assert self.ready.wait(60)
        return self


@pytest.mark.parametrize(("busy", "waited"), [(0.0, 2.0), (0.5, 1.5), (None, 0.0)])
def test_only_while_the_devices_have_nothing_to_do_is_it_waiting(clock, busy, waited):
    """A batch takes two seconds to make, the step beside it `busy` seconds or longer; then three more pass."""
    outputs = Outputs()

    def batches():
        yield "first"
        progress.watch(outputs)
        if busy is not None:
            clock.now += busy
            outputs.ready.set()
            progress._idle_since.result(60)
        clock.now += 2 - (busy or 0)
        yield "second"

    progress = Progress(0, 2, 1, quiet=True)
    assert list(progress.timed(batches())) == ["first", "second"]
    outputs.ready.set()
    clock.now += 3
    assert progress.report(2, {"loss": 1.0})["data_wait_share"] == pytest.approx(waited / 5)
    progress.close()


def test_before_the_first_step_all_of_it_is_waiting(clock):
    def batches():
        clock.now += 2
        yield "first"

    progress = Progress(0, 1, 1, quiet=True)
    assert list(progress.timed(batches())) == ["first"]
    assert progress.report(1, {"loss": 1.0})["data_wait_share"] == 1
    progress.close()
