"""The data set that an ensemble was trained on, for the commands that predict and train further."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hbac.common.commands import key_of, override
from hbac.common.errors import UserError
from hbac.experiment.launched import named

if TYPE_CHECKING:
    from omegaconf import DictConfig


def dataset_to_predict(cfg: DictConfig, runs: Iterable[Path]) -> Any:
    """Choose the data set's config: that of the one that was named, else of the one that the runs were trained on.

    With ``dataset.root=PATH`` alone it is the known one in another place. A `UserError` when none was named and no run
    says what it was trained on, or a setting is not one of that data set.
    """
    from hbac.recordings.store import INDEX_NAME
    from hbac.runs.data_of_run import dataset_of_run, dataset_overrides
    from hbac.runs.folder import CONFIG_FILE

    typed = named("dataset")
    keys = [key_of(line) for line in typed]
    if "dataset" in keys:
        return cfg.dataset
    known = next((dataset_of_run(run) for run in runs if (run / CONFIG_FILE).is_file()), None)
    if known is None:
        if typed:
            return cfg.dataset
        raise UserError("no run says which data set it was trained on; name one: dataset=hms dataset.root=PATH")
    if keys and known["_target_"] == cfg.dataset["_target_"]:
        return cfg.dataset  # what the other settings follow from was named
    if strange := [key for key in keys if key.rpartition(".")[2] not in known]:
        was = dataset_overrides(known)[0]
        raise UserError(
            f"{strange[0]}: the runs were trained on {was}, which has no such setting; name the data set, too"
        )
    if known["_target_"] == "hbac.recordings.datasets.Synthetic" and not Path(known["root"]).is_dir():
        known["root"] = str(Path(cfg.outputs) / "data" / Path(known["root"]).name)
    if not any(Path(known["stores"]).glob(f"*/{INDEX_NAME}")):  # nothing is made where a run of anybody's says
        known["stores"] = str(Path(cfg.outputs) / "stores")
    return known | {key.rpartition(".")[2]: cfg.dataset[key.rpartition(".")[2]] for key in keys}


def folds_of(run: Path, conf: Path) -> tuple[int, list[str]]:
    """Say how many folds a run is one of, and the settings that make these folds, where not the defaults."""
    import yaml

    from hbac.common.files import read_json
    from hbac.runs.folder import CONFIG_FILE

    default = yaml.safe_load((conf / "labels" / "default.yaml").read_text(encoding="utf-8"))
    labels = read_json(run / CONFIG_FILE).get("labels", {}) if (run / CONFIG_FILE).is_file() else {}
    made_by = {key: labels.get(key, default[key]) for key in ("n_folds", "seed")}
    settings = [override(f"labels.{key}", value) for key, value in made_by.items() if value != default[key]]
    return int(made_by["n_folds"]), settings
