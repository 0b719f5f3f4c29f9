"""An epoch of training: its rows, partners, jitter and weights are functions of (seed, epoch, row)."""

from __future__ import annotations

from pathlib import Path

import hypothesis.extra.numpy as hnp
import hypothesis.strategies as st
import numpy as np
import pytest
import torch
from hypothesis import given
from torch import nn
from torch.utils.data import DataLoader

from hbac.common.errors import UserError
from hbac.data import EEGDataModule
from hbac.data.epoch import EpochRow, EpochShuffle, TrainingWindows
from hbac.data.windows import WindowDataset, identity
from hbac.labels.recipe import LabelRecipe, PseudoLabels
from hbac.recordings.datasets import HMS, Part
from hbac.signal import Mixup
from hbac.vocabulary import SFREQ, WINDOW_SAMPLES


@pytest.fixture(scope="module")
def data_set(tiny_root: Path, tmp_path_factory: pytest.TempPathFactory) -> HMS:
    return HMS(tiny_root, tmp_path_factory.mktemp("stores"))


@pytest.fixture(scope="module")
def part(data_set: HMS) -> Part:
    return data_set.part("train")


def epoch_of(shuffle: EpochShuffle, epoch: int) -> list[EpochRow]:
    shuffle.set_epoch(epoch)
    return list(shuffle)


EEGS = hnp.arrays(np.int64, st.integers(1, 60), elements=st.integers(0, 12))


@given(EEGS, st.integers(0, 3), st.integers(0, 9))
def test_one_row_of_each_eeg(eeg_ids: np.ndarray, seed: int, epoch: int) -> None:
    shuffle = EpochShuffle(len(eeg_ids), seed, eeg_ids)
    picks = epoch_of(shuffle, epoch)
    assert sorted(eeg_ids[[pick.row for pick in picks]]) == sorted(set(eeg_ids))
    assert len(shuffle) == len(picks)


def test_which_row_of_an_eeg_is_even_chance_that_knows_only_the_eeg() -> None:
    eeg_ids = np.repeat([7, 3, 9], [3, 1, 4])
    shuffle = EpochShuffle(8, 0, eeg_ids)
    counts = np.bincount([pick.row for epoch in range(600) for pick in epoch_of(shuffle, epoch)], minlength=8)
    np.testing.assert_allclose(counts, 600 / np.repeat([3, 1, 4], [3, 1, 4]), rtol=0.2)
    alone = EpochShuffle(4, 0, eeg_ids[4:])
    for epoch in range(9):
        both = [pick.row - 4 for pick in epoch_of(shuffle, epoch) if pick.row >= 4]
        assert both == [pick.row for pick in epoch_of(alone, epoch)]


@given(st.integers(1, 40), st.integers(0, 5))
def test_partners_are_mutual_and_someone_else(n_rows: int, epoch: int) -> None:
    partner = {pick.row: pick.partner for pick in epoch_of(EpochShuffle(n_rows, 1), epoch)}
    assert all(partner[other] == row for row, other in partner.items())
    assert sum(row == other for row, other in partner.items()) == n_rows % 2


