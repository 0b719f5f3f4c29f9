"""Whatever a file holds: it is read, or `UserError` says what is wrong. Nothing else, and no end of the process."""

from __future__ import annotations

import json
import shutil
import warnings
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import hbac
from hbac.common.errors import UserError
from hbac.common.instantiate import build
from hbac.ensembling.ensemble_file import Ensemble
from hbac.predictions.foreign import read_table
from hbac.predictions.table import PredictionTable
from hbac.recordings.dataset_stores import eeg_store, spectrogram_store
from hbac.recordings.layout import read_recordings
from hbac.runs.model import save_model
from tests.ensembling.test_ensemble_file import make_ensemble
from tests.fuzz import NONSENSE, damaged, mutated, rounds
from tests.helpers import write_hms_layout
from tests.predictions.tables import make_table

NETWORK = {"_target_": "hbac.models.ResNetGRU", "n_chans": 8, "n_times": 2000, "sfreq": 40.0, "filters": 8, "width": 16}
FRONT_END = {"_target_": "hbac.signal.front_end.EEGFrontEnd", "montage": "public_8"}


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return write_hms_layout(tmp_path / "set", 3, n_test=0, with_spectrograms=True, max_rows_per_eeg=2)


def fields(text: str, rng: np.random.Generator) -> bytes:
    """Put nonsense into some fields of a csv."""
    lines = [line.split(",") for line in text.splitlines()]
    for _ in range(int(rng.choice([1, 1, 2, 5]))):
        line = lines[int(rng.integers(len(lines)))]
        place = int(rng.integers(len(line)))
        line[place] = str(
            rng.choice([*(str(value) for value in NONSENSE), "1e5", "-3", "0.005", line[place] + "0", '"'])
        )
    return "\n".join(map(",".join, lines)).encode(errors="surrogatepass")


def test_train_csv(root: Path) -> None:
    path = root / "train.csv"
    content = path.read_bytes()
    for rng in rounds():
        path.write_bytes(damaged(content, rng) if rng.random() < 0.5 else fields(content.decode(), rng))
        with suppress(UserError):
            read_recordings(root, spectrograms=[None, True, False][int(rng.integers(3))])


def spoil_table(table: pa.Table, rng: np.random.Generator) -> pa.Table:
    """Change types, values, names or rows of some columns."""
    for _ in range(int(rng.choice([1, 2, 4]))):
        if not table.num_columns:
            break
        place = int(rng.integers(table.num_columns))
        name, n = table.column_names[place], len(table)
        column = table.column(place)
        match int(rng.integers(9)):
            case 0:
                types = (pa.string(), pa.int64(), pa.float16(), pa.float64(), pa.int8(), pa.bool_(), pa.timestamp("ns"))
                with suppress(pa.ArrowException):
                    column = column.cast(types[int(rng.integers(len(types)))], safe=False)
            case 1:
                column = pa.nulls(n)
            case 2 if pa.types.is_floating(column.type) or pa.types.is_integer(column.type):
                values = column.to_numpy().astype(np.float64)
                if n:
                    values[rng.integers(n, size=3)] = rng.choice([np.nan, np.inf, -np.inf, 1e300, -1, 0])
                column = pa.array(values)
            case 3:
                name = str(rng.choice(["time", "EKG", "Fp1", "x", "", "LL_0.59", "EEG Fp1-Ref"]))
            case 4:
                return table.slice(0, int(rng.integers(n + 1)))
            case 5:
                table = table.append_column(name, column)
                continue
            case 6:
                table = table.remove_column(place)
                continue
            case 7:
                column = pa.array([[1.0]] * n) if rng.random() < 0.5 else pa.array([{"a": 1}] * n)
            case 8:
                return table.replace_schema_metadata({b"sfreq": rng.bytes(4), b"pandas": b"{\xff", b"unit": b"[]"})
        with suppress(pa.ArrowException, NotImplementedError):
            table = table.set_column(place, name, column)
    return table


