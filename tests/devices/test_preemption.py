import os
import signal
import time

import pytest

from ramjax.devices.preemption import Preempted, Preemption


def send(number):
    os.kill(os.getpid(), number)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_outside_deferred_a_signal_stops_at_once(number):
    with pytest.raises(Preempted), Preemption():
        send(number)
        pytest.fail("the signal was not noticed")


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_deferred_it_waits_for_the_check(number, capfd):
    with Preemption() as preemption, preemption.deferred():
        preemption.check()
        send(number)
        with pytest.raises(Preempted):
            preemption.check()
    assert "saving and stopping" in capfd.readouterr().err


@pytest.mark.parametrize(("told", "raised"), [(True, Preempted), (False, RuntimeError)])
def test_a_failure_after_a_signal_comes_of_it(told, raised):
    with Preemption() as preemption, preemption.deferred(), pytest.raises(raised), preemption.excused():
        if told:
            send(signal.SIGTERM)
        raise RuntimeError("a worker has ended")


def test_a_second_term_waits_but_a_second_interrupt_does_not():
    with Preemption() as preemption, preemption.deferred():
        send(signal.SIGTERM)
        send(signal.SIGTERM)
        with pytest.raises(KeyboardInterrupt):
            send(signal.SIGINT)
            pytest.fail("Ctrl-C did not stop at once")


def test_the_handlers_before_come_back():
    before = signal.getsignal(signal.SIGTERM), signal.getsignal(signal.SIGINT)
    with Preemption():
        assert signal.getsignal(signal.SIGTERM) != before[0]
    assert (signal.getsignal(signal.SIGTERM), signal.getsignal(signal.SIGINT)) == before


@pytest.mark.filterwarnings("ignore:os.fork:RuntimeWarning", "ignore:.*fork:DeprecationWarning")
def test_a_forked_worker_ends_when_its_parent_ends_it():
    with Preemption() as preemption, preemption.deferred():
        ready, say_ready = os.pipe()
        child = os.fork()
        if child == 0:
            signal.alarm(20)  # a worker that took the signal for its parent's would sleep on
            os.write(say_ready, b"!")
            while True:  # signal.pause() would miss a signal that comes just before it
                time.sleep(0.01)
        os.read(ready, 1)
        os.kill(child, signal.SIGTERM)
        _, status = os.waitpid(child, 0)
    assert os.waitstatus_to_exitcode(status) in (128 + signal.SIGTERM, -signal.SIGTERM)
