"""What breaks a command from outside: a full disk, impossible names, a process that ended, nodes that never came.

Libraries tell it in exceptions of their own, or hide it behind others. Nothing heavy is imported here.
"""

from __future__ import annotations

import errno
import re
import traceback
from collections.abc import Iterator

from lcot.errors import CheckpointError, UserError
from lcot.settings import cut

_REFUSED = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS, errno.EACCES, errno.EPERM)
_UNNAMEABLE = (errno.ENAMETOOLONG, errno.ELOOP)
_FULL = re.compile(r"(No space left on device|Disk quota exceeded)")
_GONE = re.compile(
    r"Connection (?:closed|reset|refused)|Broken pipe|Timed out waiting|Socket Timeout|remote process exited"
    r"|NCCL communicator was aborted|Application timeout caused pair closure"
)
_ABSENT = re.compile(r"waiting for clients|client socket has timed out|connect\(\) timed out")


def outside_error(err: BaseException, command: str | None) -> UserError | None:
    """The block that tells it; ``None`` if an exception is about something else.

    Args:
        err: What was raised.
        command: What was to be done.
    """
    again = "continue with --resume=true" if command == "fit" else "give the same command again"
    if isinstance(err, OSError) and err.errno in _REFUSED:
        return _disk_error(err, again)
    if isinstance(err, OSError) and err.errno in _UNNAMEABLE:
        return UserError(
            f"{cut(str(err.filename or 'a name'))!r} is no path: {err.strerror}",
            fix="give a shorter one" if err.errno == errno.ENAMETOOLONG else "see where its links lead",
        )
    if isinstance(err, FileNotFoundError) and (gone := re.search(r"[^\s'\"]+\.ckpt", str(err))) is not None:
        return UserError(
            f"the checkpoint {gone[0]!r} is gone",
            why="it was there when the command began: a training of this run has replaced it by a better one",
            fix=again,
        )
    for link in _links(err):
        if _FULL.search(str(link)):
            return _disk_error(link, again)
        if isinstance(link, RuntimeError) and (_GONE.search(str(link)) or _ABSENT.search(str(link))):
            return _peer_error(link, again)
    frames = [frame.f_code for frame, _ in traceback.walk_tb(err.__traceback__)]
    if any(code.co_filename.endswith("checkpoint_connector.py") and "restore" in code.co_name for code in frames):
        return CheckpointError(
            "the checkpoint cannot be taken up",
            where="ckpt_path" if command != "fit" else "last.ckpt of the run, or ckpt_path",
            why=f"what it says of the training is not what was written: {type(err).__name__}: {_first(err)}",
            fix="use another checkpoint of this run, or one that was copied whole",
        )
    return None


def _disk_error(err: BaseException, again: str) -> UserError:
    """A disk that takes nothing more, also as safetensors, tokenizers and Arrow put it."""
    code, told = (err.errno, err.strerror) if isinstance(err, OSError) else (None, None)
    # A full or read-only disk refuses writing only; missing rights may be those to read.
    denied = code in (errno.EACCES, errno.EPERM)
    done, fix = ("read or written", "allow that") if denied else ("written", "allow writing there")
    full = _FULL.search(str(err))
    if full is not None:
        fix, told = "make room", full[1]
    place = err.filename if isinstance(err, OSError) else None
    return UserError(
        f"a file could not be {done}: {told}",
        where=str(place) if place else "the run's folder, or the folder for temporary files",
        why="what was saved before is untouched",
        fix=f"{fix}, then {again}",
    )


def _peer_error(err: BaseException, again: str) -> UserError:
    """The end of a process that this one works together with: it is met in what they do together."""
    if _ABSENT.search(str(err)):  # at the store where all meet first
        return UserError(
            "the other processes of this run did not come",
            why=_first(err),
            fix="start the same command on every node, with the same MASTER_ADDR and MASTER_PORT",
        )
    return UserError(
        "another process of this run has ended, and this one ends with it",
        why=_first(err),
        fix=f"see what the other one said; what was saved before is untouched: {again}",
    )


def _first(err: BaseException) -> str:
    """What an exception says, in a line without the place in its sources."""
    line = re.sub(r"^\[[^\]]*\]\s*", "", next(iter(str(err).splitlines()), ""))
    return line.partition(". This is")[0][:160]


def _links(err: BaseException | None) -> Iterator[BaseException]:
    """An exception and what led to it."""
    seen: set[int] = set()
    while err is not None and id(err) not in seen:
        seen.add(id(err))
        yield err
        err = err.__cause__ or err.__context__
