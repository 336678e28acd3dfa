"""Being told to end is an error like others: what has to be tidied up is, and nohup is respected."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Iterator

import pytest

from lcot.signals import PatientInterrupt, interrupted_patiently, leaving_when_told


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_a_signal_leaves_the_block_and_its_handler_comes_back(number: signal.Signals) -> None:
    tidied = []
    former = signal.signal(number, signal.SIG_DFL)  # under nohup it is ignored
    try:
        with pytest.raises(SystemExit) as left, leaving_when_told():
            try:
                os.kill(os.getpid(), number)
                signal.sigtimedwait([], 5)
            finally:
                tidied.append(number)
        assert signal.getsignal(number) is signal.SIG_DFL
    finally:
        signal.signal(number, former)
    assert left.value.code == 128 + number and tidied == [number]


def test_what_is_ignored_stays_so() -> None:
    former = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with leaving_when_told():
            os.kill(os.getpid(), signal.SIGHUP)
            assert signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGHUP, former)


def test_other_threads_are_let_alone() -> None:
    entered: list[bool] = []

    def work() -> None:
        with leaving_when_told():
            entered.append(True)

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert entered


@pytest.fixture
def keyboard() -> Iterator[None]:
    """Ctrl-C means what it means in a terminal."""
    former = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, former)


def press() -> None:
    """Press Ctrl-C."""
    os.kill(os.getpid(), signal.SIGINT)
    signal.sigtimedwait([], 0.01)


@pytest.mark.usefixtures("keyboard")
def test_the_first_interrupt_asks_and_the_second_ends(capfd: pytest.CaptureFixture[str]) -> None:
    asked: list[int] = []
    with interrupted_patiently():
        handler = signal.getsignal(signal.SIGINT)
        assert isinstance(handler, PatientInterrupt)
        handler.ask = lambda number, frame: asked.append(number)
        press()
        assert asked == [signal.SIGINT] and "the state is saved after this batch" in capfd.readouterr().err
        with pytest.raises(KeyboardInterrupt):
            press()
    assert asked == [signal.SIGINT] and signal.getsignal(signal.SIGINT) is signal.default_int_handler


@pytest.mark.usefixtures("keyboard")
def test_where_nothing_can_be_saved_the_first_interrupt_ends() -> None:
    with interrupted_patiently(), pytest.raises(KeyboardInterrupt):
        press()


@pytest.mark.usefixtures("keyboard")
def test_a_worker_leaves_interrupts_to_its_process() -> None:
    with interrupted_patiently():
        child = os.fork()
        if not child:
            try:
                press()
            except KeyboardInterrupt:
                os._exit(1)
            os._exit(0)
        assert os.waitpid(child, 0)[1] == 0


def test_who_ignores_interrupts_goes_on_with_that() -> None:
    former = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        with interrupted_patiently():
            assert signal.getsignal(signal.SIGINT) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGINT, former)
