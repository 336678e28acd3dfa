#!/usr/bin/env bash
# lightning 2.6.6 (torch 2.13.0): a run that continues with another `patience` of EarlyStopping keeps the old one.
#
# The first run has patience 1 and stops. The second continues from its checkpoint with patience 50, set in the script.
# Expected: patience 50 counts. Seen: EarlyStopping.load_state_dict puts the saved patience (1) over the one that was
# set, without a word; the run trains one epoch and stops again.
# The script fails if this changes.
set -euo pipefail
place=$(mktemp -d)
trap 'rm -rf "$place"' EXIT
python3 -m venv "$place/venv"
"$place/venv/bin/python" -m pip install --quiet torch==2.13.0 2>/dev/null
"$place/venv/bin/python" -m pip install --quiet lightning==2.6.6
cd "$place"
venv/bin/python - <<'PYTHON' 2>/dev/null
import lightning as L
import torch
from lightning.pytorch.callbacks import EarlyStopping, ModelCheckpoint
from torch.utils.data import DataLoader, TensorDataset


class Flat(L.LightningModule):
    def __init__(self):
        super().__init__()
        self.weight = torch.nn.Parameter(torch.zeros(1))

    def training_step(self, batch, _):
        return (self.weight * batch[0]).sum()

    def validation_step(self, batch, _):
        self.log("value", torch.tensor(1.0))  # never better than it was

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), lr=0.0)


def run(patience, start=None):
    data = DataLoader(TensorDataset(torch.ones(4, 1)), batch_size=2)
    stopping = EarlyStopping("value", patience=patience)
    saving = ModelCheckpoint("checkpoints", save_last=True, save_on_train_epoch_end=True)
    trainer = L.Trainer(
        max_epochs=20, accelerator="cpu", callbacks=[stopping, saving], logger=False, enable_progress_bar=False,
        enable_model_summary=False, num_sanity_val_steps=0,
    )
    trainer.fit(Flat(), data, data, ckpt_path=start)
    return trainer.current_epoch, stopping.patience


first = run(1)
second = run(50, start="checkpoints/last.ckpt")
print(f"set 1: ended after epoch {first[0]}, patience {first[1]}; set 50: ended after epoch {second[0]}, patience {second[1]}")
assert first[0] < 5 and first[1] == 1, first
assert second[0] < 20 and second[1] == 1, f"it has changed: {second}"
PYTHON
echo "as described: the saved patience replaces the one that is set"
