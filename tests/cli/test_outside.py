"""What breaks a command from outside is told in a block, in whatever words a library has for it."""

from __future__ import annotations

import errno
import os
from typing import Any

import pytest
from safetensors import SafetensorError

from lcot.cli.outside import outside_error

FULL = os.strerror(errno.ENOSPC)


def hidden(reason: Exception) -> Exception:
    """An exception that was raised while another one was handled, and says nothing of it."""
    try:
        try:
            raise reason
        except Exception:
            raise RuntimeError("unexpected pos 768 vs 662")  # noqa: B904
    except RuntimeError as err:
        return err


@pytest.mark.parametrize(
    "err",
    [
        OSError(errno.ENOSPC, FULL, "runs/a/last.ckpt"),
        OSError(errno.ENOSPC, FULL),
        OSError(errno.EDQUOT, os.strerror(errno.EDQUOT)),
        Exception(f"{FULL} (os error 28)"),  # tokenizers
        SafetensorError(f"Error while serializing: I/O error: {FULL} (os error 28)"),
        hidden(OSError(errno.ENOSPC, FULL)),  # torch's writer
        OSError(28, f"Error writing bytes to file. Detail: [errno 28] {FULL}"),  # Arrow
    ],
)
@pytest.mark.parametrize(("command", "fix"), [("fit", "--resume=true"), ("test", "give the same command again")])
def test_a_full_disk(err: Exception, command: str, fix: str) -> None:
    said = str(outside_error(err, command))
    assert "a file could not be written: " in said and f"make room, then {fix}" in said.replace("continue with ", "")
    assert said.count("No space left on device") + said.count("Disk quota exceeded") == 1
    assert (getattr(err, "filename", None) or "the run's folder") in said


@pytest.mark.parametrize(
    "text",
    [
        "[/pytorch/third_party/gloo/gloo/transport/tcp/pair.cc:537] Read error [127.0.0.1]:321: Connection reset by"
        " peer. This is typically caused by a remote worker hanging.",
        "[/x/pair.cc:544] Connection closed by peer [10.0.0.1]:2000. This is typically caused by …",
        "[/x/pair.cc:81] writev [127.0.0.1]:1: Broken pipe",
        "[/x/unbound_buffer.cc:78] Timed out waiting 1800000ms for recv operation to complete",
        "NCCL error in: …, remote process exited or there was a network error, NCCL version 2.27.5",
    ],
)
def test_the_end_of_another_process(text: str) -> None:
    said = str(outside_error(RuntimeError(text), "fit"))
    assert said.startswith("another process of this run has ended") and "/pair.cc" not in said
    assert "continue with --resume=true" in said and len(said.splitlines()) == 3


@pytest.mark.parametrize(
    "err",
    [
        FileNotFoundError(
            "Checkpoint file not found: runs/a/checkpoints/best-stage0-epoch000.ckpt. Aborting training."
        ),
        FileNotFoundError(errno.ENOENT, "No such file", "runs/a/checkpoints/best-stage0-epoch000.ckpt"),
    ],
)
def test_a_checkpoint_that_a_training_replaced_meanwhile(err: Exception) -> None:
    said = str(outside_error(err, "test"))
    assert said.startswith("the checkpoint 'runs/a/checkpoints/best-stage0-epoch000.ckpt' is gone")


@pytest.mark.parametrize(
    "text",
    [
        "The client socket has timed out after 4000ms while trying to connect to (127.0.0.1, 44935).",
        "Timed out after 1801 seconds waiting for clients. 1/2 clients joined.",
    ],
)
def test_processes_that_did_not_come(text: str) -> None:
    said = str(outside_error(RuntimeError(text), "fit"))
    assert said.startswith("the other processes of this run did not come") and "MASTER_ADDR" in said


@pytest.mark.parametrize(
    "err",
    [
        RuntimeError("mat1 and mat2 shapes cannot be multiplied"),
        RuntimeError("NCCL error: invalid usage, Duplicate GPU detected"),
        FileNotFoundError(errno.ENOENT, "No such file"),
        hidden(PermissionError(errno.EACCES, "Permission denied")),
        ZeroDivisionError(),
    ],
)
def test_faults_of_another_kind_are_not_taken_for_it(err: Any) -> None:
    assert outside_error(err, "fit") is None
