"""Signals that end a process, taken as a reason to leave it as an error does: with all that is to be tidied up."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import NoReturn

from lcot.settings import process_rank

_SAVING = "\nlcot: interrupted; the state is saved after this batch (Ctrl-C once more: end at once, without that)\n"


@contextmanager
def leaving_when_told() -> Iterator[None]:
    """Turn SIGTERM and SIGHUP into ``SystemExit`` with 128 + their number; afterwards they are handled as before.

    One that is ignored stays so: who starts a command with ``nohup`` wants it to go on. Without effect in another
    thread than the main one, which gets no signals.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    watched = terminals()

    def leave(number: int, frame: object) -> NoReturn:
        let_go(watched)
        raise SystemExit(128 + number)

    numbers = [number for number in (signal.SIGTERM, signal.SIGHUP) if is_heard(number)]
    former = {number: signal.signal(number, leave) for number in numbers}
    try:
        yield
    finally:
        for number, handler in former.items():
            signal.signal(number, handler)


class PatientInterrupt:
    """What Ctrl-C does in a training: the first one asks it to save its state and to end, the second ends it at once.

    Where nothing can be saved, the first one does so too. A terminal sends Ctrl-C to data-loader workers as well, which
    inherit this handler: they go on, because the batch that they work at is still wanted.

    Attributes:
        ask: Asks the training; ``None`` while there is nothing to save.
    """

    def __init__(self) -> None:
        self.ask: Callable[[int, object], object] | None = None
        self._asked = False
        self._process = os.getpid()

    def __call__(self, number: int, frame: object) -> None:
        """Take one Ctrl-C.

        Raises:
            KeyboardInterrupt: If the process is to end at once.
        """
        if os.getpid() != self._process:
            return
        if self.ask is None or self._asked:
            raise KeyboardInterrupt
        self._asked = True
        if process_rank() == "0":
            os.write(2, _SAVING.encode())  # sys.stderr may be in the middle of a line of its own
        self.ask(number, frame)


@contextmanager
def interrupted_patiently() -> Iterator[None]:
    """Handle Ctrl-C by a :class:`PatientInterrupt`; afterwards as before.

    Without effect where it is ignored or handled otherwise, and in another thread than the main one.
    """
    in_main = threading.current_thread() is threading.main_thread()
    if not in_main or signal.getsignal(signal.SIGINT) is not signal.default_int_handler:
        yield
        return
    former = signal.signal(signal.SIGINT, PatientInterrupt())
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, former)


def terminals() -> list[int]:
    """Those of standard output and standard error that are terminals."""
    return [number for number in (1, 2) if os.isatty(number)]


def let_go(numbers: list[int]) -> None:
    """Have what is written to terminals that were closed go nowhere: its error would break off what is being saved.

    Args:
        numbers: Of :func:`terminals`, when they were open.
    """
    for number in numbers:
        if not os.isatty(number):
            nowhere = os.open(os.devnull, os.O_WRONLY)
            os.dup2(nowhere, number)
            os.close(nowhere)


def is_heard(number: signal.Signals) -> bool:
    """Whether a signal is neither ignored nor handled outside of Python."""
    return signal.getsignal(number) not in (signal.SIG_IGN, None)
