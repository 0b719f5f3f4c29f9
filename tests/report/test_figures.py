"""What figures share: the range of colours follows the values, whatever is missing."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
from scipy.spatial.distance import pdist

import hbac.report
from hbac.report.figures import heat_map, legend_height_px, series
from hbac.vocabulary import CLASSES

# What those see who lack one kind of cone, of linear sRGB (Machado et al. 2009, doi:10.1109/TVCG.2009.113).
SEEN = {
    "all": np.eye(3),
    "no red": [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]],
    "no green": [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.01182, 0.04294, 0.968881]],
    "no blue": [[1.255528, -0.076749, -0.178779], [-0.078411, 0.930809, 0.147602], [0.004733, 0.691367, 0.3039]],
}
LMS = np.array([[0.41222, 0.53633, 0.05145], [0.2119, 0.6807, 0.1074], [0.0883, 0.28172, 0.62998]])
LAB = np.array([[0.21045, 0.79362, -0.00407], [1.978, -2.42859, 0.45059], [0.0259, 0.78277, -0.80868]])


@pytest.mark.parametrize(
    ("values", "signed", "limits"),
    [
        ([[0.0, 0.4], [np.nan, 0.2]], False, (0, 0.4)),
        ([[-0.5, 0.4]], True, (-0.5, 0.5)),
        ([[0.0, 0.0]], False, (0, 1)),
    ],
)
def test_a_heat_map_s_colours_reach_from_the_least_to_the_largest(values, signed, limits) -> None:
    matrix = np.array(values)
    names = [str(column) for column in range(matrix.shape[1])]
    rows = [str(row) for row in range(len(matrix))]
    (trace,) = heat_map(matrix, names, rows, matrix.astype(str).tolist(), "%{z}", signed=signed).data
    assert (trace.zmin, trace.zmax) == limits


def test_colours_repeat_with_other_dashes() -> None:
    assert series(0) == {"color": "var(--series-0)", "dash": "solid"}
    assert series(13) == {"color": "var(--series-3)", "dash": "dash"}


def test_a_legend_has_room_for_its_lines() -> None:
    assert legend_height_px(7) - legend_height_px(6) == legend_height_px(4) - legend_height_px(3) > 0


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_six_classes_are_told_apart_by_colour_blind_readers_too(theme: str) -> None:
    """The smallest distance in OKLab is four times what one just sees, 2."""
    sheet = (Path(hbac.report.__file__).parent / "assets" / "report.css").read_text()
    block = sheet.split("}")[1 if theme == "dark" else 0]
    colours = [re.search(rf"--{name}: #(\w{{6}})", block)[1] for name in CLASSES]  # type: ignore[index]
    srgb = np.array([[int(code[i : i + 2], 16) for i in (0, 2, 4)] for code in colours]) / 255
    linear = np.where(srgb <= 0.04045, srgb / 12.92, ((srgb + 0.055) / 1.055) ** 2.4)
    for matrix in SEEN.values():
        lab = np.cbrt(np.clip(linear @ np.array(matrix).T, 0, 1) @ LMS.T) @ LAB.T
        assert 100 * pdist(lab).min() > 8
