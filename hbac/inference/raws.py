"""What MNE holds in memory, predicted: a `Raw` along its length, `Epochs` one by one."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from hbac.common.errors import UserError
from hbac.ensembling.ensemble_file import Ensemble
from hbac.inference.along import AlongChunks, Steps, check_readable, predict_along
from hbac.inference.networks import Networks
from hbac.inference.recordings import blended, course_frame
from hbac.reading.arrays import ArraySource
from hbac.reading.mne_source import MneSource
from hbac.reading.opened import MOST_INTERPOLATED, Recording, recording_of
from hbac.vocabulary import CENTRAL_S, SFREQ, WINDOW_S

if TYPE_CHECKING:
    import mne

log = logging.getLogger("hbac.inference")


def predict_raw(
    ensemble: Ensemble,
    networks: Networks,
    raw: mne.io.BaseRaw | mne.BaseEpochs,
    step_s: float = 2.0,
    outside: str = "reflected",
    interpolate: int = MOST_INTERPOLATED,
    unit: str | None = None,
) -> pd.DataFrame:
    """Predict a `Raw` along its length, or each of `Epochs`.

    A `UserError` when it is neither, too short, or a network cannot read it.

    Parameters
    ----------
    ensemble : Ensemble
        How networks are blended.
    networks : Networks
        The networks.
    raw : mne.io.Raw or mne.Epochs
        Any rate from 80 Hz on, any reference, electrodes by any 10-20 name. Channels that ``info["bads"]`` names are
        not read.
    step_s : float
        From one window to the next, in seconds; not used for epochs.
    outside : {"reflected", "repeated", "missing"}
        What windows are filled with beyond what was recorded.
    interpolate : int
        How many electrodes may be missing, and are made of their neighbours.
    unit : {"V", "mV", "uV"}, optional
        What the values are in; volts, as MNE has them, where it is not said.

    Returns
    -------
    DataFrame
        ``onset_s``, the six probabilities, ``window_s``, ``signal_share``, as in ``predictions.parquet``; of epochs a
        row for each that is not rejected, in their order, with ``onset_s`` from the epoch's own zero.
    """
    if hasattr(raw, "events") and hasattr(raw, "drop_log"):
        return _epochs(ensemble, networks, raw, outside, interpolate, unit)
    if not hasattr(raw, "first_samp"):
        raise UserError(f"predict_raw takes mne.io.Raw or mne.Epochs, not {type(raw).__name__}")
    recording = recording_of(MneSource(raw), "the Raw", unit, interpolate)
    _check(networks, recording)
    recording.check_amplitudes()
    steps = Steps.of(recording, step_s)
    prob_RNK = predict_along(AlongChunks(networks, recording, steps, outside))
    return course_frame(steps, blended(ensemble, networks, prob_RNK))


def _epochs(
    ensemble: Ensemble, networks: Networks, epochs: Any, outside: str, interpolate: int, unit: str | None
) -> pd.DataFrame:
    epochs = epochs if epochs.preload else epochs.copy().load_data()  # of others MNE knows no length
    if not len(epochs):
        raise UserError("predict_raw: these Epochs have no epoch")
    signals = MneSource.signals_of(epochs.info)
    rows = []
    for number, values in enumerate(epochs.get_data(copy=False)):
        recording = recording_of(ArraySource(signals, values), f"epoch {number}", unit, interpolate, quiet=number > 0)
        if number == 0:  # all have the same signals and length
            _check(networks, recording)
        recording.check_amplitudes()
        steps = Steps.at(recording, WINDOW_S, np.array([recording.n_times // 2]))
        prob_RNK = predict_along(AlongChunks(networks, recording, steps, outside))
        middle_s = float(epochs.tmin) + recording.n_times / SFREQ / 2
        rows.append(course_frame(steps, blended(ensemble, networks, prob_RNK)).assign(onset_s=middle_s - CENTRAL_S / 2))
    return pd.concat(rows, ignore_index=True)


def _check(networks: Networks, recording: Recording) -> None:
    for note in check_readable(networks, recording):
        log.warning("%s: %s", recording.name, note)