class Centre(nn.Module):
    """The first channel around the middle of each window."""

    sources = ("eeg",)

    def forward(self, eeg_BTC: torch.Tensor) -> torch.Tensor:
        return eeg_BTC[:, WINDOW_SAMPLES // 2 : WINDOW_SAMPLES // 2 + 8, 0].float().nan_to_num()


class AtEpoch:
    """What a data module asks its trainer."""

    training = True

    def __init__(self, epoch: int) -> None:
        self.current_epoch = epoch


def rows_of_epoch(part: Part, epoch: int = 1, **settings: object) -> dict[int, dict[str, torch.Tensor]]:
    """All that training sees of each row in an epoch, by label id."""
    defaults = {"fold_of_row": np.arange(len(part.rows)) % 3, "fold": 1, "seed": 5, "augment": {"mixup": Mixup(0.7)}}
    data = EEGDataModule(part, Centre(), **(defaults | settings))  # type: ignore[arg-type]
    data.trainer = AtEpoch(epoch)  # type: ignore[assignment]
    loader = data.train_dataloader()
    loader.sampler.set_epoch(epoch)  # type: ignore[attr-defined]
    loader = DataLoader(
        data.train_set, data.batch_size, sampler=loader.sampler, collate_fn=identity, num_workers=data.num_workers
    )
    seen = {}
    for batch in loader:
        done = data.on_after_batch_transfer(batch, 0)
        assert len({len(value) for value in done.values()}) == 1
        for k, row in enumerate(done["row_id"].tolist()):
            seen[row] = {name: done[name][k] for name in ("x", "target", "weight")}
    return seen


@pytest.mark.parametrize("labels", [LabelRecipe(jitter_s=1.5), LabelRecipe(rows="one_per_eeg", few_votes_decay=0.5)])
@pytest.mark.parametrize(("batch_size", "num_workers"), [(2, 0), (3, 0), (64, 0), (4, 2)])
def test_whatever_the_batch_and_the_workers(part: Part, labels: LabelRecipe, batch_size: int, num_workers: int) -> None:
    expected = rows_of_epoch(part, batch_size=5, labels=labels)
    found = rows_of_epoch(part, batch_size=batch_size, num_workers=num_workers, labels=labels)
    assert found.keys() == expected.keys()
    for row, values in expected.items():
        torch.testing.assert_close(found[row], values, rtol=0, atol=0)


def test_mixtures_do_happen_and_with_the_partner(part: Part) -> None:
    mixed, plain = rows_of_epoch(part), rows_of_epoch(part, augment={})
    changed = [row for row in plain if not torch.equal(mixed[row]["x"], plain[row]["x"])]
    assert 0 < len(changed) < len(plain)
    for row in changed:  # x = (1 - share) mine + share theirs, for exactly one other row
        x, mine = mixed[row]["x"], plain[row]["x"]
        fits = []
        for other in set(plain) - {row}:
            theirs = plain[other]["x"] - mine
            share = float((x - mine) @ theirs / (theirs @ theirs))
            fits.append(0 < share <= 0.5 and torch.allclose(x, mine + share * theirs, atol=1e-3))
        assert sum(fits) == 1


@pytest.mark.parametrize(("mix_p", "fetched"), [(0.0, False), (0.7, True)])
def test_partners_are_fetched_only_where_rows_are_mixed(part: Part, mix_p: float, fetched: bool) -> None:
    data = EEGDataModule(part, Centre(), np.arange(len(part.rows)) % 3, 1, augment={"mixup": Mixup(mix_p)})
    assert ("partner" in data.train_set[0]) == fetched


def test_jitter_stays_inside_the_recording_on_whole_samples(part: Part) -> None:
    windows = TrainingWindows([WindowDataset(part)], jitter_s=2.5, seed=3)
    index = np.arange(len(part.rows))
    starts = part.recordings.eeg_starts()
    lengths = np.array([part.eeg.n_rows(eeg) for eeg in part.rows["eeg_id"]])
    shifts = np.stack([windows.shift(index, epoch) for epoch in range(50)])
    assert shifts.dtype == np.int64
    assert np.abs(shifts).max() <= 2.5 * SFREQ
    assert (starts + shifts >= 0).all()
    assert (starts + shifts + WINDOW_SAMPLES <= lengths).all()
    free = (starts >= 500) & (lengths - starts - WINDOW_SAMPLES >= 500)
    assert free.any()
    assert (np.abs(shifts[:, free]).max(axis=0) > 400).all()
    assert (shifts[:, lengths == WINDOW_SAMPLES] == 0).all()


def test_a_jittered_window_is_the_recording_s_at_its_shift(part: Part) -> None:
    windows = TrainingWindows([WindowDataset(part, ("eeg", "official"))], jitter_s=1, seed=3)
    plain = WindowDataset(part, ("eeg", "official")).__getitems__(range(len(part.rows)))
    index = np.arange(len(part.rows))
    batch = windows.__getitems__([EpochRow(row, row, 2) for row in index])
    shift = windows.shift(index, 2)
    assert len(set(shift.tolist())) > 3
    for row in index:
        eeg, start = int(part.rows["eeg_id"].iloc[row]), int(part.recordings.eeg_starts()[row] + shift[row])
        np.testing.assert_array_equal(batch["eeg"][row].numpy(), part.eeg.window(eeg, start, WINDOW_SAMPLES))
    torch.testing.assert_close(batch["official"], plain["official"], equal_nan=True, rtol=0, atol=0)


def test_held_out_rows_are_scored_on_their_votes_unmoved_and_alike(part: Part) -> None:
    labels = LabelRecipe(label_smoothing=0.5, weight="votes", jitter_s=2, rows="one_per_eeg", target="eeg_mean")
    folds = np.arange(len(part.rows)) % 3
    one, other = (
        next(iter(EEGDataModule(part, Centre(), folds, 1, recipe, batch_size=64).val_dataloader()))
        for recipe in (labels, None)
    )
    torch.testing.assert_close(one, other, equal_nan=True, rtol=0, atol=0)
    assert one["weight"].unique().tolist() == [1]


def test_weights_decay_from_epoch_to_epoch(part: Part) -> None:
    weight = [
        {
            row: float(seen["weight"])
            for row, seen in rows_of_epoch(part, epoch, labels=LabelRecipe(few_votes_decay=0.5)).items()
        }
        for epoch in (0, 3)
    ]
    votes = part.rows.set_index("label_id").filter(like="_vote").sum(axis=1)
    for row, value in weight[0].items():
        assert value == 1
        assert weight[1][row] == (0.125 if votes[row] <= 7 else 1)


def test_rows_of_another_part_join_the_training(part: Part, data_set: HMS) -> None:
    test = data_set.part("test")
    probs = np.full((len(test.rows), 6), np.nan)
    probs[1:] = np.eye(6)[2]
    pseudo = PseudoLabels(test, probs)
    seen = rows_of_epoch(part, augment={}, batch_size=4, pseudo=pseudo, labels=LabelRecipe(pseudo_weight=0.2))
    plain = rows_of_epoch(part, augment={}, batch_size=4)
    added = sorted(set(seen) - set(plain))
    assert added == test.rows["eeg_id"][1:].tolist()
    for row in plain:
        torch.testing.assert_close(seen[row], plain[row], rtol=0, atol=0)
    for row in added:
        window = torch.from_numpy(test.eeg.window(row, 0, WINDOW_SAMPLES).copy())[None]
        torch.testing.assert_close(seen[row]["x"], Centre()(window)[0])
        assert seen[row]["target"].tolist() == [0, 0, 1, 0, 0, 0]
        assert float(seen[row]["weight"]) == pytest.approx(0.2)


def test_a_cache_and_jitter_exclude_one_another(part: Part, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="labels.jitter_s changes the windows anew"):
        EEGDataModule(part, Centre(), labels=LabelRecipe(jitter_s=1), cache=tmp_path)
