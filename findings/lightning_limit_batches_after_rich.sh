#!/usr/bin/env bash
# lightning 2.6.6 with jsonargparse 4.53.0 and rich 15.0.0 (torch 2.13.0, CPython 3.11): after `import rich.console`,
# `--trainer.limit_train_batches=1` trains on all batches instead of one.
#
# The trainer's annotation is Optional[Union[int, float]], that of Fabric's clip_gradients Optional[Union[float, int]].
# typing remembers the last 128 such types and takes two that hold the same for one, whatever their order. Without rich,
# Fabric's is forgotten before the trainer's is made; where rich was imported before (whose own types are then not made
# in between), the trainer gets Fabric's order, and LightningCLI tries float first: 1 becomes 1.0, "all batches".
# Expected: one batch. Seen: one without the import, all six with it, and no word of it.
# The script fails if this changes.
set -euo pipefail
place=$(mktemp -d)
trap 'rm -rf "$place"' EXIT
python3 -m venv "$place/venv"
"$place/venv/bin/python" -m pip install --quiet torch==2.13.0 2>/dev/null
"$place/venv/bin/python" -m pip install --quiet lightning==2.6.6 'jsonargparse[signatures]==4.53.0' rich==15.0.0
cd "$place"
cat > train.py <<'PYTHON'
import os

if os.environ.get("WITH_RICH"):
    import rich.console
import lightning as L
import torch
from lightning.pytorch.cli import LightningCLI
from torch.utils.data import DataLoader, TensorDataset


class Small(L.LightningModule):
    def __init__(self):
        super().__init__()
        self.weight = torch.nn.Parameter(torch.zeros(1))

    def training_step(self, batch, number):
        return (self.weight * batch[0]).sum()

    def train_dataloader(self):
        return DataLoader(TensorDataset(torch.ones(12, 1)), batch_size=2)

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), lr=0.1)


made = LightningCLI(Small, save_config_callback=None, seed_everything_default=0)
print("batches:", made.trainer.global_step)
PYTHON
words=(fit --trainer.max_epochs=1 --trainer.limit_train_batches=1 --trainer.accelerator=cpu --trainer.logger=false
  --trainer.enable_checkpointing=false --trainer.enable_progress_bar=false --trainer.enable_model_summary=false)
without=$(venv/bin/python train.py "${words[@]}" 2>/dev/null | grep batches)
with=$(WITH_RICH=1 venv/bin/python train.py "${words[@]}" 2>/dev/null | grep batches)
echo "without rich: $without; with rich: $with"
[ "$without" = "batches: 1" ] && [ "$with" = "batches: 6" ] || { echo "it has changed"; exit 1; }
echo "as described: an import decides whether 1 is one batch or all of them"
