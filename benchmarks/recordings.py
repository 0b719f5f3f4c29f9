"""How fast ``hbac.infer recordings=`` is: against window by window, and against MNE's way of reading the same file.

    python benchmarks/recordings.py

An EDF file of 19 electrodes at 256 Hz, noise, one ResNet1D-GRU, a window each two seconds. Wall-clock time counts on a
machine that does nothing else; the processor's seconds stand beside it. The promises: a day in 180 s on two cores,
reading, resampling and filtering within a third of that, and five times as fast as one window after the other.
"""

from __future__ import annotations

import argparse
import resource
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import numpy as np
import torch

from hbac.inference.along import AlongChunks, Steps, predict_along
from hbac.inference.loading import ensemble_of
from hbac.inference.networks import Networks
from hbac.reading.opened import Recording, open_recording
from hbac.recordings.outside import fill_outside
from hbac.vocabulary import ELECTRODES
from tests.ensembles import write_ensemble
from tests.recorded import brain, write_edf

STEP_S, SFREQ = 2.0, 256.0


@contextmanager
def timed(spent: dict[str, tuple[float, float]], what: str) -> Iterator[None]:
    wall, cpu = time.perf_counter(), time.process_time()
    yield
    spent[what] = (time.perf_counter() - wall, time.process_time() - cpu)


def write_day(path: Path, hours: float) -> Path:
    """Write ten minutes again and again."""
    piece = path.with_suffix(".piece.edf")
    minutes = min(10.0, 60 * hours)
    write_edf(piece, dict(zip(ELECTRODES, brain(60 * minutes, SFREQ), strict=True)), SFREQ)
    content = bytearray(piece.read_bytes())
    header = 256 * (len(ELECTRODES) + 1)
    times = round(60 * hours / minutes)
    content[236:244] = str(times * int(content[236:244])).encode().ljust(8)
    with path.open("wb") as file:
        file.write(content[:header])
        for _ in range(times):
            file.write(content[header:])
    piece.unlink()
    return path


def one_by_one(networks: Networks, recording: Recording, middles: np.ndarray, batch: int) -> None:
    """Read, resample, filter and predict each window for itself, as one would write it first."""
    for first in range(0, len(middles), batch):
        cut = [recording.read(int(m) - 5000, int(m) + 5000) for m in middles[first : first + batch]]
        eeg = torch.from_numpy(np.stack([fill_outside(window, "reflected").T for window in cut]))
        networks.predict({"eeg": eeg, "row": torch.arange(len(eeg))})


def read_with_mne(path: Path, hours: float) -> None:
    """Load, filter and resample as MNE does it."""
    import mne

    raw = mne.io.read_raw_edf(path, preload=False, verbose="ERROR").crop(0, hours * 3600, include_tmax=False)
    raw.load_data(verbose="ERROR")
    raw.filter(0.5, 20.0, verbose="ERROR")
    raw.resample(40.0, verbose="ERROR")


def main() -> None:
    """Time, print, and exit with 1 where a promise isn't kept."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--hours", type=float, default=24.0)
    parser.add_argument("--sample", type=float, default=1.0, help="hours that the two others are timed on")
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--smoke", action="store_true", help="smallest sizes, in seconds; promises are not checked")
    options = parser.parse_args()
    if options.smoke:
        options.hours = options.sample = 0.05
    spent: dict[str, tuple[float, float]] = {}
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        path = write_day(folder / "day.edf", options.hours)
        ensemble = write_ensemble(folder / "ensemble", [["model=resnet_gru", "band=0.5-20"]], n_folds=1)
        networks = Networks.of(ensemble_of(ensemble.parent))
        before_mb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3
        with timed(spent, "all"):
            recording = open_recording(path)
            recording.check_amplitudes()
            steps = Steps.of(recording, STEP_S)
            predict_along(AlongChunks(networks, recording, steps, batch_size=options.batch))
        forward_s = networks.clock.seconds
        peak_mb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3
        count = round(options.sample * 3600 / STEP_S)
        some = steps.middle[len(steps.middle) // 2 :][:count] if options.sample < options.hours else steps.middle
        some = some[:: max(1, len(some) // 300)]  # each of them costs the same
        for batch in (1, options.batch):
            with timed(spent, f"batches of {batch}"):
                one_by_one(networks, recording, some, batch)
        with timed(spent, "mne"):
            read_with_mne(path, options.sample)
    wall_s, cpu_s = spent["all"]
    rest_s = wall_s - forward_s
    day = 24 / options.hours
    each = cpu_s / len(steps.middle)
    ratios = {what: cpu / len(some) / each for what, (_, cpu) in spent.items() if what.startswith("batches")}
    mne_s = spent["mne"][1] / options.sample
    ours_s = cpu_s * rest_s / wall_s / options.hours
    print(f"{options.hours:g} h, {len(steps.middle):,} windows, {torch.get_num_threads()} threads")
    print(f"all: {wall_s:.1f} s, {cpu_s:.1f} s of processors")
    print(f"a day: {wall_s * day:.0f} s, {cpu_s * day:.0f} s of processors")
    print(f"reading, resampling, filtering: {rest_s:.1f} s, {100 * rest_s / wall_s:.0f} %")
    for what, ratio in ratios.items():
        print(f"window by window, {what}: {ratio:.1f} times as long (processor time of {len(some)} windows)")
    print(f"MNE's load, filter, resample of the same: {mne_s / ours_s:.1f} times as long (processor time of an hour)")
    print(f"memory: {before_mb:.0f} MB before, {peak_mb:.0f} MB at most")
    kept = wall_s * day <= 180 and rest_s <= wall_s / 3 and ratios["batches of 1"] >= 5
    sys.exit(0 if kept or options.smoke else 1)


if __name__ == "__main__":
    main()
