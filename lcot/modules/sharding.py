"""FSDP2: weights, gradients and optimizer states shared out over the processes (``--trainer.strategy=fsdp2``).

Each process keeps a piece of every tensor. In training a decoder layer is gathered for each pass through it and given
up again; embeddings, output head and whatever a module has beside its language models are gathered once a step. So all
processes must make the same passes in the same order: they agree on their number before each step, and those with fewer
read some columns one by one. Texts have any lengths, and batches of a validation any number, so the whole model is
gathered once for a validation, a test or predictions, and each process goes its own way.

Checkpoints are those of a single process: one file, written by the first, with whole tensors.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, TypeVar

import lightning as L
import torch
from lightning.pytorch.strategies import ModelParallelStrategy, StrategyRegistry
from torch import Tensor, nn
from torch.distributed.fsdp import FSDPModule, fully_shard
from torch.distributed.tensor import DTensor, distribute_tensor
from transformers.modeling_layers import GradientCheckpointingLayer

from lcot.errors import UserError
from lcot.reasoning.batch import ThoughtBatch, in_passes

T = TypeVar("T")


class FSDP2(ModelParallelStrategy):
    """Lightning's strategy for FSDP2 with one file a checkpoint, and processes that stay in step.

    Args:
        process_group_backend: ``nccl`` on GPUs and ``gloo`` on CPUs, if not given.
    """

    def __init__(self, process_group_backend: str | None = None) -> None:
        super().__init__(save_distributed_checkpoint=False, process_group_backend=process_group_backend)
        self._gathered = 0

    # -- set-up -----------------------------------------------------------------------------------------------------

    def setup_environment(self) -> None:
        """Share the data among all processes: none of them hold pieces of one product (tensor parallelism)."""
        self._data_parallel_size = self.num_nodes * self.num_processes
        self._tensor_parallel_size = 1
        super().setup_environment()

    def setup(self, trainer: L.Trainer) -> None:
        """Share the weights out, and make the optimizer for the pieces."""
        module = self._module()
        if not isinstance(module, FSDPModule):
            self.model = self.precision_plugin.convert_module(module)
            shard(module, self.device_mesh["data_parallel"])
        super().setup(trainer)
        # The first forward says which module is the root: not a layer that a callback happens to call.
        self._forward(lambda: None)
        _parts(module)[0].reshard()

    # -- steps ------------------------------------------------------------------------------------------------------

    def training_step(self, *args: Any, **kwargs: Any) -> Any:
        """One step, as the forward of the root: what is gathered once stays until the backward pass is over."""
        batch, *rest = args
        batch = self._in_step(batch) if isinstance(batch, ThoughtBatch) else batch
        with self.precision_plugin.train_step_context():
            return self._forward(lambda: self._module().training_step(batch, *rest, **kwargs))

    def on_validation_start(self) -> None:
        """Gather the model."""
        self.gather()

    def on_validation_end(self) -> None:
        """Share it out again."""
        self.release()

    def on_test_start(self) -> None:
        """Gather the model."""
        self.gather()

    def on_test_end(self) -> None:
        """Share it out again."""
        self.release()

    def on_predict_start(self) -> None:
        """Gather the model."""
        self.gather()

    def on_predict_end(self) -> None:
        """Share it out again."""
        self.release()

    @torch.no_grad()
    def gather(self) -> None:
        """Have the whole model in each process, until :meth:`release` has been called as often."""
        self._gathered += 1
        if self._gathered == 1:
            for part in _parts(self._module()):
                part.set_reshard_after_forward(False, recurse=False)
                part.unshard()

    def release(self) -> None:
        """Share the model out again."""
        self._gathered -= 1
        if self._gathered == 0:
            root, *layers = _parts(self._module())
            for part in layers:
                part.set_reshard_after_forward(True, recurse=False)
            for part in (root, *layers):
                part.reshard()

    # -- checkpoints ------------------------------------------------------------------------------------------------

    @property
    def restore_checkpoint_after_setup(self) -> bool:
        """Load weights as every strategy does."""
        return False

    @property
    def lightning_restore_optimizer(self) -> bool:
        """Load optimizers as every strategy does."""
        return True

    def lightning_module_state_dict(self) -> dict[str, Any]:
        """Whole tensors on the CPU, of what a checkpoint holds; empty in all processes but the first."""
        module: Any = self._module()
        names = set(module.trained_names()) if hasattr(module, "trained_names") else None
        found = {name: value for name, value in module.state_dict().items() if names is None or name in names}
        return self._whole(found)

    def load_model_state_dict(self, checkpoint: Mapping[str, Any], strict: bool = True) -> None:
        """Take this process's pieces out of whole tensors."""
        module = self._module()
        own = module.state_dict()
        pieces = {name: _piece(value, own.get(name)) for name, value in checkpoint["state_dict"].items()}
        module.load_state_dict(pieces, strict=strict)

    def optimizer_state(self, optimizer: torch.optim.Optimizer) -> dict[str, Any]:
        """Whole tensors on the CPU; empty in all processes but the first."""
        state = optimizer.state_dict()
        return {**state, "state": {key: self._whole(values) for key, values in state["state"].items()}}

    def load_optimizer_state_dict(self, checkpoint: Mapping[str, Any]) -> None:
        """Take this process's pieces out of whole tensors."""
        for optimizer, saved in zip(self.optimizers, checkpoint["optimizer_states"], strict=True):
            parameters = [parameter for group in optimizer.param_groups for parameter in group["params"]]
            state = {
                key: {
                    name: _piece(value, parameters[key] if _of_shape(value, parameters[key]) else None)
                    for name, value in values.items()
                }
                for key, values in saved["state"].items()
            }
            optimizer.load_state_dict({**saved, "state": state})

    def load_checkpoint(self, checkpoint_path: Any, weights_only: bool | None = None) -> dict[str, Any]:
        """Map the file: every process reads its pieces only."""
        loaded: dict[str, Any] = torch.load(checkpoint_path, map_location="cpu", mmap=True, weights_only=True)
        return loaded

    def _whole(self, values: Mapping[str, Any]) -> dict[str, Any]:
        whole = {}
        for name, value in values.items():  # one by one: no process but the first has more than one of them
            full = value.full_tensor() if isinstance(value, DTensor) else value
            if self.is_global_zero:
                whole[name] = full.detach().cpu() if isinstance(full, Tensor) else full
        return whole

    # -- helpers ----------------------------------------------------------------------------------------------------

    def _module(self) -> L.LightningModule:
        assert self.lightning_module is not None
        return self.lightning_module

    def _forward(self, run: Callable[[], T]) -> T:
        """Run something as the forward of the root."""
        module = self._module()

        def once() -> T:
            del module.forward
            return run()

        module.forward = once  # type: ignore[method-assign]
        found: T = module()
        return found

    def _in_step(self, batch: ThoughtBatch) -> ThoughtBatch:
        """The batch, to be read in as many passes as those of the other processes."""
        passes = torch.tensor([batch.passes, -batch.passes], device=self.root_device)
        most, least = torch.as_tensor(self.reduce(passes, reduce_op="max")).tolist()
        return in_passes(batch, most) if most != -least else batch


