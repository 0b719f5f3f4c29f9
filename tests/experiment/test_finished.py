"""Whether a run is there already: not one of whose files something is missing or wrong."""

from __future__ import annotations

from pathlib import Path

import pytest

from hbac.common.files import write_json
from hbac.common.instantiate import build
from hbac.experiment.finished import score_of_finished
from hbac.runs.model import save_model
from tests.predictions.tables import make_table

NETWORK = {"_target_": "hbac.models.ResNetGRU", "n_chans": 8, "n_times": 2000, "sfreq": 40.0, "filters": 8, "width": 16}
FRONT_END = {"_target_": "hbac.signal.front_end.EEGFrontEnd", "montage": "public_8"}


@pytest.fixture
def run(tmp_path: Path) -> Path:
    save_model(tmp_path, build(NETWORK, "network"), NETWORK, FRONT_END, {"fold": 0})
    make_table().write(tmp_path / "predictions.parquet")
    write_json(tmp_path / "metrics.json", {"kl": {"all": 0.5}, "scores": {}, "epochs": 2}, sealed=True)
    return tmp_path


def test_a_whole_run(run: Path) -> None:
    assert score_of_finished(run, "all") == 0.5
    (run / "metrics.json").unlink()
    assert score_of_finished(run, "all") is None


@pytest.mark.parametrize("name", ["weights.safetensors", "model.json", "predictions.parquet", "metrics.json"])
@pytest.mark.parametrize("how", ["missing", "empty", "cut", "flipped"])
def test_a_run_with_something_wrong_is_made_again(
    run: Path, name: str, how: str, caplog: pytest.LogCaptureFixture
) -> None:
    path = run / name
    content = bytearray(path.read_bytes())
    if how == "missing":
        path.unlink()
    else:
        content[len(content) // 2] ^= 1
        path.write_bytes({"empty": b"", "cut": content[:-9], "flipped": content}[how])
    assert score_of_finished(run, "all") is None
    assert ("no longer whole, and made again" in caplog.text) == (path.name != "metrics.json" or how != "missing")


@pytest.mark.parametrize("text", ["[]", "3", '{"kl": 3}', '{"kl": {}, "scores": {}, "epochs": 1}', "\xff"])
def test_metrics_of_another_shape(run: Path, text: str) -> None:
    (run / "metrics.json").write_bytes(text.encode("latin-1"))
    assert score_of_finished(run, "all") is None
