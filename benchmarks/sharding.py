"""What a process keeps of weights and optimizer states when 1, 2, 4 or 8 of them share a model out (strategy fsdp2).

Bytes are counted after one step of AdamW, not measured, so other work on the machine changes nothing. They are those of
the first process; the others are made up by torch's backend for such counts. Beside them stands what is gathered at
most at a time in training: one decoder layer, and embeddings and head with the final norm.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import lightning as L
import torch
from torch import Tensor, distributed
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.tensor import DTensor
from torch.testing._internal.distributed.fake_pg import FakeStore
from transformers import PreTrainedModel
from transformers.modeling_layers import GradientCheckpointingLayer

from benchmarks.common import Bound, make_workload, parser, report
from lcot.modules.sharding import shard


class Whole(L.LightningModule):
    """A module that trains all of a model."""

    def __init__(self, model: PreTrainedModel) -> None:
        super().__init__()
        self.model = model


def local_bytes(tensors: Iterable[Tensor]) -> int:
    """Bytes that this process keeps of some tensors."""
    own = (tensor.to_local() if isinstance(tensor, DTensor) else tensor for tensor in tensors)
    return sum(tensor.numel() * tensor.element_size() for tensor in own)


def kept(model: PreTrainedModel, processes: int) -> tuple[int, int]:
    """Bytes of weights and of optimizer states, in one of several processes."""
    module = Whole(model)
    distributed.init_process_group("fake", store=FakeStore(), rank=0, world_size=processes)
    try:
        shard(module, init_device_mesh("cpu", (processes,)))
        optimizer = torch.optim.AdamW(module.parameters())
        for parameter in module.parameters():
            parameter.grad = torch.zeros_like(parameter)
        optimizer.step()
        states = [value for state in optimizer.state.values() for value in state.values()]
        return local_bytes(module.parameters()), local_bytes(states)
    finally:
        distributed.destroy_process_group()


def main(argv: Sequence[str] | None = None) -> int:
    """Print the table; with ``--check``, exit with 1 if two processes keep more than 0.55 of one's bytes each."""
    args = parser(str(__doc__).splitlines()[0], repeats=1).parse_args(argv)
    rows, totals, gathered = [], {}, 0
    for processes in (1, 2, 4, 8):
        model = make_workload(args).model
        layers = [list(one.parameters()) for one in model.modules() if isinstance(one, GradientCheckpointingLayer)]
        gathered = local_bytes(model.parameters()) - sum(map(local_bytes, layers[1:]))
        weights, states = kept(model, processes)
        totals[processes] = weights + states
        rows.append((f"{processes} processes: weights, optimizer", _mega(weights), _mega(states)))
    rows.append(("gathered at most, in training", _mega(gathered), ""))
    setting = f"{args.layers} layers x {args.width}, {model.config.vocab_size:,} tokens, {args.dtype}, MB of a process"
    return report(
        setting, rows, [Bound("2 processes / 1, bytes", totals[2] / totals[1], 0.55, at_most=True)], args.check
    )


def _mega(count: int) -> str:
    return f"{count / 1e6:.2f}"


if __name__ == "__main__":
    raise SystemExit(main())
