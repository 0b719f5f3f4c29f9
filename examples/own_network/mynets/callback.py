"""A callback of one's own: anything that Lightning calls during training."""

import sys

import lightning as L


class HardestClass(L.Callback):
    """Say after each validation which class costs most."""

    def on_validation_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Print one line."""
        names = ("seizure", "lpd", "gpd", "lrda", "grda", "other")
        cost = {name: float(trainer.callback_metrics[f"val/kl_{name}"]) for name in names}
        hardest = max(cost, key=cost.__getitem__)
        sys.stdout.write(f"  hardest: {hardest} ({cost[hardest]:.3f} of the KL)\n")
