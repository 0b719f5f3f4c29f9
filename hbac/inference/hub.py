"""Models of the Hugging Face Hub, through its client's cache."""

from __future__ import annotations

import re
from pathlib import Path

from hbac.common.errors import UserError
from hbac.ensembling.ensemble_file import ENSEMBLE_FILE, Ensemble

HUB = "hf://"
_ADDRESS = re.compile(r"hf://([\w.-]+/[\w.-]+)(?:@([\w./-]+))?")
_FILES = ["*.json", "*.safetensors", "README.md"]  # no code: none is run


def downloaded(address: str) -> Path:
    """Fetch a model, ``hf://OWNER/NAME`` or ``hf://OWNER/NAME@REVISION``, or find it in the cache; return its folder.

    A `UserError` when it is no address, the Hub has no such model, cannot be reached and the cache lacks it, or when an
    ensemble names runs outside of its own folder.
    """
    found = _ADDRESS.fullmatch(address)
    if found is None:
        raise UserError(f"{address}: not hf://OWNER/NAME or hf://OWNER/NAME@REVISION")
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import LocalEntryNotFoundError

    try:
        folder = Path(snapshot_download(found[1], revision=found[2], allow_patterns=_FILES))
    except LocalEntryNotFoundError:
        raise UserError(f"{address}: the Hub cannot be reached, and the cache on this machine lacks it") from None
    except Exception as error:  # without a network, one of a package that its client has changed
        raise UserError(f"{address}: {str(error).partition(chr(10))[0]}") from None
    if (folder / ENSEMBLE_FILE).is_file():
        for member in Ensemble.read(folder).members:
            if outside := [run for run in member.runs if not run.is_relative_to(folder.absolute())]:
                raise UserError(f"{address}: member {member.name} names a run outside of its folder: {outside[0]}")
    return folder
