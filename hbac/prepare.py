"""``python -m hbac.prepare``: check a data set's files, build its stores, make its folds, look for leaks."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

from hbac.cli.launch import conf_dir, launch
from hbac.cli.listing import listed

if TYPE_CHECKING:
    from omegaconf import DictConfig


def main() -> None:
    """Run the command."""
    launch("hbac.prepare:prepare", "prepare")


def prepare(cfg: DictConfig) -> None:
    """Do once what every training would otherwise do at its start; or list what there is."""
    if cfg.list is not None:
        sys.stdout.write(listed(cfg.list, conf_dir()))
        return
    from hbac.cli.console import next_command, part_table
    from hbac.common.commands import command_line, override
    from hbac.experiment.launched import all_folds, named

    if cfg.weights is not None:
        from hbac.models.backbone import make_backbone
        from hbac.models.pretrained import convert_weights, packaged_weights

        wanted = make_backbone(cfg.backbone, 3, 0.0, pretrained=False, pretrained_file=None).state_dict()
        out = Path(cfg.outputs) / "weights" / f"{cfg.backbone}.safetensors"
        convert_weights(
            packaged_weights() if cfg.weights == "package" else Path(cfg.weights), cfg.backbone, wanted, out
        )
        sys.stdout.write(f"{out}: {len(wanted)} tensors\n")
        network = (override("model.backbone", cfg.backbone), override("model.pretrained_file", out))
        next_command(command_line("train", "model=efficientnet", *network, flags=all_folds(cfg.labels.n_folds)))
        return
    from hbac.common.instantiate import build
    from hbac.experiment.audit import audit
    from hbac.experiment.training_data import fold_table_of

    dataset = build(cfg.dataset, "dataset", cfg.allow)
    parts = {name: (dataset.verified if cfg.audit else dataset.part)(name) for name in dataset.parts()}
    train = parts.get("train")
    folds = None if train is None else fold_table_of(train, cfg)
    part_table(parts, folds)
    if train is None or folds is None:  # a test part alone has no labels, and so no folds
        return
    found = audit(train, folds, Path(cfg.outputs), compare=cfg.audit or None)
    sys.stdout.write("".join(f"leak audit: {line}\n" for line in found.lines()))
    found.require_none(f"data set {train.recordings.root}")
    chosen = named("dataset", "labels", "outputs")
    next_command(command_line("train", *chosen, flags=all_folds(folds.n_folds)))


if __name__ == "__main__":
    main()
