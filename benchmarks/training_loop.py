"""Training through hbac (Lightning, callbacks, CSV logger) against a bare PyTorch loop over the same model and loader.

    python benchmarks/training_loop.py

Both take the same batches of simulated EEG from the store, through the same front-end, turn and turn about. The ratio
of the median rates has to be at least 0.95.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from functools import partial
from pathlib import Path

import lightning as L
import numpy as np
import torch
from lightning.pytorch.callbacks import LearningRateMonitor
from lightning.pytorch.loggers import CSVLogger

from hbac.data import EEGDataModule
from hbac.data.epoch import TrainingWindows
from hbac.data.windows import WindowDataset
from hbac.models import ResNetGRU
from hbac.recordings.datasets import Part, Synthetic
from hbac.signal import EEGFrontEnd
from hbac.training import Classifier
from hbac.training.callbacks import SeedSteps
from hbac.training.quiet import quiet
from hbac.training.schedules import warmup_cosine

LR = 1e-3
REPEATS = 8  # of the tiny data set, in an epoch


def make(part: Part, epochs: int) -> tuple[EEGDataModule, Classifier]:
    torch.manual_seed(0)
    data = EEGDataModule(part, EEGFrontEnd(), batch_size=32)
    data.train_set = TrainingWindows([WindowDataset(part, members=np.tile(np.arange(len(part.rows)), REPEATS))])
    task = Classifier(ResNetGRU(), partial(torch.optim.AdamW, lr=LR), warmup_cosine)
    return data, task


class Clock(L.Callback):
    """Seconds of the training epochs after the first, which warms up."""

    def on_train_epoch_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        if trainer.current_epoch == 1:
            self.began = time.perf_counter()

    def on_train_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        self.seconds = time.perf_counter() - self.began


def with_hbac(part: Part, epochs: int, folder: Path) -> float:
    data, task = make(part, epochs)
    clock = Clock()
    logger = CSVLogger(folder, name="logs")
    trainer = L.Trainer(
        max_epochs=epochs + 1, logger=logger, callbacks=[SeedSteps(0), LearningRateMonitor("epoch"), clock],
        enable_progress_bar=False, enable_model_summary=False, enable_checkpointing=False, limit_val_batches=0,
        deterministic=True, gradient_clip_val=1.0, accelerator="cpu",
    )  # fmt: skip
    trainer.fit(task, data)
    return clock.seconds


def bare(part: Part, epochs: int) -> float:
    data, task = make(part, epochs)
    optimizer = torch.optim.AdamW(task.parameters(), lr=LR)
    loader = data.train_dataloader()
    began = 0.0
    for epoch in range(epochs + 1):
        if epoch == 1:
            began = time.perf_counter()
        loader.sampler.set_epoch(epoch)  # type: ignore[attr-defined]
        for raw in loader:
            batch = data.on_after_batch_transfer(raw, 0)
            loss = task.loss(task(batch["x"]), batch)
            optimizer.zero_grad()
            loss.backward()
            torch.nn.utils.clip_grad_norm_(task.parameters(), 1.0)
            optimizer.step()
    return time.perf_counter() - began


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--epochs", type=int, default=4)
    parser.add_argument("--smoke", action="store_true", help="smallest sizes, in seconds; promises are not checked")
    options = parser.parse_args()
    global REPEATS
    if options.smoke:
        options.rounds, options.epochs, REPEATS = 1, 1, 1
    quiet()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        part = Synthetic(folder / "data", folder / "stores", "tiny", n_jobs=2).part("train")
        n_windows = len(part.rows) * REPEATS // 32 * 32 * options.epochs
        ours, plain = [], []
        for _ in range(options.rounds):
            ours.append(n_windows / with_hbac(part, options.epochs, folder))
            plain.append(n_windows / bare(part, options.epochs))
    ratio = statistics.median(ours) / statistics.median(plain)
    print(f"hbac        {statistics.median(ours):6.1f} windows/s")
    print(f"bare loop   {statistics.median(plain):6.1f} windows/s")
    print(f"ratio       {ratio:.3f}   (at least 0.95)")


if __name__ == "__main__":
    main()
