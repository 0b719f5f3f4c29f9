"""The data set that an ensemble was trained on, for the commands that predict and train further."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hbac.common.commands import override
from hbac.common.errors import UserError
from hbac.experiment.job import named

if TYPE_CHECKING:
    from omegaconf import DictConfig

_OF_THIS_COMPUTER = ("stores", "n_jobs")


def dataset_to_predict(cfg: DictConfig, runs: Iterable[Path]) -> Any:
    """Choose the data set: the one that was named, else the one that the runs were trained on.

    Parameters
    ----------
    cfg : DictConfig
        With ``dataset``.
    runs : iterable of Path
        Run folders of one ensemble.

    Returns
    -------
    DictConfig or dict
        A data set's config. With ``dataset.root=PATH`` alone it is the known one in another place.

    Raises
    ------
    UserError
        When none was named and no run says what it was trained on.
    """
    from hbac.runs.folder import dataset_of

    typed = named("dataset")
    keys = [line.lstrip("+~").partition("=")[0].partition("@")[0] for line in typed]
    if "dataset" in keys:
        return cfg.dataset
    known = next((node for run in runs if (node := dataset_of(run)) is not None), None)
    if known is None:
        if typed:
            return cfg.dataset
        raise UserError("no run says which data set it was trained on; name one: dataset=hms dataset.root=PATH")
    if keys and known["_target_"] == cfg.dataset["_target_"]:
        return cfg.dataset  # what the other settings follow from was named
    if "stores" in known and not Path(known["stores"]).is_dir():
        known["stores"] = str(Path(cfg.outputs) / "stores")
    return known | {key.rpartition(".")[2]: cfg.dataset[key.rpartition(".")[2]] for key in keys}


def naming(dataset: Mapping[str, Any], conf: Path) -> list[str]:
    """Write the settings that name a data set.

    Parameters
    ----------
    dataset : mapping
        A data set's config.
    conf : Path
        Folder of the configs.

    Returns
    -------
    list of str
        ``dataset=…`` and what differs from that option's defaults.
    """
    import yaml

    for option in sorted((conf / "dataset").glob("*.yaml")):
        default = yaml.safe_load(option.read_text(encoding="utf-8"))
        if default.get("_target_") == dataset["_target_"]:
            settings = {
                key: value
                for key, value in dataset.items()
                if not key.startswith("_")
                and key not in _OF_THIS_COMPUTER
                and value != default.get(key)
                and "${" not in str(default.get(key))
            }
            return [override("dataset", option.stem), *(override(f"dataset.{key}", settings[key]) for key in settings)]
    return named("dataset")


def folds_of(run: Path, conf: Path) -> tuple[int, list[str]]:
    """Say how many folds a run is one of, and the settings that make these folds.

    Parameters
    ----------
    run : Path
        Its folder.
    conf : Path
        Folder of the configs.

    Returns
    -------
    n_folds : int
        Number of folds.
    settings : list of str
        Those that differ from the defaults.
    """
    import yaml

    from hbac.common.files import read_json
    from hbac.runs.folder import CONFIG_FILE

    default = yaml.safe_load((conf / "labels" / "default.yaml").read_text(encoding="utf-8"))
    labels = read_json(run / CONFIG_FILE).get("labels", {}) if (run / CONFIG_FILE).is_file() else {}
    made_by = {key: labels.get(key, default[key]) for key in ("n_folds", "seed")}
    settings = [override(f"labels.{key}", value) for key, value in made_by.items() if value != default[key]]
    return int(made_by["n_folds"]), settings
