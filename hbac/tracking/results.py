"""What a W&B run shows when it is over: confusion, reliability, the worst windows, the out-of-fold table."""

from __future__ import annotations

import logging
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from hbac.ensembling.ensemble_file import ENSEMBLE_FILE, Ensemble
from hbac.evaluation.calibration import reliability
from hbac.evaluation.metric import kl_by_population, kl_rows
from hbac.evaluation.scores import confusion_matrix
from hbac.labels.targets import population_of
from hbac.runs.folder import MODEL_FILE, WEIGHTS_FILE, WEIGHTS_HASH, read_facts
from hbac.tracking.loggers import RunFacts, run_id
from hbac.vocabulary import CLASSES

if TYPE_CHECKING:
    from wandb import Run

    from hbac.ensembling.build import EnsembleResult
    from hbac.predictions import PredictionTable
    from hbac.recordings.datasets import Part
    from hbac.tracking.loggers import Loggers

log = logging.getLogger("hbac.tracking")

_WORST = ("eeg_id", "label_id", "patient_id", "n_votes", "kl")
_SAID = 0.05  # smaller shares are not worth the room


def log_results(run: Run, table: PredictionTable, part: Part, population: str, n_worst: int) -> None:
    """Show the held-out rows of a training: scores, the KL of the population, diagrams, `n_worst` pictures."""
    import wandb

    counted = population_of(population)
    kl = kl_by_population(table.targets, table.probs, table.frame["n_votes"])
    run.summary.update({"kl": kl[counted.name], "rows_that_count": counted.rows})
    log_diagrams(run, table)
    if n_worst:
        log_worst_windows(run, table, part, n_worst)
    with tempfile.TemporaryDirectory() as folder:
        artifact = wandb.Artifact(f"oof-{run.id}", type="predictions", metadata={"member": table.metadata.member})
        artifact.add_file(str(table.write(Path(folder) / "oof.parquet")))
        run.log_artifact(artifact)


def log_model(run: Run, folder: Path) -> None:
    """Keep the weights of a training in `folder`, under a name that the ensemble's run finds them by."""
    import wandb

    facts = read_facts(folder)
    metadata = {name: facts[name] for name in ("member", "fold", "config_hash", WEIGHTS_HASH)}
    artifact = wandb.Artifact(f"model-{run_id(facts['config_hash'], facts['fold'])}", type="model", metadata=metadata)
    for name in (MODEL_FILE, WEIGHTS_FILE):
        artifact.add_file(str(folder / name), policy="immutable")  # W&B keeps no second copy until it is uploaded
    run.log_artifact(artifact)


def log_lineage(run: Run, ensemble: Ensemble, folder: Path) -> None:
    """Keep the file of an ensemble in `folder`, and say whose weights it blends.

    W&B draws the lineage of what it can ask a server for; offline, the names of the weights stand in the metadata.
    """
    import wandb

    models = []
    for path in (path for member in ensemble.members for path in member.runs if (path / MODEL_FILE).is_file()):
        facts = read_facts(path)
        models.append(f"model-{run_id(str(facts['config_hash']), int(facts['fold']))}")
        if not run.offline:
            try:
                run.use_artifact(f"{models[-1]}:latest")
            except (wandb.errors.Error, ValueError) as error:  # never uploaded, or under another project
                log.warning("W&B: %s is not there: %s", models[-1], str(error).splitlines()[0])
    artifact = wandb.Artifact(f"ensemble-{run.id}", type="ensemble", metadata={"models": models})
    artifact.add_file(str(folder / ENSEMBLE_FILE))
    run.log_artifact(artifact)