@pytest.mark.parametrize("kind", ["eeg", "spectrogram"])
def test_recordings(root: Path, tmp_path: Path, kind: str) -> None:
    folder = root / f"train_{kind}s"
    path = min(folder.glob("*.parquet"))
    table, content = pq.read_table(path), path.read_bytes()
    build_it: Callable[..., object] = eeg_store if kind == "eeg" else spectrogram_store
    footer = int.from_bytes(content[-8:-4], "little") + 8
    for rng in rounds():
        choice = rng.random()
        if choice < 0.3:
            path.write_bytes(damaged(content, rng))
        elif choice < 0.6:
            path.write_bytes(content[:-footer] + damaged(content[-footer:-8], rng) + content[-8:])
        else:
            with suppress(pa.ArrowException, NotImplementedError):
                pq.write_table(spoil_table(table, rng), path)
        with suppress(UserError), np.errstate(all="raise"):
            build_it(read_recordings(root), tmp_path / "stores")
        shutil.rmtree(tmp_path / "stores", ignore_errors=True)


def test_tables(tmp_path: Path) -> None:
    path = make_table().write(tmp_path / "t.parquet")
    arrow, content = pq.read_table(path), path.read_bytes()
    footer = int.from_bytes(content[-8:-4], "little") + 8
    for rng in rounds():
        choice = rng.random()
        if choice < 0.3:
            path.write_bytes(damaged(content, rng))
        elif choice < 0.5:
            path.write_bytes(content[:-footer] + damaged(content[-footer:-8], rng) + content[-8:])
        else:
            changed = spoil_table(arrow, rng)
            metadata = dict(arrow.schema.metadata)
            if rng.random() < 0.8:
                metadata.pop(b"hbac.sha256", None)
            if rng.random() < 0.5:
                key = list(metadata)[int(rng.integers(len(metadata)))]
                text = json.dumps(NONSENSE[int(rng.integers(len(NONSENSE)))]).encode()
                metadata[key] = damaged(metadata[key], rng) if rng.random() < 0.5 else text
            with suppress(pa.ArrowException, NotImplementedError):
                pq.write_table(changed.replace_schema_metadata(metadata), path)
        for read in (PredictionTable.read, read_table):
            with suppress(UserError), warnings.catch_warnings():
                warnings.simplefilter("ignore")
                read(path)


def test_ensemble_files(tmp_path: Path) -> None:
    path = make_ensemble(tmp_path).write(tmp_path)
    text = path.read_bytes()
    content = {key: value for key, value in json.loads(text).items() if key != "sha256"}
    for rng in rounds():
        if rng.random() < 0.2:
            path.write_bytes(damaged(text, rng))
        else:
            spoiled = content
            for _ in range(int(rng.choice([1, 1, 2, 4]))):
                spoiled = mutated(spoiled, rng)
            path.write_text(json.dumps(spoiled))
        with suppress(UserError):
            ensemble = Ensemble.read(path)
            prob_NK = ensemble.apply(np.full((len(ensemble.members), 4, 6), 1 / 6))
            assert np.isfinite(prob_NK).all()


def test_model_files(tmp_path: Path) -> None:
    save_model(
        tmp_path, build(NETWORK, "network").eval(), NETWORK, FRONT_END, {"fold": 0, "member": "a", "lineage": []}
    )
    path = tmp_path / "model.json"
    text = path.read_bytes()
    content = {key: value for key, value in json.loads(text).items() if key != "sha256"}
    for rng in rounds():
        spoiled = content
        for _ in range(int(rng.choice([1, 1, 2, 4]))):
            spoiled = mutated(spoiled, rng)
        path.write_bytes(damaged(text, rng) if rng.random() < 0.2 else json.dumps(spoiled).encode())
        with suppress(UserError), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            hbac.load(tmp_path)


def test_a_small_data_set_is_sound(root: Path, tmp_path: Path) -> None:
    """What the fuzzers begin with has nothing wrong with it."""
    assert len(eeg_store(read_recordings(root), tmp_path).ids) == 3
    assert isinstance(pd.read_csv(root / "train.csv"), pd.DataFrame)
