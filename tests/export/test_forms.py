"""Each form, typed, says of real windows what `hbac.infer` says."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from tests.ensembles import SMALL_NET, write_ensemble
from tests.exported import ALONE, FILES, FOLDERS, compare

PICTURES = ["model=efficientnet", "model.backbone=test_efficientnet", "model.pretrained=false"]
PICTURES += ["front_end.tile_height=32", "front_end.tile_width=64"]


@pytest.mark.slow
def test_every_form_of_an_ensemble_says_what_infer_says(tmp_path: Path, iiic_root: Path) -> None:
    if subprocess.run([*ALONE, "true"], capture_output=True).returncode:
        pytest.skip("no namespaces without network here")
    source = write_ensemble(tmp_path / "made", [["model=resnet_gru", *SMALL_NET], PICTURES]).parent
    found = list(compare(source, tmp_path / "out", (*FILES, *FOLDERS), iiic_root))
    assert [form.typed for form in found] == [*FILES, *FOLDERS]
    for form in found:
        assert form.largest <= FILES.get(form.typed, 1e-7) and form.kl < 0.01, form
    assert found[3].largest > 1e-4  # int8 is seen to lose something
