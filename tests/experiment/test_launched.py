"""What a command says is to be typed next."""

from __future__ import annotations

from pathlib import Path

from hbac.experiment.launched import SEARCHED, command_of_best


def test_a_search_ends_with_the_command_that_trains_its_best_setting_on_all_folds(tmp_path: Path) -> None:
    asked = [
        "experiment=optuna",
        "optimizer.lr=tag(log, interval(1e-3, 1e-2))",
        "dataset.size=tiny",
        "fold=1",
        "ema=0.9",
    ]
    assert command_of_best(tmp_path, asked, 5) is None  # no search
    best = "name: optuna\nbest_params:\n  optimizer.lr: 0.0025\n  band: 0.5-40\n  model.dropout: 0.1\nbest_value: 0.7\n"
    (tmp_path / SEARCHED).write_text(best)
    assert command_of_best(tmp_path, asked, 3) == (
        "python -m hbac.train dataset.size=tiny ema=0.9 optimizer.lr=0.0025 band=0.5-40 model.dropout=0.1 -m fold=0,1,2"
    )
