"""Why a network said so: which seconds of which electrodes spoke for the class that it predicts.

Integrated gradients: the EEG is faded in from nothing to itself, and each sample gets its value times the mean of the
gradient on the way. What all samples get adds up to by how much the logit of the class, over those of the others, rose.
Electrodes are taken against their average, which is what montages see of them.

References
----------
Sundararajan, Taly & Yan, Axiomatic Attribution for Deep Networks, ICML 2017, doi:10.48550/arXiv.1703.01365.
"""

# B window, T sample, C channel, E electrode, S second, K class

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from hbac.common.errors import UserError
from hbac.data.windows import source_of
from hbac.recordings.datasets import Part
from hbac.report.gather import Gathered
from hbac.runs.model import Model, load_run
from hbac.vocabulary import CLASSES, ELECTRODES, SFREQ

STEPS = 8
BIN_S = 1.0
_LEVELS = 100  # of a map, each side of 0


def attributions(model: Model, windows: Mapping[str, Tensor], steps: int = STEPS) -> tuple[NDArray[np.int64], Tensor]:
    """Attribute what a network that reads EEG predicts of windows to seconds and electrodes, in so many steps.

    EEG is (B, 10000, 20), microvolt, NaN where nothing was recorded; other sources stay as they are. Returned are the
    class predicted, (B,), whose logit is looked at, and nats for each electrode and second, (B, 19, 50); above 0 what
    speaks for the class. A `UserError` when the model does not read EEG, or no gradient comes through it.
    """
    if "eeg" not in model.sources:
        raise UserError("the network does not read the EEG, but spectrograms that came with it")
    eeg_BTC = windows["eeg"].float()
    missing_BTC = ~eeg_BTC.isfinite()
    with torch.no_grad():
        said_B = _logits(model, windows, eeg_BTC).argmax(dim=1)
    mean_B1C = torch.nanmean(eeg_BTC.masked_fill(missing_BTC, torch.nan), dim=1, keepdim=True).nan_to_num()
    full_BTC = torch.where(missing_BTC, 0.0, eeg_BTC - mean_B1C)
    full_BTC[..., : len(ELECTRODES)] -= full_BTC[..., : len(ELECTRODES)].mean(dim=-1, keepdim=True)
    total_BTC = torch.zeros_like(full_BTC)
    for step in range(steps):
        faded_BTC = (full_BTC * ((step + 0.5) / steps)).requires_grad_()
        logit_BK = _logits(model, windows, faded_BTC).float()
        others_B = logit_BK.scatter(1, said_B[:, None], -torch.inf).logsumexp(dim=1)
        margin = (logit_BK.gather(1, said_B[:, None])[:, 0] - others_B).sum()
        try:
            (gradient_BTC,) = torch.autograd.grad(margin, faded_BTC)
        except RuntimeError as error:
            raise UserError(f"no gradient comes through the network: {str(error).splitlines()[0]}") from None
        total_BTC += gradient_BTC
    each_BET = (full_BTC * total_BTC / steps)[..., : len(ELECTRODES)].transpose(1, 2)
    n_bins = round(each_BET.shape[-1] / SFREQ / BIN_S)
    return said_B.numpy().astype(np.int64), each_BET.reshape(*each_BET.shape[:2], n_bins, -1).sum(dim=-1)


def _logits(model: Model, windows: Mapping[str, Tensor], eeg_BTC: Tensor) -> Tensor:
    given = [eeg_BTC if name == "eeg" else windows[name] for name in model.sources]
    logits_BK: Tensor = model.network(model.front_end(*given))
    return logits_BK


def saliency(
    found: Gathered,
    folds: Sequence[int],
    part: Part,
    position_B: NDArray[np.int64],
    seconds: float,
    allow: str | Sequence[str] = (),
) -> tuple[str, list[dict[str, Any] | None], str]:
    """Explain windows by the best member whose weights are at hand, each by the network that did not learn it.

    The windows are the label rows of `part` at these positions, of these folds; those that are left after so many
    seconds have none. Returned are the member, empty where there is none; for each window ``class`` (its name) and
    ``map``, electrodes by seconds, −100 to 100 of ``most`` nats, or None; and why there is none.
    """
    empty: list[dict[str, Any] | None] = [None] * len(position_B)
    why, until = "no run folder of a member has weights", time.monotonic() + seconds
    for name in found.names:
        if name not in found.members:
            continue
        runs = found.members[name].runs
        try:
            maps = _of_member(runs, folds, part, position_B, until, allow)
        except UserError as error:
            why = str(error)
            continue
        if time.monotonic() > until or any(one is not None for one in maps):
            left = sum(one is None for one in maps)
            why = f"{left} of {len(maps)} windows are without: saliency_s={seconds:g} were over" if left else ""
            return name if left < len(maps) else "", maps, why
    return "", empty, why


def _of_member(
    runs: Mapping[int, Path],
    folds: Sequence[int],
    part: Part,
    position_B: NDArray[np.int64],
    until: float,
    allow: str | Sequence[str],
) -> list[dict[str, Any] | None]:
    maps: list[dict[str, Any] | None] = [None] * len(position_B)
    sources: dict[str, Any] = {}
    for fold in sorted(set(folds)):
        if fold not in runs:
            continue
        model = load_run(runs[fold], allow)
        sources |= {name: source_of(part, name) for name in model.sources if name not in sources}
        for parameter in model.network.parameters():
            parameter.requires_grad_(False)
        here = np.flatnonzero(np.asarray(folds) == fold)
        for start in range(0, len(here), 4):
            if time.monotonic() > until:
                return maps
            some = here[start : start + 4]
            windows = {name: sources[name].copy(position_B[some]).float() for name in model.sources}
            said_B, map_BES = attributions(model, windows)
            for b, k, map_ES in zip(some, said_B, map_BES.numpy(), strict=True):
                most = float(np.abs(map_ES).max()) or 1.0
                level = np.rint(map_ES / most * _LEVELS).astype(int).tolist()
                maps[b] = {"class": CLASSES[k], "most": round(most, 4), "map": level}
    return maps
