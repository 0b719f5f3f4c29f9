"""``python -m hbac.infer recordings=`` as a user types it: files, exit status, and what is said of a bad one."""

from __future__ import annotations

from pathlib import Path

import pytest

from hbac.predictions.course import Course
from tests.ensembles import SMALL_NET, write_ensemble
from tests.recorded import write_brain
from tests.test_commands import command


@pytest.mark.slow
def test_from_files_to_folders(tmp_path: Path) -> None:
    write_ensemble(tmp_path / "ens", [SMALL_NET], n_folds=1)
    write_brain(tmp_path / "in" / "a.edf", 60.0, 256.0)
    result = command(tmp_path, "hbac.infer", "recordings=in", "ensemble=ens", "step_s=5", "page=false")
    assert "recordings: outputs/recordings/ens  (1 folder(s), " in result.stdout
    assert len(Course.read(tmp_path / "outputs/recordings/ens/a").frame) == 12
    write_brain(tmp_path / "in" / "b.edf", 9.0)
    result = command(tmp_path, "hbac.infer", "recordings=in", "ensemble=ens", "out=other", ok=False)
    assert result.returncode == 2
    assert result.stderr == "error: in/b.edf: 9 s long; it must have 10 s or more\n"
    assert not (tmp_path / "other").exists()
    both = ["recordings=in/a.edf", "dataset=hms", "dataset.root=x"]
    result = command(tmp_path, "hbac.infer", *both, "ensemble=ens", ok=False)
    assert "error: dataset=hms: recordings= stands in place of a data set" in result.stderr
