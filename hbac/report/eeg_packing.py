"""Signals as text that a page unpacks: steps of half a microvolt, what a prediction leaves of them, gzip, base64.

A page that is opened from the disk may load scripts and nothing else, so samples travel as text. What gzip makes of
samples as they are is 2.3 times what it makes of the remainders of a linear prediction, from four samples of the
channel before and three of its neighbour on the head: scalp EEG is smooth, and shared. The prediction is in integers,
and so exact on both sides: what `assets/eeg_signals.js` unpacks is what was packed, to the step.
"""

from __future__ import annotations

import base64
import gzip

import numpy as np
from numpy.typing import NDArray

from hbac.vocabulary import CHANNELS, ELECTRODES, POSITIONS

# C channel, T sample, L lag

MISSING = 255  # the code of a column without a recording, where levels are 0 to 254
STEP_UV = 0.5  # a quarter of a pixel at 7 µV/mm
STEP_EKG_UV = 4.0
N_OWN, N_NEIGHBOUR = 4, 3  # samples of the channel before, and of its neighbour from the same time on
SHIFT = 12  # coefficients are multiples of 2**-12
_RIDGE = 1.0  # in squared steps: keeps the equations of flat channels solvable


def neighbours() -> list[int]:
    """Return which channel helps to predict each: the nearest electrode before it, −1 for the first and for the EKG."""
    found = [-1]
    for i, name in enumerate(CHANNELS[1:], start=1):
        if name not in POSITIONS:
            found.append(-1)
            continue
        distance = [np.hypot(*np.subtract(POSITIONS[name], POSITIONS[other])) for other in ELECTRODES[:i]]
        found.append(int(np.argmin(distance)))
    return found


def quantise(signal_CT: NDArray[np.floating]) -> tuple[NDArray[np.int16], list[float]]:
    """Round a signal (20, T) in microvolt to multiples of a step for each channel, which is returned, too.

    The steps are `STEP_UV`, for the EKG `STEP_EKG_UV`, and more where a channel goes beyond what 16 bits hold of these.
    """
    usual_C = np.array([STEP_EKG_UV if name == "EKG" else STEP_UV for name in CHANNELS])
    uv_C = np.maximum(usual_C, np.abs(signal_CT).max(axis=1) / np.iinfo(np.int16).max)
    return np.rint(signal_CT / uv_C[:, None]).astype(np.int16), uv_C.tolist()


def pack_signal(step_CT: NDArray[np.int16]) -> str:
    """Pack a window, (20, T), as `quantise` returns it, as text.

    Base64 of the gzip of: coefficients (20 x 7 int32, little-endian), the low bytes of all remainders, channel by
    channel, then the high ones. Remainders are taken modulo 2**16 and zigzag (0, −1, 1, −2, … is 0, 1, 2, 3, …), so
    that the high bytes are nearly all 0.
    """
    lags_CLT = _lags(step_CT.astype(np.float64))
    coefficients_CL = _coefficients(step_CT, lags_CLT)
    predicted_CT = np.floor((np.einsum("cl,clt->ct", coefficients_CL, lags_CLT) + 2 ** (SHIFT - 1)) / 2**SHIFT)
    remainder_CT = (step_CT - predicted_CT.astype(np.int64)).astype(np.int16).astype(np.int32)
    zigzag_CT = ((remainder_CT << 1) ^ (remainder_CT >> 15)).astype("<u2")
    planes = np.moveaxis(zigzag_CT[..., None].view(np.uint8), -1, 0)
    return pack_bytes(coefficients_CL.astype("<i4").tobytes() + planes.tobytes())


def pack_bytes(content: bytes) -> str:
    """Pack anything: base64 of its gzip, which does not depend on when it was made."""
    return base64.b64encode(gzip.compress(content, 6, mtime=0)).decode("ascii")


def _lags(step_CT: NDArray[np.float64]) -> NDArray[np.float64]:
    """Stack what samples are predicted from, zero before the window's first."""
    n_times = step_CT.shape[1]
    padded = np.pad(step_CT, ((0, 1), (N_OWN, 0)))  # the last row stands for the neighbour that is not there
    beside = padded[neighbours()]
    own = [padded[:-1, N_OWN - lag : N_OWN - lag + n_times] for lag in range(1, N_OWN + 1)]
    return np.stack(own + [beside[:, N_OWN - lag : N_OWN - lag + n_times] for lag in range(N_NEIGHBOUR)], axis=1)


def _coefficients(step_CT: NDArray[np.int16], lags_CLT: NDArray[np.float64]) -> NDArray[np.float64]:
    """Least squares, in whole multiples of 2**-SHIFT."""
    gram_CLL = lags_CLT @ lags_CLT.transpose(0, 2, 1) + _RIDGE * np.eye(N_OWN + N_NEIGHBOUR)
    solved_CL1 = np.linalg.solve(gram_CLL, lags_CLT @ step_CT[..., None].astype(np.float64))
    return np.asarray(np.rint(solved_CL1[..., 0] * 2**SHIFT))