StrategyRegistry.register("fsdp2", FSDP2, description="weights, gradients and optimizer states shared out (FSDP2)")


PRECISIONS = ("32-true", "bf16-mixed", "bf16-true", "16-true", "64-true")
"""Those that pieces of tensors can be trained in: the scaler of ``16-mixed`` looks at a process's own pieces only."""


def check_sharding(strategy: Any, precision: Any) -> None:
    """Refuse strategies that would wrap, cut or copy a model in ways that its passes do not survive.

    Args:
        strategy: The trainer's: a name, an object, or a parsed class path.
        precision: The trainer's.

    Raises:
        UserError: If it is one, or ``fsdp2`` cannot be had in this precision.
    """
    unknown = isinstance(strategy, str) and strategy not in ("auto", *StrategyRegistry)
    if not isinstance(strategy, str):
        path = strategy.get("class_path") if hasattr(strategy, "get") else None
        strategy = str(path).rpartition(".")[2] if path else type(strategy).__name__
    fix = "use --trainer.strategy=fsdp2: weights, gradients and optimizer states are shared out (docs/sharding.md)"
    why = None
    if strategy in ("fsdp2", "FSDP2"):
        if str(precision) not in (*PRECISIONS, "32", "64", "bf16", "None"):
            raise UserError(
                f"precision is {precision!r}, and strategy is 'fsdp2'",
                where="trainer.precision, trainer.strategy",
                why="gradients are scaled by what a process sees of them, and each sees other pieces",
                fix="use bf16-mixed or bf16-true",
            )
    elif strategy.startswith(("fsdp", "FSDP")):
        why = "FSDP1 gathers the weights for one forward, and a thought is one of many in a step"
    elif strategy.lower().startswith("deepspeed"):
        why = "DeepSpeed gathers the weights for one forward, and writes checkpoints that only it can read"
    elif strategy == "ModelParallelStrategy":
        why = "it shares out nothing by itself, and no layer here is cut for tensor parallelism"
    elif unknown:
        known = ("auto", "ddp", "ddp_find_unused_parameters_true", "fsdp2", "single_device")
        raise UserError.unknown("strategy", strategy, known, where="trainer.strategy")
    if why is not None:
        raise UserError(f"trainer.strategy is {strategy!r}", where="trainer.strategy", why=why, fix=fix)


def shard(module: L.LightningModule, mesh: Any) -> None:
    """Share out the weights of a module: each decoder layer by itself, and all else together.

    Args:
        module: Changed in place; its class becomes one of torch's that extends its own, of the same name.
        mesh: Over which devices.
    """
    own = type(module)
    for layer in [layer for layer in module.modules() if isinstance(layer, GradientCheckpointingLayer)]:
        fully_shard(layer, mesh=mesh)
    fully_shard(module, mesh=mesh)
    for name in ("__name__", "__qualname__", "__module__"):
        setattr(type(module), name, getattr(own, name))  # what checkpoints and words for people call it


@contextmanager
def gathered(trainer: Any) -> Iterator[None]:
    """Have the whole model in each process meanwhile, under whatever strategy; all processes come here together."""
    strategy = getattr(trainer, "strategy", None)
    if not isinstance(strategy, FSDP2):
        yield
        return
    strategy.gather()
    try:
        yield
    finally:
        strategy.release()


def is_sharded(trainer: Any) -> bool:
    """Whether weights are shared out."""
    return isinstance(getattr(trainer, "strategy", None), FSDP2)


def _parts(module: nn.Module) -> list[FSDPModule]:
    """The root, and what is gathered by itself."""
    return [part for part in module.modules() if isinstance(part, FSDPModule)]


def _piece(value: Any, like: Any) -> Any:
    if not isinstance(like, DTensor) or not isinstance(value, Tensor):
        return value
    whole = value.to(like.device)
    return distribute_tensor(whole, like.device_mesh, like.placements, src_data_rank=None)


def _of_shape(value: Any, parameter: Tensor) -> bool:
    return isinstance(value, Tensor) and value.shape == parameter.shape
