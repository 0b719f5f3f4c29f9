"""``python -m hbac.export run=PATH to=onnx``: write a run or an ensemble in a form that others take."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hbac.cli.launch import launch
from hbac.common.errors import UserError
from hbac.export import COMMAND

if TYPE_CHECKING:
    from omegaconf import DictConfig
    from torch import Tensor

    from hbac.export.one_file import Difference
    from hbac.inference.loading import EnsembleModel
    from hbac.runs.model import Model

FORMS = ("onnx", "torch", "hub", "kaggle")


def main() -> None:
    """Run the command."""
    launch("hbac.export.__main__:export", "export")


def export(cfg: DictConfig) -> None:
    """Write a run or an ensemble in a form that others take; `cfg` is the composed ``conf/export.yaml``."""
    from hbac.common.choices import check_choice
    from hbac.common.files import fresh_folder
    from hbac.common.outputs import check_free
    from hbac.ensembling.collect import newest_ensemble
    from hbac.experiment.launched import named
    from hbac.export.one_file import FILES, TOLERANCES, WINDOWS
    from hbac.inference.loading import load

    to = check_choice("to", cfg.to, FORMS)
    check_choice("takes", cfg.takes, WINDOWS)
    check_choice("weights", cfg.weights, TOLERANCES)
    if cfg.run is not None and cfg.ensemble is not None:
        raise UserError("run=PATH or ensemble=PATH, not both")
    if cfg.push is not None and to != "hub":
        raise UserError(f"push={cfg.push}: only to=hub is uploaded")
    source = Path(str(cfg.run if cfg.run is not None else cfg.ensemble or newest_ensemble(Path(cfg.outputs))))
    source = source.parent if source.suffix == ".json" else source
    out = Path(cfg.out)
    check_free(out, COMMAND, (), (".",) if to in ("hub", "kaggle") else ())
    model = load(source, cfg.allow)
    # Of two commands in one second each gets its own; none is left where nothing is written.
    with fresh_folder(out, found=bool(named("out"))) as folder:
        if to in FILES:
            write_one_file(cfg, model, source, folder)
        elif to == "hub":
            write_for_the_hub(source, folder, cfg)
        else:
            from hbac.export.kaggle import write_kaggle_folder

            write_kaggle_folder(source, folder)
            size_mb = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file()) / 1e6
            sys.stdout.write(f"folder:     {folder}  ({size_mb:.1f} MB; its README.md says how to upload and use it)\n")


def write_for_the_hub(source: Path, folder: Path, cfg: DictConfig) -> None:
    """Write the Hub's folder, and upload it where that was asked for."""
    from hbac.export.hub_folder import push, write_hub_folder

    write_hub_folder(source, folder)
    sys.stdout.write(f"folder:     {folder}  (hbac.load reads it as it is)\n")
    if cfg.push is not None:
        sys.stdout.write(f"uploaded:   {push(folder, str(cfg.push))}\n")


def write_one_file(cfg: DictConfig, model: Model | EnsembleModel, source: Path, out: Path) -> None:
    """Write an ONNX model or PyTorch's archive, compared with `hbac.load` before it has its name."""
    from hbac.common.files import hash_of_file
    from hbac.common.outputs import replacing
    from hbac.export.one_file import FILES, TOLERANCES, check, compare, export_text, read_file, require, write_file

    require(cfg.to)
    name = FILES[cfg.to]
    tolerance = TOLERANCES[cfg.weights] if cfg.tolerance is None else float(cfg.tolerance)
    with replacing(out, COMMAND, last="export.json") as staged:
        write_file(model, staged / name, cfg.to, cfg.takes, cfg.weights)
        found: Difference = compare(model, read_file(staged / name, cfg.to), compared(cfg, model.sources), cfg.takes)
        check(found, tolerance, f"{out / name}")
        settings: dict[str, Any] = {"of": str(source), "to": cfg.to, "takes": cfg.takes, "weights": cfg.weights}
        settings["sha256"] = {name: hash_of_file(staged / name)}
        (staged / "export.json").write_text(export_text(found, settings), encoding="utf-8")
        size_mb = (staged / name).stat().st_size / 1e6
    sys.stdout.write(
        f"file:       {out / name}  ({size_mb:.1f} MB)\n"
        f"compared:   with hbac.load on {found.windows} windows: probabilities differ by up to {found.largest:.1e} "
        f"(tolerance {tolerance:g}), {found.kl:.1e} nats\n"
    )


def compared(cfg: DictConfig, sources: tuple[str, ...]) -> tuple[Tensor, ...]:
    """Return float16 windows for each source: the first of the data set that was named, or simulated ones."""
    from hbac.common.instantiate import build
    from hbac.export.probe_windows import simulated_windows, windows_of_part

    if cfg.get("dataset") is None:
        return simulated_windows(sources)
    part = build(cfg.dataset, "dataset", cfg.allow).part("train", official="official" in sources)
    return windows_of_part(part, sources)


if __name__ == "__main__":
    main()
