"""How fast ``hbac.infer`` is with many members, and how much of the time is not the networks' own.

    python benchmarks/infer.py

Five folds of three bands of the ResNet1D-GRU and five of the EfficientNet-B0, random weights, noise in the HMS layout.
Each window is read once and goes once through each of four front-ends; what is not spent in the twenty networks'
forward passes has to stay under 15 %.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from hbac.data.windows import WindowDataset
from hbac.ensembling.ensemble_file import Ensemble
from hbac.inference.networks import Networks, RowChunks, members_of_runs, predict_runs
from hbac.recordings.datasets import HMS
from tests.ensembles import write_ensemble
from tests.helpers import write_hms_layout

MEMBERS = [[f"band={band}"] for band in ("0.5-20", "0.5-40", "1-12")] + [
    ["model=efficientnet", "model.pretrained=false"]
]
LIMIT = 0.15


def main() -> None:
    """Time, print, and exit with 1 where the promise isn't kept."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--windows", type=int, default=2640)
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--smoke", action="store_true", help="smallest sizes, in seconds; promises are not checked")
    options = parser.parse_args()
    if options.smoke:
        options.windows = 4
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        # Few recordings, seen again and again: the store would be as fast with many.
        root = write_hms_layout(folder / "data", n_eegs=60, n_test=0, with_spectrograms=True, max_rows_per_eeg=1)
        part = HMS(root, folder / "stores").part("train", official=True)
        ensemble = Ensemble.read(write_ensemble(folder / "ensemble", MEMBERS, n_folds=5))
        networks = Networks.of(ensemble)
        rows = [row % len(part.rows) for row in range(options.windows)]
        windows = WindowDataset(part, networks.sources, rows)  # type: ignore[arg-type]
        began = time.perf_counter()
        ensemble.apply(members_of_runs(predict_runs(RowChunks(networks, windows, options.batch)), networks.member))
        spent_s = time.perf_counter() - began
    outside = 1 - networks.clock.seconds / spent_s
    print(f"{len(networks.models)} networks, {len(networks.groups)} front-ends, {options.windows} windows")
    print(f"{options.windows / spent_s:.2f} windows/s, {100 * outside:.1f} % of the time outside the forward passes")
    sys.exit(0 if outside < LIMIT or options.smoke else 1)


if __name__ == "__main__":
    main()
