"""The HMS layout read and checked: sound data sets come back typed, each fault gets its line."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hbac.recordings import footers as footers_module
from hbac.recordings.columns import SPECTROGRAM_COLUMNS, ColumnsError, find_columns
from hbac.recordings.dataset_stores import build_store
from hbac.recordings.datasets import HMS
from hbac.recordings.layout import read_recordings
from hbac.recordings.tables import TRAIN_COLUMNS, number_of_name
from hbac.vocabulary import CHANNELS
from tests.helpers import random_eeg, random_spectrogram, spectrogram_columns, write_eeg, write_spectrogram
from tests.recordings.faults import edit, fault_of, first_eeg, first_spectrogram

RNG = np.random.default_rng(0)


def test_sound_data_set_comes_back_typed(tiny_root: Path) -> None:
    train = read_recordings(tiny_root)
    table = pd.read_csv(tiny_root / "train.csv")
    assert tuple(train.rows.columns) == TRAIN_COLUMNS
    for name in TRAIN_COLUMNS:
        assert train.rows[name].tolist() == table[name].tolist()
    assert train.rows["eeg_id"].dtype == np.int64
    assert train.rows["other_vote"].dtype == np.int64
    assert train.rows["eeg_label_offset_seconds"].dtype == np.float64
    assert train.rows.index.tolist() == list(range(len(table)))
    assert set(train.eeg_footers) == set(table.eeg_id)
    assert set(train.spectrogram_footers) == set(table.spectrogram_id)
    assert train.eeg_starts().tolist() == [200 * int(s) for s in table.eeg_label_offset_seconds]
    assert train.spectrogram_starts().tolist() == [int(s) // 2 for s in table.spectrogram_label_offset_seconds]
    test = read_recordings(tiny_root, "test")
    assert list(test.rows.columns) == ["eeg_id", "spectrogram_id", "patient_id"]
    assert test.spectrogram_starts().tolist() == [0, 0, 0]


def test_real_windows_without_spectrograms(iiic_root: Path) -> None:
    train = read_recordings(iiic_root)
    assert len(train.rows) == 12
    assert train.spectrogram_dir is None
    assert {footer.n_rows for footer in train.eeg_footers.values()} == {10_000}
    assert read_recordings(iiic_root, "test", spectrograms=False).rows.eeg_id.tolist() == train.rows.eeg_id.tolist()
    assert "the folder train_spectrograms/ is missing" in fault_of(iiic_root, spectrograms=True)


def test_spectrograms_can_be_left_out(root: Path) -> None:
    first_spectrogram(root).write_bytes(b"")
    assert read_recordings(root, spectrograms=False).spectrogram_dir is None
    assert "the file is empty" in fault_of(root)


def test_columns_in_any_order_others_left_out(root: Path) -> None:
    before = read_recordings(root).rows
    edit(root, lambda rows: rows[rows.columns[::-1]].assign(note="x, y"))
    pd.testing.assert_frame_equal(read_recordings(root).rows, before)


def test_blank_lines_byte_order_mark_and_whole_floats(root: Path) -> None:
    before = read_recordings(root).rows
    edit(root, lambda rows: rows.assign(patient_id=rows.patient_id.astype(str) + ".0"))
    path = root / "train.csv"
    path.write_text("\ufeff" + path.read_text() + "\n\n", "utf-8")
    pd.testing.assert_frame_equal(read_recordings(root).rows, before)


def test_root_part_and_table_missing(tmp_path: Path, tiny_root: Path) -> None:
    assert f"{tmp_path / 'no'} does not exist" in fault_of(tmp_path / "no")
    assert "is a file" in fault_of(tiny_root / "train.csv")
    assert "train.csv is missing; the folder holds nothing" in fault_of(tmp_path)
    assert "train and test" in fault_of(tiny_root, "valid")


def test_a_table_that_is_no_file(root: Path) -> None:
    """It is there by its name, and so the part is not left out without a word."""
    path = root / "train.csv"
    for make in (path.mkdir, lambda: path.symlink_to(root / "gone"), lambda: os.mkfifo(path)):
        path.rmdir() if path.is_dir() else path.unlink()
        make()
        assert HMS(root, root / "stores").parts() == ["train", "test"]
        assert f"{path} is no file that can be read" in fault_of(root)


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("", "train.csv is empty; its first line must name the columns"),
        (",".join(TRAIN_COLUMNS) + "\n", "train.csv has a header and no rows"),
        ("eeg_id;eeg_sub_id\n1;2\n", "train.csv line 1: no column eeg_id, eeg_sub_id"),
        ("\x00\xff", "train.csv"),
    ],
)
def test_empty_or_foreign_table(root: Path, text: str, fault: str) -> None:
    (root / "train.csv").write_bytes(text.encode("latin-1"))
    assert fault in fault_of(root)


def test_missing_columns_are_named(root: Path) -> None:
    edit(root, lambda rows: rows.drop(columns=["label_id", "gpd_vote"]))
    assert "no column label_id, gpd_vote; found eeg_id, eeg_sub_id" in fault_of(root)


def test_row_with_too_few_fields(root: Path) -> None:
    path = root / "train.csv"
    lines = path.read_text().splitlines()
    lines[3] = lines[3].rsplit(",", 2)[0]
    path.write_text("\n".join(lines))
    assert "train.csv line 4: 13 fields, the header has 15" in fault_of(root)


@pytest.mark.parametrize(
    ("column", "value", "fault"),
    [
        ("eeg_id", "12.5", "line 4: eeg_id is '12.5', must be a whole number"),
        ("eeg_sub_id", "1_0", "line 4: eeg_sub_id is '1_0', must be a whole number"),
        ("lpd_vote", "٣", "line 4: lpd_vote is '٣', must be a whole number"),
        ("eeg_label_offset_seconds", "1_0.0", "line 4: eeg_label_offset_seconds is '1_0.0', must be a finite number"),
        ("patient_id", "", "line 4: patient_id is '', must be a whole number or a name"),
        ("patient_id", "nan", "line 4: patient_id is 'nan', must be a whole number or a name"),
        ("patient_id", "1.5", "line 4: patient_id is '1.5', must be a whole number or a name"),
        ("label_id", str(2**64), f"line 4: label_id is '{2**64}', must be a whole number"),
        (
            "eeg_label_offset_seconds",
            "nan",
            "line 4: eeg_label_offset_seconds is 'nan', must be a finite number",
        ),
        ("eeg_label_offset_seconds", "-2", "line 4: eeg_label_offset_seconds is -2, must be 0 to"),
        ("eeg_label_offset_seconds", "1e300", "line 4: eeg_label_offset_seconds is 1e+300, must be 0 to"),
        (
            "eeg_label_offset_seconds",
            "0.0031",
            "line 4: eeg_label_offset_seconds is 0.0031, 0.62 samples at 200 Hz",
        ),
        ("spectrogram_label_offset_seconds", "inf", "line 4: spectrogram_label_offset_seconds is 'inf'"),
        ("lpd_vote", "-1", "line 4: negative votes: lpd_vote -1"),
        ("lpd_vote", "0.5", "line 4: lpd_vote is '0.5', must be a whole number"),
        ("expert_consensus", "Spikes", "line 4: expert_consensus is 'Spikes', must be one of Seizure, LPD"),
    ],
)
def test_bad_field(root: Path, column: str, value: str, fault: str) -> None:
    edit(root, lambda rows: rows.__setitem__(column, [*rows[column][:2], value, *rows[column][3:]]))
    message = fault_of(root)
    assert "part train: 1 problem\n" in message
    assert f"train.csv {fault}" in message


def test_all_zero_votes(root: Path) -> None:
    votes = [name for name in TRAIN_COLUMNS if name.endswith("_vote")]
    edit(root, lambda rows: rows.loc.__setitem__((1, votes), "0"))
    assert "train.csv line 3: all votes are 0" in fault_of(root)


def test_duplicates(root: Path) -> None:
    edit(root, lambda rows: rows.loc.__setitem__((4, "label_id"), rows.label_id[1]))
    assert "line 6: label_id 900001 stands on line 3 already" in fault_of(root)


def test_duplicate_window(root: Path) -> None:
    edit(root, lambda rows: rows.loc.__setitem__((1, "eeg_sub_id"), rows.eeg_sub_id[0]))
    assert "line 3: eeg_id 1000, eeg_sub_id 0 stands on line 2 already" in fault_of(root)
    edit(root, lambda rows: rows.loc.__setitem__((1, "eeg_id"), rows.eeg_id[0]), "test")
    assert "test.csv line 3: eeg_id 50000 stands on line 2 already" in fault_of(root, "test")


def test_eeg_with_aliases_in_another_order_and_other_types(root: Path) -> None:
    aliases = {"T3": "EEG T7-Ref", "T4": "T8-LE", "T5": "p7", "T6": "P8", "EKG": "ECG"}
    names = [aliases.get(name, name.upper()) for name in CHANNELS][::-1]
    eeg = random_eeg(12_000, RNG, nan_share=0)
    types = [np.float64, np.int16, np.int32, np.float32] * 5
    table = pa.table({name: eeg[:, i].astype(types[i]) for i, name in enumerate(names)})
    pq.write_table(table.append_column("A1", [eeg[:, 0]]), first_eeg(root))
    assert len(read_recordings(root).rows) == len(pd.read_csv(root / "train.csv"))


@pytest.mark.parametrize(
    ("columns", "fault"),
    [
        ([*CHANNELS[:-2], "A2", "EKG"], "no column O2; found Fp1, F3, C3, P3, F7, T3 and 14 more"),
        (
            [*CHANNELS[:-2], "EKG", "T7"],
            "no column O2; found Fp1, F3, C3, P3, F7, T3 and 14 more; T3 stands there as 'T3'",
        ),
        ([*CHANNELS, "EEG T7-Ref"], "T3 stands there as 'T3' and as 'EEG T7-Ref'"),
    ],
)
def test_eeg_columns(root: Path, columns: list[str], fault: str) -> None:
    eeg = random_eeg(14_000, RNG)
    pq.write_table(pa.table({name: eeg[:, i % 20] for i, name in enumerate(columns)}), first_eeg(root))
    assert f"train_eegs/1000.parquet: {fault}" in fault_of(root)


def test_eeg_of_text(root: Path) -> None:
    table = pa.table({name: ["1.0"] * 14_000 for name in CHANNELS})
    pq.write_table(table, first_eeg(root))
    assert "1000.parquet: column Fp1 is string (20 such), must be a floating point or whole number" in fault_of(root)


def test_missing_files_are_listed_with_the_line_that_wants_them(root: Path) -> None:
    rows = pd.read_csv(root / "train.csv")
    last = int(rows.eeg_id.iloc[-1])
    (root / "train_eegs" / f"{last}.parquet").unlink()
    line = 2 + int(rows.eeg_id.searchsorted(last))
    assert f"train_eegs/{last}.parquet (train.csv line {line}): the file is missing" in fault_of(root)
    shutil.rmtree(root / "train_eegs")
    message = fault_of(root)
    assert "1 problem\n" in message
    assert "the folder train_eegs/ is missing" in message


@pytest.mark.parametrize("kept", [0, 3, 100, 0.5, -1, -6])
def test_cut_off_parquet(root: Path, kept: float) -> None:
    path = first_eeg(root)
    content = path.read_bytes()
    path.write_bytes(content[: int(kept * len(content)) if isinstance(kept, float) else kept or 0])
    message = fault_of(root)
    assert "1 problem\n" in message
    assert "train_eegs/1000.parquet (train.csv line 2): " in message
    assert "empty" in message or "no parquet footer" in message


def test_damaged_footer(root: Path) -> None:
    path = first_eeg(root)
    content = bytearray(path.read_bytes())
    content[-3000:-8] = bytes(2992)
    path.write_bytes(content)
    assert "train_eegs/1000.parquet (train.csv line 2): " in fault_of(root)
    content[-8:-4] = (2**31 - 1).to_bytes(4, "little")
    path.write_bytes(content)
    assert "its footer claims 2,147,483,655 bytes" in fault_of(root)


def test_eeg_shorter_than_a_label_claims(root: Path) -> None:
    rows = pd.read_csv(root / "train.csv")
    line = 2 + int(np.argmax(rows.eeg_label_offset_seconds > 0))
    row = rows.iloc[line - 2]
    write_eeg(root / "train_eegs" / f"{row.eeg_id}.parquet", random_eeg(10_001, RNG))
    start = int(200 * row.eeg_label_offset_seconds)
    text = f"needs the rows {start:,} to {start + 10_000:,} of train_eegs/{row.eeg_id}.parquet, which has 10,001"
    message = fault_of(root)
    assert f"train.csv line {line}: eeg_label_offset_seconds {row.eeg_label_offset_seconds:g} {text}" in message


def test_test_eeg_is_exactly_fifty_seconds(root: Path) -> None:
    write_eeg(first_eeg(root, "test"), random_eeg(10_001, RNG))
    message = fault_of(root, "test")
    assert "50000.parquet: 10,001 rows, a test EEG has exactly 10,000 (50 s at 200 Hz)" in message
    assert "resample" not in message
    write_eeg(first_eeg(root, "test"), random_eeg(12_800, RNG))
    assert "12,800 rows" in fault_of(root, "test")
    assert "50 s at 256 Hz would have as many: dataset.sfreq=256 declares the rate" in fault_of(root, "test")


@pytest.mark.parametrize("names", [CHANNELS[:-1], [*CHANNELS[:-1], "EKG1"], [*CHANNELS, "ECG1"]])
def test_without_an_ekg_or_with_a_numbered_one(root: Path, names: list[str]) -> None:
    eeg = random_eeg(16_000, RNG)
    pq.write_table(pa.table({name: eeg[:, i % 20] for i, name in enumerate(names)}), first_eeg(root))
    read_recordings(root)


@pytest.mark.parametrize("kind", [pa.null(), pa.float32(), pa.float64()])
def test_an_ekg_without_a_value(root: Path, tmp_path: Path, kind: pa.DataType) -> None:
    eeg = random_eeg(16_000, RNG, nan_share=0)
    columns = {name: eeg[:, i] for i, name in enumerate(CHANNELS) if name != "EKG"}
    pq.write_table(pa.table({**columns, "EKG": pa.nulls(16_000, kind)}), first_eeg(root))
    read_recordings(root)
    store = build_store({1: first_eeg(root)}, CHANNELS, tmp_path / "store")
    window = store.window(1, 0, 10_000)
    assert np.isnan(window[:, CHANNELS.index("EKG")]).all()
    assert np.isfinite(window[:, :19]).all()


@pytest.mark.parametrize("part", ["train", "test"])
def test_a_table_without_spectrogram_columns(root: Path, part: str) -> None:
    edit(root, lambda rows: rows.drop(columns=[name for name in rows if name.startswith("spectrogram")]), part)
    for wanted in (False, None):
        recordings = read_recordings(root, part, spectrograms=wanted)
        assert recordings.spectrogram_dir is None
        assert (recordings.rows.spectrogram_id == -1).all()
        assert len(recordings.eeg_starts()) == len(recordings.rows)
    assert f"{part}.csv line 1: no column spectrogram_id" in fault_of(root, part, spectrograms=True)


def test_some_spectrogram_columns_are_not_enough(root: Path) -> None:
    edit(root, lambda rows: rows.drop(columns=["spectrogram_id"]))
    assert "line 1: no column spectrogram_id" in fault_of(root, spectrograms=False)


def test_patient_ids_that_are_text(root: Path) -> None:
    before = read_recordings(root).rows.patient_id
    edit(root, lambda rows: rows.assign(patient_id="P-" + rows.patient_id.astype(str)))
    after = read_recordings(root).rows.patient_id
    assert after.dtype == np.int64
    assert (after >= 2**62).all()
    # The same patients as before, and the same numbers wherever the names stand.
    assert after.groupby(before).nunique().eq(1).all()
    assert after.nunique() == before.nunique()
    assert number_of_name("P-10") == after[0]


def test_spectrogram_columns(root: Path) -> None:
    table = pq.read_table(first_spectrogram(root))
    pq.write_table(table.drop(["RL_0.59", "RL_0.78"]), first_spectrogram(root))
    assert "train_spectrograms/500000.parquet: no column RL_0.59, RL_0.78; found time" in fault_of(root)
    pq.write_table(table.drop(["time"]), first_spectrogram(root))
    assert "train_spectrograms/500000.parquet: no column 'time'" in fault_of(root)
    pq.write_table(table.select(table.column_names[::-1]), first_spectrogram(root))
    assert len(read_recordings(root).spectrogram_footers) == 12


def test_spectrogram_with_too_few_rows(root: Path) -> None:
    write_spectrogram(first_spectrogram(root), random_spectrogram(299, RNG))
    text = "train.csv line 2: spectrogram_label_offset_seconds 0 needs the rows 0 to 300 of "
    assert f"{text}train_spectrograms/500000.parquet, which has 299 (of 2 s each)" in fault_of(root)
    write_spectrogram(first_spectrogram(root, "test"), random_spectrogram(299, RNG), time_type=np.int16)
    assert "test.csv line 2: 600 s needs the rows 0 to 300 of test_spectrograms" in fault_of(root, "test")


def test_all_problems_in_one_message_and_the_rest_counted(root: Path) -> None:
    rows = pd.read_csv(root / "train.csv")
    edit(root, lambda rows: rows.assign(seizure_vote="-1"))
    shutil.rmtree(root / "train_eegs")
    edit(root, lambda rows: rows.loc.__setitem__((len(rows) - 1, "seizure_vote"), "7"))
    message = fault_of(root)
    shown = message.splitlines()
    assert shown[0].endswith(f"part train: {len(rows)} problems")
    assert len(shown) == 22
    assert shown[-1] == f"  and {len(rows) - 20} more: {len(rows) - 21} x negative votes, 1 x missing folder"


def test_table_and_file_problems_come_together(root: Path) -> None:
    edit(root, lambda rows: rows.loc.__setitem__((0, "lpd_vote"), "x"))
    rows = pd.read_csv(root / "train.csv")
    (root / "train_eegs" / f"{rows.eeg_id.iloc[-1]}.parquet").write_bytes(b"PAR1")
    (root / "train_spectrograms" / f"{rows.spectrogram_id.iloc[-1]}.parquet").unlink()
    message = fault_of(root)
    assert "3 problems\n" in message
    for text in ("lpd_vote is 'x'", "no parquet footer at the end of its 4 bytes", "the file is missing"):
        assert text in message


def test_footers_are_read_again_only_where_a_file_has_changed(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = read_recordings(root, cache_dir=tmp_path / "cache")
    opened: list[str] = []
    read_footer = footers_module.read_footer

    def counted(path: Path) -> footers_module.Footer:
        opened.append(path.name)
        return read_footer(path)

    monkeypatch.setattr(footers_module, "read_footer", counted)
    second = read_recordings(root, cache_dir=tmp_path / "cache")
    assert opened == []
    assert second.eeg_footers == first.eeg_footers
    assert second.spectrogram_footers == first.spectrogram_footers
    os.utime(first_eeg(root), ns=(0, 0))
    read_recordings(root, cache_dir=tmp_path / "cache")
    assert opened == ["1000.parquet"]
    for path in (tmp_path / "cache").iterdir():
        path.write_bytes(b"damaged")
    assert read_recordings(root, cache_dir=tmp_path / "cache").spectrogram_footers == first.spectrogram_footers
    assert len(opened) == 25


def test_names_of_spectrogram_columns() -> None:
    assert list(SPECTROGRAM_COLUMNS) == spectrogram_columns()
    literal = {0: "LL_0.59", 5: "LL_1.56", 13: "LL_3.13", 18: "LL_4.1", 99: "LL_19.92", 100: "RL_0.59", 399: "RP_19.92"}
    assert {i: SPECTROGRAM_COLUMNS[i] for i in literal} == literal


@given(st.permutations(CHANNELS), st.sampled_from(["{}", "EEG {}-Ref", "EEG {}-LE", " {} "]), st.booleans())
def test_channels_are_found_by_name(order: list[str], spelling: str, upper: bool) -> None:
    modern = {"T3": "T7", "T4": "T8", "T5": "P7", "T6": "P8"}
    raw = {name: spelling.format(modern.get(name, name)) for name in order}
    raw = {name: text.upper() if upper else text for name, text in raw.items()}
    assert find_columns(raw.values(), CHANNELS, "eeg") == tuple(raw[name] for name in CHANNELS)
    rest = [text for name, text in raw.items() if name != order[3]]
    if order[3] == "EKG":
        assert find_columns(rest, CHANNELS, "eeg")[-1] is None
        return
    with pytest.raises(ColumnsError, match=f"no column {order[3]};"):
        find_columns(rest, CHANNELS, "eeg")
