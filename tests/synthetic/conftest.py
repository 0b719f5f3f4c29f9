"""One tiny synthetic data set for all tests of this folder."""

from __future__ import annotations

from pathlib import Path

import pytest

from hbac.synthetic import dataset


@pytest.fixture(scope="session")
def tiny_size() -> dataset.Size:
    return dataset.Size(train_patients=4, test_patients=3, eegs=(0.5, 0.5), more_rows=0.2, max_rows=4, clarity=0.5)


@pytest.fixture(scope="session")
def tiny_synthetic(tmp_path_factory: pytest.TempPathFactory, tiny_size: dataset.Size) -> Path:
    root = tmp_path_factory.mktemp("synthetic") / "data"
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(dataset.SIZES, "tiny", tiny_size)
        return dataset.write_synthetic(root, "tiny", seed=5)
