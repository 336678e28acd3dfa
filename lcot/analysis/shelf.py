"""What has to be known of many questions at once, on disk: each can be taken up again by its number."""

from __future__ import annotations

import json
from array import array
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import torch
from torch import Tensor


class Shelf:
    """Records of bytes in a file, put there in order and taken in any.

    In memory there are 8 bytes a record. The file is removed at the end of the block.

    Args:
        file: Its place; nothing may be there.
    """

    def __init__(self, file: Path) -> None:
        self._path = file
        self._file = file.open("x+b")
        self._starts = array("Q", [0])

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, err: BaseException | None, at: TracebackType | None) -> None:
        self._file.close()
        self._path.unlink(missing_ok=True)

    def __len__(self) -> int:
        return len(self._starts) - 1

    def put(self, record: bytes) -> None:
        """Add a record behind the others; all are put before the first is taken."""
        self._file.write(record)
        self._starts.append(self._starts[-1] + len(record))

    def take(self, number: int) -> bytes:
        """The record of a number, from 0."""
        start, stop = self._starts[number], self._starts[number + 1]
        self._file.seek(start)
        return self._file.read(stop - start)

    def put_vectors(self, vectors: Tensor) -> None:
        """Add vectors ``(…, D)``, in float32."""
        self.put(vectors.detach().to("cpu", torch.float32).contiguous().numpy().tobytes())

    def take_vectors(self, number: int, width: int) -> Tensor:
        """The vectors of a number, as ``(n, D)`` with D the width."""
        return torch.frombuffer(bytearray(self.take(number)), dtype=torch.float32).view(-1, width)

    def put_plain(self, value: Any) -> None:
        """Add a plain value, as JSON has them."""
        self.put(json.dumps(value, ensure_ascii=False).encode("utf-8", "surrogatepass"))

    def take_plain(self, number: int) -> Any:
        """The plain value of a number."""
        return json.loads(self.take(number).decode("utf-8", "surrogatepass"))
