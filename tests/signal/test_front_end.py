"""The EEG front-end: equality with its steps done plainly, missing samples, settings."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import scipy.signal
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from hbac.common.errors import UserError
from hbac.signal.front_end import EEGFrontEnd, fill_missing_
from hbac.signal.montage import MONTAGES, channel_mirror, get_montage
from hbac.vocabulary import CHANNELS


def _eeg(n_windows: int = 3, n_times: int = 10_000, seed: int = 0) -> torch.Tensor:
    white = np.random.default_rng(seed).normal(size=(n_windows, n_times, 20))
    return torch.from_numpy(scipy.signal.lfilter([4.0], [1.0, -0.97], white, axis=1)).float()


def _plain(eeg_BTC: torch.Tensor, montage: str, clip_uv: float = 1024, scale_uv: float = 32) -> np.ndarray:
    """Montage first, then scipy's filter and resampling, in float64."""
    derived = eeg_BTC.double().numpy() @ get_montage(montage).matrix.numpy().T
    sos = scipy.signal.butter(2, [0.5, 20], "bandpass", fs=200, output="sos")
    filtered = scipy.signal.sosfiltfilt(sos, derived, axis=1, padlen=1000)
    decimated = scipy.signal.resample(filtered, eeg_BTC.shape[1] // 5, axis=1)
    return np.clip(decimated, -clip_uv, clip_uv).swapaxes(1, 2) / scale_uv


@pytest.mark.parametrize("montage", list(MONTAGES))
def test_equals_montage_filter_resample_clip_divide(montage: str) -> None:
    eeg = _eeg()
    front_end = EEGFrontEnd(montage=montage)
    got = front_end(eeg)
    wanted = _plain(eeg, montage)
    assert got.shape == (3, front_end.n_chans, front_end.n_times) == wanted.shape
    assert got.dtype == torch.float32
    assert got.is_contiguous()
    assert np.abs(got.numpy() - wanted)[..., 160:-160].max() < 1e-2 * wanted.std()


def test_attributes_are_those_of_the_output() -> None:
    front_end = EEGFrontEnd(montage="public_8", band="1-12", n_times=2000)
    assert (front_end.n_chans, front_end.n_times, front_end.sfreq) == (8, 240, 24.0)


def test_a_sine_between_two_electrodes_arrives_in_units_of_scale_uv() -> None:
    eeg = torch.zeros(1, 10_000, 20)
    eeg[0, :, CHANNELS.index("C3")] = 64 * torch.sin(2 * torch.pi * 3 * torch.arange(10_000) / 200)
    front_end = EEGFrontEnd()
    x = front_end(eeg)[0]
    names = front_end.montage.derivations
    assert x[names.index("C3-P3"), 400:-400].max() == pytest.approx(2.0, abs=0.01)
    torch.testing.assert_close(x[names.index("F3-C3")], -x[names.index("C3-P3")])
    silent = [i for i, name in enumerate(names) if "C3" not in name]
    assert x[silent].abs().max() < 1e-6


def test_clip_comes_after_the_filter() -> None:
    # 5 mV of mains on a small rhythm: clipped first, the rhythm would be lost; clipped last, it alone is left.
    t = torch.arange(10_000) / 200
    eeg = torch.zeros(1, 10_000, 20)
    eeg[0, :, 0] = 5000 * torch.sin(2 * torch.pi * 50 * t) + 50 * torch.sin(2 * torch.pi * 2 * t)
    x = EEGFrontEnd()(eeg)[0, 0, 400:-400]
    assert x.abs().max() == pytest.approx(50 / 32, abs=0.06)
    loud = torch.zeros(1, 10_000, 20)
    loud[0, :, 0] = 9000 * torch.sin(2 * torch.pi * 3 * t)
    clipped = EEGFrontEnd(clip_uv=512, scale_uv=16)(loud)
    assert clipped.max() == 32
    assert clipped.min() == -32


def test_missing_samples_become_the_channels_mean() -> None:
    eeg = _eeg(2) + 100
    holes = eeg.clone()
    holes[0, 4000:4020, 3] = float("nan")
    holes[1, :, 7] = float("nan")
    holes[1, 0, 0] = float("inf")
    by_hand = eeg.clone()
    by_hand[0, 4000:4020, 3] = holes[0, :, 3].nanmean()
    by_hand[1, :, 7] = 0
    by_hand[1, 0, 0] = eeg[1, 1:, 0].mean()
    front_end = EEGFrontEnd()
    torch.testing.assert_close(front_end(holes), front_end(by_hand), atol=1e-4, rtol=1e-4)


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 2**31 - 1), st.floats(0, 1), st.integers(0, 4))
def test_filling_is_finite_and_keeps_valid_samples(seed: int, share: float, sound: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(3, 4, 50, generator=generator)
    missing = torch.rand(3, 4, 50, generator=generator) < share
    missing[:, :sound] = False  # channels that miss nothing
    filled = fill_missing_(x.masked_fill(missing, float("nan")))
    assert filled.isfinite().all()
    assert torch.equal(filled[~missing], x[~missing])
    means = x.masked_fill(missing, float("nan")).nanmean(-1, keepdim=True).nan_to_num(0.0).expand_as(x)
    torch.testing.assert_close(filled[missing], means[missing])


def test_an_all_missing_window_gives_zeros() -> None:
    assert not EEGFrontEnd()(torch.full((2, 10_000, 20), float("nan"), dtype=torch.float16)).any()


def test_float16_store_loses_only_its_rounding() -> None:
    eeg = _eeg()
    front_end = EEGFrontEnd()
    assert (front_end(eeg.half()) - front_end(eeg)).abs().max() < 0.02
    assert front_end(eeg.double()).dtype == torch.float64


def test_a_window_does_not_depend_on_its_batch() -> None:
    eeg = _eeg(9)
    eeg[4, 10:30, 2] = float("nan")
    front_end = EEGFrontEnd()
    together = front_end(eeg)
    for i in (0, 3, 4, 8):
        torch.testing.assert_close(front_end(eeg[i : i + 1])[0], together[i], atol=1e-6, rtol=1e-5)
    assert front_end(eeg[:0]).shape == (0, 18, 2000)


@pytest.mark.parametrize("montage", list(MONTAGES))
def test_a_swapped_head_gives_swapped_derivations(montage: str) -> None:
    eeg = _eeg(1)
    front_end = EEGFrontEnd(montage=montage)
    permutation, signs = front_end.montage.mirror
    swapped = front_end(eeg[..., channel_mirror()])
    torch.testing.assert_close(swapped, torch.tensor(signs)[:, None] * front_end(eeg)[:, list(permutation)])


def test_settings_survive_json_and_make_the_same_front_end() -> None:
    front_end = EEGFrontEnd("public_8", "delta", n_times=4000, causal=True, sfreq_out=25, clip_uv=500, scale_uv=20)
    again = EEGFrontEnd(**json.loads(json.dumps(front_end.settings)))
    eeg = _eeg(1, 4000)
    assert torch.equal(front_end(eeg), again(eeg))
    assert not front_end.state_dict()


def test_autocast_does_not_lower_the_precision() -> None:
    eeg = _eeg(1)
    front_end = EEGFrontEnd()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        inside = front_end(eeg)
    assert inside.dtype == torch.float32
    assert torch.equal(inside, front_end(eeg))


def test_wrong_shapes_and_settings() -> None:
    with pytest.raises(ValueError, match=r"shape \(1, 20, 10000\); expected \(batch, 10000, 20\)"):
        EEGFrontEnd()(torch.zeros(1, 20, 10_000))
    with pytest.raises(UserError, match="scale_uv=0"):
        EEGFrontEnd(scale_uv=0)
    with pytest.raises(UserError, match="Did you mean 'public_8'"):
        EEGFrontEnd(montage="public8")


def test_real_windows(iiic_root: Path) -> None:
    files = sorted((iiic_root / "train_eegs").glob("*.parquet"))[:3]
    eeg = torch.stack([torch.tensor(pd.read_parquet(file)[list(CHANNELS)].to_numpy().copy()) for file in files])
    got = EEGFrontEnd()(eeg)
    wanted = _plain(eeg, "longitudinal_bipolar")
    assert got.isfinite().all()
    assert np.abs(got.numpy() - wanted)[..., 160:-160].max() < 0.02


def test_mains_of_real_windows_is_found_and_taken_out(iiic_root: Path) -> None:
    files = sorted((iiic_root / "train_eegs").glob("*.parquet"))
    eeg = torch.stack([torch.tensor(pd.read_parquet(file)[list(CHANNELS)].to_numpy().copy()) for file in files])

    def share_of_mains(notch: str | None) -> np.ndarray:
        x = EEGFrontEnd("referential", "0.5-70", notch=notch, clip_uv=1e5)(eeg)
        hz, density = scipy.signal.welch(x.numpy(), 140, nperseg=560)
        power = density.mean(1)
        return power[:, (hz > 59) & (hz < 61)].mean(1) / power[:, (hz > 55) & (hz < 57)].mean(1)

    before, after = share_of_mains(None), share_of_mains("auto")
    found = before > 2
    assert (len(found), found.sum()) == (12, 10)
    assert (after[found] < before[found] / 30).all()
    np.testing.assert_array_equal(after[~found], before[~found])
