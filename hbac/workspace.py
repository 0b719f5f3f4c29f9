"""``python -m hbac.workspace``: set W&B's pages of a project up, a workspace to watch in and a report to hand on."""

from __future__ import annotations

import json
import sys
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

from hbac.cli.launch import launch
from hbac.common.errors import UserError

if TYPE_CHECKING:
    from omegaconf import DictConfig


def main() -> None:
    """Run the command."""
    launch("hbac.workspace:workspace", "workspace")


def workspace(cfg: DictConfig) -> None:
    """Make the pages, or with ``dry_run=true`` print what would be made."""
    if find_spec("wandb_workspaces") is None:
        raise UserError("it is not installed: pip install 'wandb-workspaces>=0.4'")
    from hbac.tracking.wandb_pages import make_report, make_workspace, outline

    if cfg.entity is None and not cfg.dry_run:
        raise UserError("entity=NAME is needed: the W&B user or team that the project is of")
    entity = "ENTITY" if cfg.entity is None else str(cfg.entity)
    made: dict[str, Any] = {
        "workspace": make_workspace(entity, str(cfg.project)),
        "report": make_report(entity, str(cfg.project)),
    }
    for kind, page in made.items():
        if cfg.dry_run:
            sys.stdout.write(f"{kind}: {json.dumps(outline(page), indent=1)}\n")
            continue
        try:
            page.save()
        except Exception as error:  # of W&B, requests, gql
            raise UserError(f"{kind}: {str(error).splitlines()[0]}; log in once with `wandb login`") from None
        sys.stdout.write(f"{kind + ':':<11} {page.url}\n")


if __name__ == "__main__":
    main()
