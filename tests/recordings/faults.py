"""What tests of a data set's files do to them, and what is said of it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from hbac.common.errors import UserError
from hbac.recordings.layout import read_recordings


def fault_of(root: Path, part: str = "train", **settings: Any) -> str:
    with pytest.raises(UserError) as caught:
        read_recordings(root, part, **settings)
    return str(caught.value)


def edit(root: Path, change: Callable[[pd.DataFrame], pd.DataFrame | None], part: str = "train") -> pd.DataFrame:
    path = root / f"{part}.csv"
    rows = pd.read_csv(path, dtype=object)
    changed = change(rows)
    rows = rows if changed is None else changed
    rows.to_csv(path, index=False)
    return rows


def first_eeg(root: Path, part: str = "train") -> Path:
    return root / f"{part}_eegs" / f"{pd.read_csv(root / f'{part}.csv').eeg_id[0]}.parquet"


def first_spectrogram(root: Path, part: str = "train") -> Path:
    return root / f"{part}_spectrograms" / f"{pd.read_csv(root / f'{part}.csv').spectrogram_id[0]}.parquet"
