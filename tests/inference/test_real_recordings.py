"""Real windows as EDF files of any rate, naming, unit and reference: the probabilities of the HMS layout."""

from __future__ import annotations

from collections.abc import Callable
from itertools import product
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from scipy.signal import resample

from hbac.inference.along import AlongChunks, Steps, check_montages, predict_along
from hbac.inference.loading import ensemble_of
from hbac.inference.networks import Networks
from hbac.reading.names import parse_label
from hbac.reading.opened import open_recording
from hbac.vocabulary import CHANNELS, ELECTRODES
from tests.ensembles import SMALL_NET, write_ensemble
from tests.recorded import CHB_MIT, brain, write_edf

TODAY = {"T3": "T7", "T4": "T8", "T5": "P7", "T6": "P8"}
# How electrodes are called, and what stands behind them in common reference and in linked ears.
NAMES: dict[str, tuple[Callable[[str], str], str, str]] = {
    "plain": (lambda name: name, "", "-A1A2"),
    "today": (lambda name: TODAY.get(name, name), "-Avg", "-LE"),
    "tuh": (lambda name: f"EEG {name.upper()}", "-REF", "-LE"),
    "nihon kohden": (lambda name: f"POL {name}", "-Ref", "-A1+A2"),
    "dots and blanks": (lambda name: f" eeg {name.lower()}.", ".", " - le "),
}


@pytest.fixture(scope="module")
def networks(tmp_path_factory: pytest.TempPathFactory) -> Networks:
    """A network of each montage that people use, with random weights."""
    members = [[*SMALL_NET, "montage=longitudinal_bipolar"], [*SMALL_NET, "montage=average_reference", "band=0.5-40"]]
    path = write_ensemble(tmp_path_factory.mktemp("ensemble"), members, n_folds=1)
    return Networks.of(ensemble_of(path.parent), "cpu", "32-true")


@pytest.fixture(scope="module")
def windows(request: pytest.FixtureRequest) -> list[np.ndarray]:
    """The twelve real windows, or two simulated ones where they are not there: (20, 10000) µV."""
    root = Path(__file__).resolve().parents[3] / "shared" / "data" / "iiic" / "train_eegs"
    files = sorted(root.glob("*.parquet"))
    if not files:
        return [brain(50, 200, 20, seed) for seed in range(2)]
    return [np.nan_to_num(pd.read_parquet(file)[list(CHANNELS)].to_numpy().T.astype(float)) for file in files]


def as_recorded(
    window_CT: np.ndarray, sfreq: float, names: str, unit: str, linked: bool
) -> list[tuple[str, np.ndarray]]:
    """Change rate, names, unit and reference."""
    n = window_CT.shape[1]
    x_CT = np.concatenate([window_CT, window_CT[:, ::-1]], axis=1)  # periodic, for the exact resampling
    x_CT = resample(x_CT, round(2 * n * sfreq / 200), axis=1)[:, : round(n * sfreq / 200)]
    if linked:  # both ears, which hear what is near them
        ears = 0.5 * (x_CT[CHANNELS.index("T3")] + x_CT[CHANNELS.index("T4")])
        x_CT[: len(ELECTRODES)] -= 0.3 * ears
    x_CT = x_CT * {"uV": 1.0, "V": 1e-6}[unit]
    called, common, ear = NAMES[names]
    behind = ear if linked else common
    return [("ECG" if name == "EKG" else called(name) + behind, x) for name, x in zip(CHANNELS, x_CT, strict=True)]


CROSS = list(product((200.0, 250.0, 256.0, 512.0), NAMES, ("uV", "V"), (False, True)))
# Each value of each with others; all 80 take minutes.
QUICK = (
    (200.0, "dots and blanks", "V", True), (250.0, "today", "V", False), (256.0, "tuh", "uV", True),
    (512.0, "plain", "V", True), (256.0, "nihon kohden", "uV", False),
)  # fmt: skip
CASES = [pytest.param(*case, marks=() if case in QUICK else pytest.mark.slow) for case in CROSS]


def as_stored(networks: Networks, windows: list[np.ndarray]) -> np.ndarray:
    """What the same windows are in the HMS layout: (runs, windows, 6)."""
    eeg = torch.from_numpy(np.stack([w.T for w in windows]).astype(np.float16))
    return networks.predict({"eeg": eeg, "row": torch.arange(len(eeg))}).numpy()


@pytest.mark.parametrize(("sfreq", "names", "unit", "linked"), CASES)
def test_a_window_is_told_the_same_whatever_file_it_comes_from(
    networks: Networks, windows: list[np.ndarray], tmp_path: Path, sfreq: float, names: str, unit: str, linked: bool
) -> None:
    wanted = as_stored(networks, windows)
    found = []
    for number, window in enumerate(windows):
        path = write_edf(tmp_path / f"{number}.edf", as_recorded(window, sfreq, names, unit, linked), sfreq, unit)
        recording = open_recording(path)
        recording.check_amplitudes()
        assert not check_montages(networks, recording)
        steps = Steps.of(recording, 50.0)
        assert steps.share.tolist() == [1.0]
        found.append(predict_along(AlongChunks(networks, recording, steps))[:, 0])
    assert np.abs(np.stack(found, axis=1) - wanted).max() < 0.01


def test_derivations_alone_tell_the_double_banana_the_same(windows: list[np.ndarray], tmp_path: Path) -> None:
    path = write_ensemble(tmp_path / "one", [[*SMALL_NET, "montage=longitudinal_bipolar"]], n_folds=1)
    networks = Networks.of(ensemble_of(path.parent), "cpu", "32-true")
    found = []
    for number, window in enumerate(windows):
        x = dict(as_recorded(window, 256.0, "plain", "uV", False))
        leads = [
            (label, lead) for label in CHB_MIT if (lead := parse_label(label)) and {lead.name, lead.reference} <= {*x}
        ]
        signals = [(label, x[lead.name] - x[lead.reference]) for label, lead in leads]
        recording = open_recording(write_edf(tmp_path / f"{number}.edf", signals, 256.0))
        assert not check_montages(networks, recording)
        found.append(predict_along(AlongChunks(networks, recording, Steps.of(recording, 50.0)))[:, 0])
    assert np.abs(np.stack(found, axis=1) - as_stored(networks, windows)).max() < 0.01