def log_ensemble(logger: Loggers, result: EnsembleResult, settings: Mapping[str, Any]) -> None:
    """Tell of an ensemble: its out-of-fold score, its weights, and how it compares with its members."""
    ensemble, folder = result.ensemble, result.path.parent
    config = {
        **settings,
        "members": [member.name for member in ensemble.members],
        "fold_hash": ensemble.fold_hash,
        "data_fingerprint": ensemble.data_fingerprint,
    }
    facts = RunFacts(f"ensemble-{ensemble.method}", folder.name, config, folder, "ensemble")
    with logger.single(facts) as run:
        if run is None:
            return
        import wandb

        scores = result.summary[result.summary["kind"] == "ensemble"].iloc[0]
        names = [name for name in scores.index if str(name).startswith("kl_") and "calibrated" not in str(name)]
        figures = {name: float(scores[name]) for name in names}
        gap = ensemble.nested.estimate - ensemble.in_sample.estimate
        counted = {"kl": ensemble.nested.estimate, "rows_that_count": population_of(ensemble.population).rows}
        run.summary.update(figures | counted | {"over_fit": gap, "kl_in_sample": ensemble.in_sample.estimate})
        log_diagrams(run, result.table)
        run.log({"members": wandb.Table(dataframe=result.summary)})
        run.summary["blend"] = ensemble.blend.to_dict()
        run.summary["nested_kl_by_method"] = {name: fit.nested_kl for name, fit in result.compared.items()}
        artifact = wandb.Artifact(f"oof-{run.id}", type="predictions")
        artifact.add_file(str(folder / "oof.parquet"))
        run.log_artifact(artifact)
        log_lineage(run, ensemble, folder)


def log_diagrams(run: Run, table: PredictionTable) -> None:
    """Show the confusion of classes and how far a probability can be believed, of a table with targets."""
    import wandb

    truth, guess = table.targets.argmax(axis=1), table.probs.argmax(axis=1)
    confusion = confusion_matrix(table.targets, table.probs)
    rows: list[Any] = [[name, *counts] for name, counts in zip(CLASSES, confusion.tolist(), strict=True)]
    bins = reliability(table.targets, table.probs).dropna()
    points: list[Any] = bins[["confidence", "accuracy", "n"]].to_numpy().tolist()
    run.log(
        {
            "confusion": wandb.Table(columns=["experts \\ network", *CLASSES], data=rows),
            "confusion_matrix": wandb.plot.confusion_matrix(
                y_true=truth.tolist(), preds=guess.tolist(), class_names=list(CLASSES)
            ),
            "reliability": wandb.plot.line(
                wandb.Table(columns=["confidence", "accuracy", "rows"], data=points),
                "confidence",
                "accuracy",
                title="Reliability",
            ),
        }
    )


def log_worst_windows(run: Run, table: PredictionTable, part: Part, n_worst: int) -> None:
    """Show the windows that cost most, at most one of each EEG: a table, and a picture of each row beside it."""
    import wandb
    from PIL import Image

    from hbac.data.windows import source_of
    from hbac.tracking.picture import window_picture

    kl_N = kl_rows(table.targets, table.probs)
    ranked = table.frame.assign(kl=kl_N).sort_values("kl", ascending=False).drop_duplicates("eeg_id").head(n_worst)
    position = {label: row for row, label in enumerate(part.rows["label_id"])}
    eeg = source_of(part, "eeg")
    shown = wandb.Table(columns=["picture", *_WORST, "experts", "network"])
    pictures = []
    for number, row in enumerate(ranked.to_dict("records"), start=1):
        experts, network = (
            ", ".join(f"{name} {row[f'{name}_{kind}']:.2f}" for name in CLASSES if row[f"{name}_{kind}"] >= _SAID)
            for kind in ("vote", "prob")
        )
        window = eeg.copy(np.array([position[row["label_id"]]]))[0]
        title = f"EEG {row['eeg_id']}, label {row['label_id']}   experts: {experts}   network: {network}"
        # In 128 colours a picture is encoded in a third of the time, and looks the same.
        picture = window_picture(window, title).quantize(128, Image.Quantize.FASTOCTREE, dither=Image.Dither.NONE)
        pictures.append(wandb.Image(picture, caption=f"{number}: KL {row['kl']:.3f}"))
        shown.add_data(number, *(row[name] for name in _WORST), experts, network)
    run.log({"worst_windows": shown, "worst_windows_pictures": pictures})
