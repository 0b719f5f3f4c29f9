"""A run or an ensemble as a folder that the Hugging Face Hub takes, and `hbac.load` reads as it is.

Weights are safetensors, all else is JSON, and ``README.md`` is the model card with its scores in the Hub's metadata. It
has none of the labels and no path of the machine. `huggingface_hub.PyTorchModelHubMixin` does not fit: it makes one
module from one config by calling its class, where an ensemble is many, and here a config of anybody's decides only
which of our own networks is made.

References
----------
Hugging Face Hub, "Model cards": the metadata at the head of a README.
"""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

from hbac import __version__
from hbac.common.errors import UserError
from hbac.common.files import read_json, write_json
from hbac.common.outputs import replacing
from hbac.ensembling.ensemble_file import Ensemble, Member, stems
from hbac.export import COMMAND
from hbac.runs.folder import CARD_FILE, CONFIG_FILE, ENVIRONMENT_FILE, MODEL_FILE, TYPED_IN, WEIGHTS_FILE, read_config

README = "README.md"
# Entries of a config that say nothing of the model, and paths.
_OF_THE_MACHINE = ("outputs", "n_jobs", "allow", "logger", "root", "stores", "pretrained_file", "pseudo", "init_from")


def write_hub_folder(source: Path, out: Path) -> None:
    """Write a run or an ensemble for the Hub; `out` is replaced where this command wrote it."""
    with replacing(out, COMMAND, last=CONFIG_FILE, own_folders=(".",)) as staged:
        write_model(source, staged)


def write_model(source: Path, folder: Path) -> None:
    """Write what `hbac.load` needs of a run or an ensemble (`source`), and its card, into an empty folder."""
    if (source / MODEL_FILE).is_file():
        _copy_run(source, folder)
        config = _without_paths(read_config(source)) if (source / CONFIG_FILE).is_file() else {}
        about = {"kind": "run", **config}
    else:
        ensemble = Ensemble.read(source)
        folders = [folder / "runs" / stem for stem in stems([member.name for member in ensemble.members])]
        members = [_copied(member, own) for member, own in zip(ensemble.members, folders, strict=True)]
        replace(ensemble, members=tuple(members)).write(folder)
        about = {"kind": "ensemble", "members": [member.name for member in members]}
    write_json(folder / CONFIG_FILE, {"library_name": "hbac", "hbac_version": __version__, **about})
    (folder / README).write_text(_card(source), encoding="utf-8")


def _copied(member: Member, folder: Path) -> Member:
    runs = tuple(folder / stem for stem in stems([run.name for run in member.runs]))
    for run, copied in zip(member.runs, runs, strict=True):
        _copy_run(run, copied)
    return replace(member, runs=runs, table=None)


def _copy_run(run: Path, folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for name in (MODEL_FILE, WEIGHTS_FILE):
        shutil.copyfile(run / name, folder / name)
    if (run / ENVIRONMENT_FILE).is_file():
        found = read_json(run / ENVIRONMENT_FILE, dict)
        kept = {name: found[name] for name in found if name not in (TYPED_IN, "command")}
        write_json(folder / ENVIRONMENT_FILE, kept, sealed=True)


def _without_paths(config: dict[str, Any]) -> dict[str, Any]:
    return {
        name: _without_paths(value) if isinstance(value, dict) else value
        for name, value in config.items()
        if name not in _OF_THE_MACHINE and not (name == "labels" and isinstance(value, str))  # a table of one's own
    }


def _card(source: Path) -> str:
    """Return the card that training or blending wrote; where there is none, the least that the Hub wants to know."""
    if (source / CARD_FILE).is_file():
        return (source / CARD_FILE).read_text(encoding="utf-8", errors="replace")
    return (
        f"---\nlibrary_name: hbac\ntags:\n- eeg\n---\n\n# {source.name}\n\nClassifies 50-second windows of scalp EEG; "
        'for research, no medical device. `hbac.load("this folder")` reads it.\n'
    )


def push(folder: Path, name: str) -> str:
    """Upload a folder of `write_hub_folder` as ``OWNER/NAME``, private where it is new; return its address.

    A `UserError` when the name is none, there is no account or no network, or the Hub refuses.
    """
    from huggingface_hub import HfApi
    from huggingface_hub.errors import HFValidationError

    try:
        api = HfApi()
        api.create_repo(name, private=True, exist_ok=True)
        api.upload_folder(repo_id=name, folder_path=folder, ignore_patterns=[".*"], commit_message="Export of hbac")
    except HFValidationError as error:
        raise UserError(f"push={name}: {str(error).splitlines()[0]}") from None
    except Exception as error:  # without a network, one of a package that its client has changed
        raise UserError(
            f"push={name}: {str(error).partition(chr(10))[0]}; log in once (`hf auth login`, or HF_TOKEN). "
            f"{folder} is complete: `hf upload {name} {folder}` sends it too"
        ) from None
    return f"hf://{name}"
