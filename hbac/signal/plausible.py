"""Whether the windows that a model is given can be EEG in microvolt."""

from __future__ import annotations

import warnings

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from hbac.common.errors import UserError
from hbac.recordings.amplitudes import FLAT, MISSING, VOLTS, count_looks, describe, looks_of, spans
from hbac.vocabulary import ELECTRODES


def looks_of_windows(eeg_BTC: Tensor) -> NDArray[np.uint8]:
    """Say what windows (B, n_times, channels), electrodes first, look like (`hbac.recordings.amplitudes.looks_of`)."""
    x_BTE = eeg_BTC[..., : len(ELECTRODES)].detach()
    if x_BTE.device.type == "cpu":
        return looks_of(*spans(x_BTE.float().numpy()))
    finite_BTE = x_BTE.isfinite()
    low_BE = x_BTE.where(finite_BTE, torch.inf).amin(dim=1)
    high_BE = x_BTE.where(finite_BTE, -torch.inf).amax(dim=1)
    return looks_of(low_BE.float().cpu().numpy(), high_BE.float().cpu().numpy())


def check_windows(eeg_BTC: Tensor) -> None:
    """Refuse EEG in volts, and warn of what else cannot be microvolt: to a network, it is like silence.

    Windows are as `looks_of_windows` takes them. A `UserError` where all with a signal stay below 10 nV; the warning
    counts windows that are missing, flat, too small or too large.
    """
    if eeg_BTC.ndim != 3 or not len(eeg_BTC):  # which the front-end speaks of
        return
    looks = looks_of_windows(eeg_BTC)
    text = describe(count_looks(looks))
    signal = looks[(looks != MISSING) & (looks != FLAT)]
    if len(signal) and (signal == VOLTS).all():
        raise UserError(f"EEG in microvolt is expected: {text}. MNE works in volts: multiply by 1e6")
    if text:
        warnings.warn(f"EEG in microvolt is expected: {text}", UserWarning, stacklevel=3)
