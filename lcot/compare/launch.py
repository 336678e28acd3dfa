"""Making the runs of a comparison: one after another, or some at a time, each command a process of its own."""

from __future__ import annotations

import errno
import fcntl
import os
import shlex
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass, replace
from typing import Any, BinaryIO

import yaml

from lcot.compare.plan import Task, Todo, changes, is_trained, wanted_result, what_to_do
from lcot.runs.files import LOCK, locked
from lcot.runs.results import Split
from lcot.runs.run import Run, read_run
from lcot.signals import leaving_when_told

_PATIENCE = 1.0
"""Seconds between two looks at a run that another process makes."""

PROGRAM = (sys.executable, "-m", "lcot")
"""What stands before the words of a command."""


@dataclass(frozen=True, slots=True)
class Failure:
    """Runs that could not be made.

    Attributes:
        names: Of the runs.
        what: What went wrong, in one sentence.
        said: The end of what its command printed.
    """

    names: tuple[str, ...]
    what: str
    said: str = ""


class Launcher:
    """Makes runs.

    Commands get a session of their own, so that Ctrl-C reaches them as SIGTERM, on which a training saves its state.

    Args:
        jobs: How many runs at a time.
    """

    def __init__(self, jobs: int = 1) -> None:
        self.jobs = jobs
        self._asked: dict[str, dict[str, Any]] = {}
        self._running: set[subprocess.Popen[bytes]] = set()
        self._lock = threading.Lock()
        self._stopping = False

    def plan(self, tasks: Sequence[Task], split: Split) -> tuple[list[Todo], list[Failure]]:
        """Find out what is missing.

        Runs that are finished are compared with what is asked for; that takes the settings that the configs of their
        method amount to, which a child prints.

        Raises:
            DataError: If a file of a run is broken.
        """
        todos: list[Todo] = []
        failures: dict[str, Failure] = {}
        for task in tasks:
            trained = is_trained(task)
            if trained and task.method not in self._asked and task.method not in failures:
                if not self._asked and not failures:
                    methods = len({other.method for other in tasks})
                    _say(f"reading the settings of {methods} method{'s' * (methods != 1)} …")
                printed, said = self._print_config(task)
                if printed is None:
                    what = f"the settings of method {task.method} cannot be used"
                    failures[task.method] = Failure((), what, _end(said))
                else:
                    self._asked[task.method] = yaml.safe_load(printed)
            if task.method in failures:
                known = failures[task.method]
                failures[task.method] = replace(known, names=(*known.names, task.name))
            else:
                todos.append(what_to_do(task, split, self._asked[task.method] if trained else None))
        return todos, list(failures.values())

    def make(self, todos: Sequence[Todo]) -> list[Failure]:
        """Run what is missing; a run that fails does not stop the others.

        Returns:
            Those that failed.

        Raises:
            KeyboardInterrupt: If it is interrupted; the runs have saved their state by then.
            SystemExit: If it is told to stop, likewise.
        """
        wanted = [todo for todo in todos if todo.commands]
        failures: list[Failure] = []
        # Be told to stop as by Ctrl-C: otherwise the runs would outlive this process.
        with ThreadPoolExecutor(self.jobs) as pool, leaving_when_told():
            futures = [pool.submit(self._make, todo) for todo in wanted]
            try:
                for future in as_completed(futures):
                    failed = future.result()
                    failures += [failed] if failed is not None else []
            except BaseException:
                self._stop()
                pool.shutdown(cancel_futures=True)
                raise
        order = [todo.task.name for todo in wanted]
        return sorted(failures, key=lambda failure: order.index(failure.names[0]))

    def made(self, task: Task, split: Split) -> Run:
        """A run with the result that was asked for; with none if there is none.

        Raises:
            DataError: If a file of the run is broken.
        """
        found = wanted_result(task, split, self._asked.get(task.method))
        return found if found is not None else replace(read_run(task.folder, split), result=None)

    def _print_config(self, task: Task) -> tuple[str | None, str]:
        """All settings that a task's words amount to, as YAML; or nothing, and what was said instead."""
        done = subprocess.run(
            [*PROGRAM, *task.words("fit"), "--print_config"], stdin=subprocess.DEVNULL, capture_output=True
        )
        said = done.stderr.decode(errors="replace")
        return (None, said) if done.returncode else (done.stdout.decode(), said)

    def _make(self, todo: Todo) -> Failure | None:
        task, began = todo.task, time.monotonic()
        task.log.parent.mkdir(parents=True, exist_ok=True)
        with task.log.open("ab") as log:
            self._wait(task, log)
            for command in todo.commands:
                _say(f"{task.name}: {command} … (log: {task.log})")
                start = task.log.stat().st_size
                code = self._child(task, command, log)
                if self._stopping:
                    return None
                failure: Failure | None
                if code:
                    said = task.log.read_bytes()[start:].decode(errors="replace")
                    failure = Failure(
                        (task.name,), f"{command} ended with exit code {code}; its log is {task.log}", _end(said)
                    )
                else:
                    failure = self._check(task) if command == "fit" else None
                if failure is not None:
                    _say(f"{task.name}: {failure.what}")
                    return failure
        _say(f"{task.name}: done after {(time.monotonic() - began) / 60:.1f} min")
        return None

    def _wait(self, task: Task, log: BinaryIO) -> None:
        """Wait for another process that makes this run: what it makes is what is wanted.

        It may be a training that somebody started, another comparison, or a command of one that was killed: commands
        inherit the hold on their log, from their first moment to their last.
        """
        told = False
        while not self._stopping and not (_hold(log) and _nobody_trains(task)):
            if not told:
                _say(f"{task.name}: another process makes it; waiting for that")
                told = True
            time.sleep(_PATIENCE)

    def _child(self, task: Task, command: str, log: BinaryIO) -> int:
        words = task.words(command)
        log.write(f"$ {shlex.join(['lcot', *words])}\n".encode())
        log.flush()
        with self._lock:
            if self._stopping:
                return 0
            child = subprocess.Popen(
                [*PROGRAM, *words],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                env={**os.environ, "PYTHONUNBUFFERED": "1"},  # a log is read while it grows
            )
            self._running.add(child)
        try:
            return child.wait()
        finally:
            with self._lock:
                self._running.discard(child)

    def _check(self, task: Task) -> Failure | None:
        """A finished run that has other settings, of a kind that ``fit`` does not mind, is not what was asked for."""
        asked = self._asked.get(task.method)
        found = changes(read_run(task.folder), asked) if asked is not None else []
        if not found:
            return None
        return Failure((task.name,), f"{str(task.folder)!r} holds a run with other settings: {'; '.join(found[:4])}")

    def _stop(self) -> None:
        with self._lock:
            self._stopping = True
            for child in self._running:
                child.terminate()
        _say("stopping: runs save their state; the same command continues them")


def _hold(log: BinaryIO) -> bool:
    """Hold a log, with all processes that write to it; where the file system has no locks, everybody does."""
    try:
        fcntl.flock(log, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as err:
        return err.errno != errno.EWOULDBLOCK
    return True


def _nobody_trains(task: Task) -> bool:
    lock = task.folder / LOCK
    if not lock.exists():
        return True
    with locked(lock) as nobody:
        return nobody


def _say(line: str) -> None:
    sys.stderr.write(f"{line}\n")
    sys.stderr.flush()


def _end(said: str) -> str:
    """The refusal in what a command printed, or else its last lines."""
    _, found, block = said.rpartition("lcot: error: ")
    lines = (found + block if found else said).rstrip().splitlines()
    return "\n".join(lines[:6] if found else lines[-6:])
