"""The synthetic data set has exactly the HMS layout, is the same whoever makes it, and knows its floor."""

from __future__ import annotations

import hashlib
import json
import shutil
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest

from hbac.common.errors import UserError
from hbac.synthetic import dataset
from hbac.synthetic.labels import LabelledEEG
from hbac.synthetic.spectrogram_file import COLUMNS
from hbac.synthetic.votes import floors
from hbac.vocabulary import CHANNELS, CONSENSUS_NAMES, SFREQ, VOTE_COLUMNS, WINDOW_SAMPLES

TRAIN_COLUMNS = [
    "eeg_id", "eeg_sub_id", "eeg_label_offset_seconds", "spectrogram_id", "spectrogram_sub_id",
    "spectrogram_label_offset_seconds", "label_id", "patient_id", "expert_consensus", *VOTE_COLUMNS,
]  # fmt: skip


def digest(root: Path) -> dict[str, str]:
    return {
        str(path.relative_to(root)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(root.rglob("*"))
        if path.is_file() and path.name != ".synthetic.lock"
    }


def test_tables_have_the_columns_and_types_of_hms(tiny_synthetic: Path) -> None:
    train = pd.read_csv(tiny_synthetic / "train.csv")
    assert list(train.columns) == TRAIN_COLUMNS
    assert {name: str(train[name].dtype) for name in TRAIN_COLUMNS if train[name].dtype != np.int64} == {
        "eeg_label_offset_seconds": "float64",
        "spectrogram_label_offset_seconds": "float64",
        "expert_consensus": "str",
    }
    assert train["label_id"].is_unique
    assert list(pd.read_csv(tiny_synthetic / "test.csv").columns) == ["spectrogram_id", "eeg_id", "patient_id"]
    sample = pd.read_csv(tiny_synthetic / "sample_submission.csv")
    assert list(sample.columns) == ["eeg_id", *VOTE_COLUMNS]
    np.testing.assert_allclose(sample[list(VOTE_COLUMNS)].sum(axis=1), 1)


def test_ids_join_and_offsets_are_even_seconds(tiny_synthetic: Path) -> None:
    train = pd.read_csv(tiny_synthetic / "train.csv")
    test = pd.read_csv(tiny_synthetic / "test.csv")
    assert not set(train["patient_id"]) & set(test["patient_id"])
    assert not set(train["eeg_id"]) & set(test["eeg_id"])
    assert (train.groupby("eeg_id")["patient_id"].nunique() == 1).all()
    assert (train.groupby("spectrogram_id")["patient_id"].nunique() == 1).all()
    assert (train.groupby("eeg_id")["eeg_label_offset_seconds"].min() == 0).all()
    assert (train["eeg_label_offset_seconds"] % 2 == 0).all()
    assert (train["spectrogram_label_offset_seconds"] % 2 == 0).all()
    assert len(test) == 3
    for _, rows in train.groupby("eeg_id"):
        assert list(rows["eeg_sub_id"]) == list(range(len(rows)))
    for _, rows in train.groupby("spectrogram_id"):
        assert list(rows["spectrogram_sub_id"]) == list(range(len(rows)))


def test_consensus_is_a_class_with_the_most_votes(tiny_synthetic: Path) -> None:
    train = pd.read_csv(tiny_synthetic / "train.csv")
    votes = train[list(VOTE_COLUMNS)].to_numpy()
    chosen = train["expert_consensus"].map({name: i for i, name in enumerate(CONSENSUS_NAMES)}).to_numpy()
    np.testing.assert_array_equal(votes[np.arange(len(votes)), chosen], votes.max(axis=1))


@pytest.mark.parametrize("part", ["train", "test"])
def test_eeg_files_are_as_long_as_their_offsets_need(tiny_synthetic: Path, part: str) -> None:
    table = pd.read_csv(tiny_synthetic / f"{part}.csv")
    last = table.groupby("eeg_id")["eeg_label_offset_seconds"].max() if part == "train" else None
    files = sorted((tiny_synthetic / f"{part}_eegs").iterdir())
    assert {int(path.stem) for path in files} == set(table["eeg_id"])
    for path in files:
        schema = pq.read_schema(path)
        assert schema.names == list(CHANNELS)
        assert {str(kind) for kind in schema.types} == {"float"}
        offset = 0.0 if last is None else float(last[int(path.stem)])
        assert pq.read_metadata(path).num_rows == WINDOW_SAMPLES + int(offset * SFREQ)


@pytest.mark.parametrize(("part", "kind"), [("train", "int64"), ("test", "int16")])
def test_spectrogram_files_have_ten_minutes_around_every_window(tiny_synthetic: Path, part: str, kind: str) -> None:
    table = pd.read_csv(tiny_synthetic / f"{part}.csv")
    files = sorted((tiny_synthetic / f"{part}_spectrograms").iterdir())
    assert {int(path.stem) for path in files} == set(table["spectrogram_id"])
    for path in files:
        found = pd.read_parquet(path)
        assert list(found.columns) == ["time", *COLUMNS]
        assert str(found["time"].dtype) == kind
        assert set(found.dtypes[1:].astype(str)) == {"float32"}
        np.testing.assert_array_equal(found["time"], 2 * np.arange(len(found)) + 1)
        if part == "train":
            rows = table[table["spectrogram_id"] == int(path.stem)]
            assert len(found) == rows["spectrogram_label_offset_seconds"].max() // 2 + 300
        else:
            assert len(found) == 300


def test_spectrogram_columns_are_named_as_in_hms() -> None:
    assert (COLUMNS[0], COLUMNS[1], COLUMNS[99], COLUMNS[100], COLUMNS[-1]) == (
        "LL_0.59", "LL_0.78", "LL_19.92", "RL_0.59", "RP_19.92",
    )  # fmt: skip
    assert len(set(COLUMNS)) == 400


def test_spectrogram_is_that_of_the_eeg_where_they_overlap(tiny_synthetic: Path) -> None:
    test = pd.read_csv(tiny_synthetic / "test.csv")
    courses = []
    for eeg_id, spectrogram_id in zip(test["eeg_id"], test["spectrogram_id"], strict=True):
        eeg = pd.read_parquet(tiny_synthetic / "test_eegs" / f"{eeg_id}.parquet")
        power = pd.read_parquet(tiny_synthetic / "test_spectrograms" / f"{spectrogram_id}.parquet")
        chain = eeg[["Fp1", "F3", "C3", "P3", "O1"]].to_numpy()
        differences = np.nan_to_num(chain[:, :-1] - chain[:, 1:]).T  # (4, 10000)
        # Row 137 + i is centred on second 275 + 2 i: 0, 2, ... of the EEG; the margin keeps 4 s windows inside it.
        rows = np.arange(2, 23)
        found, direct = [], []
        for row in rows:
            first = int((2 * row + 1 - 2 - 1) * SFREQ)  # 275 = 2 * 137 + 1: the EEG starts at a row's centre
            part = differences[:, first : first + 800]
            spectrum = np.abs(np.fft.rfft(part * np.hanning(800), 1024)) ** 2
            direct.append(np.log(spectrum[:, 8:60].mean(axis=1).mean() + 1e-9))
            found.append(np.log(power[[f"LP_{f:.2f}" for f in np.arange(8, 60) * 200 / 1024]].iloc[137 + row].mean()))
        ok = np.isfinite(found)
        if ok.sum() > 10:
            both = np.array([found, direct])[:, ok]
            courses.append(both - both.mean(axis=1, keepdims=True))
    assert len(courses) >= 2
    assert np.corrcoef(np.concatenate(courses, axis=1))[0, 1] > 0.8  # a row's shift leaves .7 at most


def test_same_bytes_from_one_process_and_from_two(
    tiny_synthetic: Path, tiny_size: dataset.Size, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(dataset.SIZES, "tiny", tiny_size)
    other = dataset.write_synthetic(tmp_path / "two", "tiny", seed=5, n_jobs=2)
    assert digest(other) == digest(tiny_synthetic)


def test_a_killed_run_goes_on_and_gives_the_same_bytes(
    tiny_synthetic: Path, tiny_size: dataset.Size, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(dataset.SIZES, "tiny", tiny_size)

    def stop(done: int, total: int) -> None:
        assert total == 7
        if done == 4:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        dataset.write_synthetic(tmp_path / "d", "tiny", seed=5, progress=stop)
    assert not (tmp_path / "d" / "train.csv").exists()
    seen: list[int] = []
    dataset.write_synthetic(tmp_path / "d", "tiny", seed=5, progress=lambda done, total: seen.append(done))
    assert seen[0] == 4
    assert digest(tmp_path / "d") == digest(tiny_synthetic)


def test_a_data_set_of_another_version_is_not_mistaken_for_this_one(
    tiny_synthetic: Path, tiny_size: dataset.Size, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(dataset.SIZES, "tiny", tiny_size)
    monkeypatch.setattr(dataset, "VERSION", dataset.VERSION + 1)
    with pytest.raises(UserError, match=rf"version={dataset.VERSION - 1}, not {dataset.VERSION}.*remove it"):
        dataset.write_synthetic(tiny_synthetic, "tiny", seed=5)


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"3", b"\xff", b"{}", b'{"version": []}', b"[" * 100_000])
def test_a_damaged_note_of_what_it_is_is_named(tiny_synthetic: Path, tmp_path: Path, content: bytes) -> None:
    shutil.copytree(tiny_synthetic, tmp_path / "set")
    note = tmp_path / "set" / "synthetic.json"
    whole = note.read_bytes()
    spoiled = bytearray(whole)
    spoiled[whole.index(b'"rows": ') + 8] ^= 1  # a number of its sealed content
    for damaged in (content, bytes(spoiled)):
        note.write_bytes(damaged)
        with pytest.raises(UserError, match="synthetic"):
            dataset.write_synthetic(tmp_path / "set", "tiny", seed=5)


def test_a_damaged_shard_is_written_again(
    tiny_synthetic: Path, tiny_size: dataset.Size, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def write() -> None:
        dataset.write_synthetic(tmp_path / "set", "tiny", seed=5, n_jobs=1)

    monkeypatch.setitem(dataset.SIZES, "tiny", tiny_size)
    shard = dataset._shard(tmp_path / "set", "train", 0)
    for content in (b"", b"{", b"[]", b"\xff", b'{"rows": 3}', b'{"rows": [{"shares": ["a"]}]}', None):
        with monkeypatch.context() as patched:
            patched.setattr(dataset, "_finish", lambda *_: None)
            write()
        shard.write_bytes(shard.read_bytes().replace(b"floor", b"gloor", 1) if content is None else content)
        with pytest.raises(UserError, match=r"train-0\.json: .*; the same command writes this patient again"):
            write()
    write()
    assert digest(tmp_path / "set") == digest(tiny_synthetic)


def test_a_complete_data_set_is_left_alone(
    tiny_synthetic: Path, tiny_size: dataset.Size, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(dataset.SIZES, "tiny", tiny_size)
    before = digest(tiny_synthetic)
    monkeypatch.setattr(dataset, "_write_patient", None)
    assert dataset.write_synthetic(tiny_synthetic, "tiny", seed=5) == tiny_synthetic
    assert digest(tiny_synthetic) == before


def test_another_data_set_in_the_folder_is_an_error(tiny_synthetic: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="seed=5, not 6"):
        dataset.write_synthetic(tiny_synthetic, "small", seed=6)
    (tmp_path / "train.csv").write_text("eeg_id\n")
    with pytest.raises(UserError, match="is not empty"):
        dataset.write_synthetic(tmp_path, "small")
    assert [path.name for path in tmp_path.iterdir() if not path.name.startswith(".")] == ["train.csv"]


def test_bad_arguments_are_errors(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="there are: tiny, small, medium, large"):
        dataset.write_synthetic(tmp_path / "a", "huge")
    with pytest.raises(UserError, match="seed=-1"):
        dataset.write_synthetic(tmp_path / "a", "small", seed=-1)
    assert not (tmp_path / "a").exists()


def test_floor_in_the_file_is_the_kl_of_the_truth(tiny_synthetic: Path) -> None:
    facts = json.loads((tiny_synthetic / "synthetic.json").read_text())
    train = pd.read_csv(tiny_synthetic / "train.csv")
    truth = pd.read_csv(tiny_synthetic / "truth.csv")
    assert list(truth["label_id"]) == list(train["label_id"])
    votes, shares = train[list(VOTE_COLUMNS)].to_numpy(), truth[list(VOTE_COLUMNS)].to_numpy()
    np.testing.assert_allclose(shares.sum(axis=1), 1)
    total = 0.0
    for row, share in zip(votes, shares, strict=True):
        found = row / row.sum()
        total += sum(t * np.log(t / p) for t, p in zip(found, share, strict=True) if t > 0)
    assert facts["train"]["votes"]["all"]["bayes_floor"] == pytest.approx(total / len(votes), rel=1e-9)
    assert facts["train"]["rows"] == len(train)
    assert facts["test"]["eegs"] == 3
    assert facts["test"]["votes"]["10_or_more"]["rows"] == 3


def test_ids_are_unique_in_the_large_size() -> None:
    numbers = np.concatenate([np.arange(4000) + 2**14 * part for part in (0, 1)])
    assert len({dataset._scramble(int(n), 3, 4) % 2**16 for n in numbers}) == numbers.size
    assert len({dataset._scramble(int(n) * 64 + 3, 3, 2) for n in numbers}) == numbers.size


def test_floors_of_a_missing_population_are_none() -> None:
    found = floors(np.array([[0, 12, 0, 0, 0, 0]]), np.full((1, 6), 1 / 6), np.array([0.1]))
    assert found["10_or_more"]["bayes_floor_expected"] == 0.1
    assert found["up_to_7"]["bayes_floor"] is None
    assert found["10_or_more"]["bayes_floor"] == pytest.approx(np.log(6))
    assert found["all"]["uniform"] == pytest.approx(np.log(6))


@pytest.mark.parametrize("part", ["train", "test"])
def test_the_reader_takes_it_without_complaint(tiny_synthetic: Path, part: str) -> None:
    layout = pytest.importorskip("hbac.recordings.layout")
    found = layout.read_recordings(tiny_synthetic, part, spectrograms=True)
    assert len(found.rows) == len(pd.read_csv(tiny_synthetic / f"{part}.csv"))
    assert found.spectrogram_dir == tiny_synthetic / f"{part}_spectrograms"


def test_what_cannot_be_written_is_one_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="cannot write the synthetic data set"):
        dataset.write_synthetic(tmp_path / "file" / "root", "small")


def test_half_written_files_of_a_killed_run_are_removed(
    tiny_size: dataset.Size, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(dataset.SIZES, "tiny", dataset.Size(1, 1, (1.0,), 0.0, 1, 0.5))

    def stop(done: int, total: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        dataset.write_synthetic(tmp_path, "tiny", progress=stop)
    (tmp_path / "train_eegs" / ".synthetic-partial-1-7.parquet").write_bytes(b"half")
    dataset.write_synthetic(tmp_path, "tiny")
    assert len(list((tmp_path / "train_eegs").iterdir())) == 1
    assert not [path for path in tmp_path.rglob(".synthetic-*") if path.name != ".synthetic.lock"]


def test_two_callers_at_once_write_it_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(dataset.SIZES, "tiny", dataset.Size(1, 1, (1.0,), 0.0, 1, 0.5))
    written: list[str] = []
    write_patient = dataset._write_patient

    def counted(
        root: Path, size: dataset.Size, seed: int, part: str, index: int, labels: tuple[LabelledEEG, ...]
    ) -> None:
        written.append(part)
        write_patient(root, size, seed, part, index, labels)

    monkeypatch.setattr(dataset, "_write_patient", counted)
    with ThreadPoolExecutor(2) as pool:
        roots = list(pool.map(lambda _: dataset.write_synthetic(tmp_path / "d", "tiny"), range(2)))
    assert roots == [tmp_path / "d"] * 2
    assert sorted(written) == ["test", "train"]
