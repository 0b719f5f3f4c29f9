"""Saliency points at a pattern that was planted, through a front-end of ours, and adds up to what was said."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from hbac.common.errors import UserError
from hbac.report.saliency import attributions
from hbac.runs.model import Model, load_run
from hbac.signal.front_end import EEGFrontEnd
from hbac.vocabulary import CHANNELS, ELECTRODES, SFREQ, WINDOW_SAMPLES
from tests.ensembles import SMALL_NET, write_ensemble


class Energetic(nn.Module):
    """Says LPD where there is energy, on whatever derivation."""

    def forward(self, x_BDT: Tensor) -> Tensor:
        lpd_B = (x_BDT**2).mean(dim=(1, 2))
        return torch.stack([torch.zeros_like(lpd_B), 50 * lpd_B, *[torch.zeros_like(lpd_B)] * 4], dim=1)


@pytest.fixture(scope="module")
def planted() -> Tensor:
    """A little noise, and at T3 from 30 to 33 s sharp waves of 3 Hz."""
    torch.manual_seed(0)
    eeg_BTC = 2 * torch.randn(2, WINDOW_SAMPLES, 20)
    t = torch.arange(3 * 200) / SFREQ
    eeg_BTC[:, 6000:6600, CHANNELS.index("T3")] += 80 * torch.sin(2 * torch.pi * 3 * t)
    eeg_BTC[1, :1000, CHANNELS.index("P3")] = torch.nan
    return eeg_BTC


def test_it_points_at_the_planted_pattern(planted: Tensor) -> None:
    model = Model(EEGFrontEnd(band="0.5-20", montage="longitudinal_bipolar"), Energetic(), {})
    before = planted.clone()
    said_B, map_BES = attributions(model, {"eeg": planted})
    assert said_B.tolist() == [1, 1]
    assert map_BES.shape == (2, 19, 50)
    for map_ES in map_BES.numpy():
        assert ELECTRODES[map_ES.sum(axis=1).argmax()] == "T3"
        inside = map_ES[:, 30:33].sum()
        assert inside / np.abs(map_ES).sum() > 0.8
        assert set(np.argsort(-map_ES[ELECTRODES.index("T3")])[:3]) == {30, 31, 32}
    assert planted[1, 0, CHANNELS.index("P3")].isnan()
    torch.testing.assert_close(planted, before, equal_nan=True)


def test_it_adds_up_to_the_rise_of_the_logit(planted: Tensor) -> None:
    """Completeness: from no EEG to this one the class's logit rises over the others' by what the map adds up to."""
    model = Model(EEGFrontEnd(band="0.5-20", montage="longitudinal_bipolar"), Energetic(), {})
    _, map_BES = attributions(model, {"eeg": planted}, steps=16)
    with torch.no_grad():
        lpd_B = model.network(model.front_end(planted))[:, 1]
    torch.testing.assert_close(map_BES.sum(dim=(1, 2)), lpd_B, rtol=0.03, atol=0.02)


def test_a_trained_network_s_gradients_come_through(planted: Tensor, tmp_path: Path) -> None:
    write_ensemble(tmp_path, [["model=resnet_gru", *SMALL_NET]], n_folds=1)
    model = load_run(next(tmp_path.glob("runs/*/fold0")))
    _, map_BES = attributions(model, {"eeg": planted}, steps=2)
    assert map_BES.isfinite().all()
    assert map_BES.abs().max() > 0


def test_a_network_that_reads_no_eeg_is_refused() -> None:
    front_end = nn.Identity()
    front_end.sources = ("official",)  # type: ignore[assignment]
    with pytest.raises(UserError, match="does not read the EEG"):
        attributions(Model(front_end, nn.Identity(), {}), {})
