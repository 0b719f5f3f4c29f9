"""How soon our recipe is where the public one ends: fold 0 of the simulated medium data set, 10 or more votes.

    OMP_NUM_THREADS=2 python benchmarks/time_to_score.py --outputs outputs/ingredients

Both are trained by the command that a user would type, one after the other, and what is there already is not trained
again. Prints each epoch's KL on the held-out rows with the seconds of training and validation up to it, over all
stages, and the ratio of the time in which `experiment=strong` reaches the last KL of `experiment=public_resnet_gru` (10
epochs) to the time which that took. It has to be at most 1/8.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
from pathlib import Path

import pandas as pd

from hbac.common.files import read_json
from hbac.runs.folder import CONFIG_FILE

KL = "val/kl_10_or_more"


def train(experiment: str, outputs: Path, size: tuple[str, ...]) -> Path:
    """Train fold 0 of an experiment and return the run's folder."""
    command = [
        sys.executable, "-m", "hbac.train", f"experiment={experiment}", *size, "logger=csv",
        f"outputs={outputs}", "fold=0",
    ]  # fmt: skip
    said = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout
    return Path(next(line.removeprefix("run:").strip() for line in said.splitlines() if line.startswith("run:")))


def curve(run: Path) -> pd.DataFrame:
    """Read KL and elapsed seconds of each epoch, the stages behind one another."""
    logged = pd.concat([pd.read_csv(path) for path in sorted(run.glob("logs/*/metrics.csv"))])
    epochs, before = [], 0.0
    for stage in [*(f"{name}/" for name in read_json(run / CONFIG_FILE)["stages"]), ""]:
        columns = [f"{stage}{name}" for name in ("epoch", "train/elapsed_s", KL)]
        found = logged[columns].set_axis(["epoch", "seconds", "kl"], axis=1).groupby("epoch").first()
        epochs.append(found.assign(stage=stage.removesuffix("/") or "last", seconds=found["seconds"] + before))
        before = epochs[-1]["seconds"].max()
    return pd.concat(epochs, ignore_index=True)[["stage", "seconds", "kl"]]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--outputs", type=Path, default=Path("outputs/ingredients"))
    parser.add_argument("--smoke", action="store_true", help="one epoch of the tiny data set")
    options = parser.parse_args()
    size: tuple[str, ...] = ("dataset.size=medium",)
    if options.smoke:
        size, options.outputs = ("dataset.size=tiny", "trainer.max_epochs=1"), Path(tempfile.mkdtemp())
    public, ours = (curve(train(name, options.outputs, size)) for name in ("public_resnet_gru", "strong"))
    for name, found in (("public_resnet_gru", public), ("strong", ours)):
        print(f"{name}\n{found.to_string(index=False, float_format='%.4f')}\n")
    target, whole_s = public["kl"].iloc[-1], public["seconds"].iloc[-1]
    there = ours[ours["kl"] <= target]
    if there.empty:
        print(f"strong does not reach {target:.4f}")
        return
    reached_s = there["seconds"].iloc[0]
    print(f"public ends at {target:.4f} after {whole_s:.0f} s; strong is there after {reached_s:.0f} s")
    print(f"ratio {reached_s / whole_s:.3f}, 1/{whole_s / reached_s:.1f}   (at most 1/8)")


if __name__ == "__main__":
    main()
