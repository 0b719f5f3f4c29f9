"""What figures share: the range of colours follows the values, whatever is missing."""

from __future__ import annotations

import numpy as np
import pytest

from hbac.report.figures import heat_map, legend_height_px, series


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
