"""``python -m hbac.report runs=[PATH,…]``: write a report that opens in a browser, without a server or a network."""

from __future__ import annotations

import logging
import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from hbac.cli.launch import launch
from hbac.common.errors import UserError

if TYPE_CHECKING:
    import pandas as pd
    from omegaconf import DictConfig

    from hbac.recordings.datasets import Part
    from hbac.report.gather import Gathered

log = logging.getLogger("hbac.report")


def main() -> None:
    """Run the command."""
    launch("hbac.report.__main__:report", "report")


def report(cfg: DictConfig) -> None:
    """Write the report of what ``runs`` names."""
    from hbac.common.commands import several
    from hbac.common.files import fresh_folder
    from hbac.experiment.launched import named
    from hbac.report.index import check_out
    from hbac.report.renewal import changes, tables_now

    out = Path(cfg.out)
    check_out(out)
    if not cfg.watch:
        read = _read(cfg)  # before any folder is made
        with fresh_folder(out, found=bool(named("out"))) as folder:  # of two reports in one second each gets its own
            _write(cfg, folder, *read)
        return
    paths = [Path(run) for run in several(cfg.runs)]
    log.info("watching; stop with Ctrl-C")
    with fresh_folder(out, found=bool(named("out"))) as folder:
        for _ in changes(lambda: tables_now(paths, Path(cfg.outputs))):
            try:
                _write(cfg, folder, *_read(cfg))
            except UserError as error:  # the next fold may mend it
                log.warning("not yet: %s", error)


def _read(cfg: DictConfig) -> tuple[Gathered, pd.DataFrame | None, Part | None, tuple[str, ...]]:
    from hbac.common.commands import several
    from hbac.predictions.rater_votes import read_raters
    from hbac.report.gather import gather
    from hbac.report.window_choice import choose_windows

    raters = read_raters(str(cfg.raters)) if cfg.raters else None
    found = gather([str(run) for run in several(cfg.runs)], Path(cfg.outputs), cfg.population, raters)
    if not cfg.windows and not several(cfg.label_ids):
        return found, None, None, ()
    windows = choose_windows(found, cfg.windows, several(cfg.label_ids), cfg.seed)
    part, why = recordings_of(found, cfg)
    if part is not None:
        return found, windows, part, ()
    note = f"No EEG page: {why}"
    log.warning("%s", note)
    return found, windows, None, (note,)


def _write(
    cfg: DictConfig,
    out: Path,
    found: Gathered,
    windows: pd.DataFrame | None,
    part: Part | None,
    notes: tuple[str, ...],
) -> None:
    from hbac.report.index import write_report
    from hbac.report.renewal import EVERY_S

    command = shlex.join(["python", "-m", "hbac.report", *sys.argv[1:]])
    refresh_s = 2 * EVERY_S if cfg.watch else 0
    index = write_report(found, out, windows, part, command, notes, float(cfg.saliency_s), refresh_s, cfg.allow)
    size_mb = sum(path.stat().st_size for path in out.rglob("*") if path.is_file()) / 1e6
    sys.stdout.write(
        f"report:     {index}  (members: {len(found.members)}, ensembles: {len(found.ensembles)}, {size_mb:.1f} MB; "
        "open it in a browser)\n"
    )
    sys.stdout.flush()


def recordings_of(found: Gathered, cfg: DictConfig) -> tuple[Part | None, str]:
    """Find the recordings that predictions are of: those of the data set that the user named, else of the runs.

    The training part; or None and why, where the runs do not say where it is, or it is there no more. A `UserError`
    when the data set that the user named is another one.
    """
    from hbac.common.instantiate import build
    from hbac.recordings.store import INDEX_NAME
    from hbac.runs.data_of_run import dataset_of_run, dataset_overrides
    from hbac.runs.folder import CONFIG_FILE

    wanted = next((meta.data_fingerprint for meta in found.joined.metadata if meta.data_fingerprint), "")
    if cfg.get("dataset") is not None:
        part: Part = build(cfg.dataset, "dataset", cfg.allow).part("train")
        if wanted and part.fingerprint != wanted:
            raise UserError(
                f"{part.recordings.root}: these are not the recordings that the predictions are of: fingerprint "
                f"{part.fingerprint[:12]}, not {wanted[:12]}"
            )
        return part, ""
    runs = [run for meta in found.members.values() for run in meta.runs.values() if (run / CONFIG_FILE).is_file()]
    if not runs:
        return None, "no run folder says where the recordings are; name them: dataset=hms dataset.root=PATH"
    try:
        config = dataset_of_run(runs[0])
    except UserError as error:
        return None, f"{error}; name it: dataset=hms dataset.root=PATH"
    root, stores = Path(config["root"]), Path(config["stores"])
    needed = "synthetic.json" if str(config.get("_target_")).endswith(".Synthetic") else "train.csv"
    # They are read where the run says, which may be anybody's; but nothing is made there: no simulated data set that is
    # gone, and no store but among stores.
    if not (root / needed).is_file():
        return None, f"the recordings are not in {root}; name them: {dataset_overrides(config)[0]} dataset.root=PATH"
    if not any(stores.glob(f"*/{INDEX_NAME}")):
        config["stores"] = str(Path(cfg.outputs) / "stores")
    part = build(config, "dataset", cfg.allow).part("train")
    if wanted and part.fingerprint != wanted:
        return None, f"the recordings in {root} are not those that the predictions are of"
    return part, ""


if __name__ == "__main__":
    main()
