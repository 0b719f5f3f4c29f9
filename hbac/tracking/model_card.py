"""The model card beside exported weights: what a model is, how well it does, and what it must not be used for.

References
----------
Mitchell et al., "Model Cards for Model Reporting" (2019), doi:10.1145/3287560.3287596.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hbac.vocabulary import CENTRAL_S, CHANNELS, CLASSES, MANY_VOTES, SFREQ, SPECTROGRAM_REGIONS, WINDOW_S

if TYPE_CHECKING:
    import pandas as pd

    from hbac.ensembling.ensemble_file import Ensemble
    from hbac.predictions import PredictionTable


def write_model_card(folder: Path, rows_trained: pd.DataFrame) -> Path:
    """Write the model card of a run.

    Parameters
    ----------
    folder : Path
        The run's folder, with its config, ``model.json`` and prediction table.
    rows_trained : pandas.DataFrame
        The label rows that the network was trained on.

    Returns
    -------
    Path
        ``MODEL_CARD.md`` in the folder.
    """
    from hbac.common.files import read_json, write_text
    from hbac.predictions import PredictionTable
    from hbac.runs.folder import CARD_FILE, CONFIG_FILE, MODEL_FILE, TABLE_FILE

    facts = read_json(folder / MODEL_FILE)
    config = read_json(folder / CONFIG_FILE)
    table = PredictionTable.read(folder / TABLE_FILE)
    path = folder / CARD_FILE
    write_text(path, model_card(facts, config, table, rows_trained))
    return path


def model_card(
    facts: dict[str, Any], config: dict[str, Any], table: PredictionTable, rows_trained: pd.DataFrame
) -> str:
    """Compose a model card.

    Parameters
    ----------
    facts : dict
        What ``model.json`` holds.
    config : dict
        The resolved config.
    table : PredictionTable
        Predictions of the held-out rows.
    rows_trained : pandas.DataFrame
        The label rows that the network was trained on.

    Returns
    -------
    str
        Markdown.
    """
    dataset, fold = config["dataset"], facts["fold"]
    simulated = _is_simulated(dataset)
    data = (
        f"simulated EEG, size {dataset['size']}, seed {dataset['seed']}"
        if simulated
        else "recordings in the HMS layout"
    )
    before = [f"{run['member']}, fold {run['fold']}" for run in facts.get("lineage", [])[1:]]
    return "\n".join(
        [
            f"# {facts['member']}, fold {fold}",
            "",
            *_purpose_lines(simulated),
            "",
            *_input_lines(_sources_of(facts["front_end"])),
            f"- The model brings its own front-end, {_front_end_text(facts['front_end'], facts['network'])}.",
            "",
            "## Data",
            "",
            "| | label rows | EEGs | patients |",
            "|---|---|---|---|",
            _count_row("trained on", rows_trained),
            _count_row("held out", table.frame),
            "",
            f"Data: {data}. {config['labels']['n_folds']} folds by patient; fold {fold} is held out.",
            *([f"It began with the weights of, or learned from: {'; '.join(before)}."] if before else []),
            "How it was trained: `config.json`. Versions and machine: `environment.json`.",
            "",
            *_hash_lines(facts, "data_fingerprint", "fold_hash", "config_hash"),
            "",
            "## Scores on the held-out fold",
            "",
            *_score_lines(table, config.get("population", "all")),
            "",
            *_limit_lines(),
            f"- `{facts['network']['_target_']}`, seed {config['seed']}; another seed or fold scores otherwise.",
            "",
        ]
    )


def ensemble_card(ensemble: Ensemble, table: PredictionTable) -> str:
    """Compose the model card of an ensemble.

    Parameters
    ----------
    ensemble : Ensemble
        Its members and their blend. What they read is looked up in their runs' folders.
    table : PredictionTable
        The nested out-of-fold predictions.

    Returns
    -------
    str
        Markdown.
    """
    from hbac.common.files import read_json
    from hbac.labels.targets import population_of
    from hbac.runs.folder import CONFIG_FILE, MODEL_FILE

    runs = [member.runs[0] if member.runs else None for member in ensemble.members]
    models = [read_json(run / MODEL_FILE) if run and (run / MODEL_FILE).is_file() else None for run in runs]
    read = {source for model in models if model for source in _sources_of(model["front_end"])}
    sources = [source for source in ("eeg", "official") if source in read]
    configs = [run / CONFIG_FILE for run in runs if run is not None]
    simulated = [_is_simulated(read_json(path)["dataset"]) for path in configs if path.is_file()]
    n_networks = sum(len(member.runs) for member in ensemble.members)
    return "\n".join(
        [
            f"# Ensemble of {n_networks} networks, members: {len(ensemble.members)}",
            "",
            *_purpose_lines(any(simulated)),
            "",
            *([*_input_lines(sources), ""] if all(models) else []),
            "## Members",
            "",
            f"Blended by `{ensemble.method}`; weights in `ensemble.json`. A member is the mean of its networks, one of",
            "each fold.",
            "",
            f"| member | networks | KL of its held-out {population_of(ensemble.population).rows} | front-end |",
            "|---|---|---|---|",
            *(
                f"| {member.name} | {len(member.runs)} | {member.kl:.4f} | "
                + (_front_end_text(model["front_end"], model["network"]) if model else "of other code, or not here")
                + " |"
                for member, model in zip(ensemble.members, models, strict=True)
            ),
            "",
            *([f"Left out by the fit: {', '.join(ensemble.dropped)}.", ""] if ensemble.dropped else []),
            "## Data",
            "",
            "| | label rows | EEGs | patients |",
            "|---|---|---|---|",
            _count_row("trained on and, fold by fold, held out", table.frame),
            "",
            f"{len(table.folds)} folds by patient.",
            "",
            *_hash_lines(vars(ensemble), "data_fingerprint", "fold_hash"),
            "",
            "## Scores",
            "",
            "Nested: each network predicted only patients that it never saw, and the weights that blend the rows of a",
            f"fold were fitted on the other folds. In-sample, on {population_of(ensemble.population).rows}:",
            f"{ensemble.in_sample.estimate:.4f}.",
            *_score_lines(table, ensemble.population),
            "",
            *_limit_lines(),
            "- Networks of all folds predict together: what it says of patients in the data above is not out-of-fold.",
            "",
        ]
    )


def _is_simulated(dataset: dict[str, Any]) -> bool:
    """Say whether a data set's recordings were simulated."""
    return "Synthetic" in dataset["_target_"]


def _sources_of(front_end: dict[str, Any]) -> tuple[str, ...]:
    """Name what a front-end reads of a window."""
    chosen = front_end.get("sources", "eeg")
    return ("eeg", "official") if chosen == "both" else (chosen,)


def _front_end_text(front_end: dict[str, Any], network: dict[str, Any]) -> str:
    """Say what a front-end makes of the EEG: band, montage, what the network then reads."""
    pictures = front_end.get("image") or {}
    shown = pictures if _sources_of(front_end) != ("official",) else {}
    makes = [
        f"{name}band {_band(part['band'])}, montage {part['montage']}"
        for name, part in ([("", front_end)] if "montage" in front_end else [(f"{k}: ", v) for k, v in shown.items()])
    ]
    if "n_chans" in network:
        reads = f"{network['n_chans']} derivations of {network['n_times']} samples at {network['sfreq']:g} Hz"
    else:
        reads = f"images of {network.get('in_chans', '?')} channels"
    return f"`{front_end['_target_']}` ({'; '.join([*makes, f'the network reads {reads}'])})"


def _band(band: str) -> str:
    return f"{band} Hz" if band[0].isdigit() else band


def _purpose_lines(simulated: bool) -> list[str]:
    """Say what a model does, and what it must not be used for."""
    return [
        f"Classifies {WINDOW_S:g}-second scalp EEG windows of critically ill patients by the harmful brain activity",
        f"that experts would see in the central {CENTRAL_S:g} seconds: {', '.join(CLASSES)}. The output estimates how",
        "the votes of several experts would be distributed.",
        "",
        "**Intended use: research. Not a medical device; not for diagnosis, monitoring or treatment.**",
        *(["", "**Trained on simulated EEG only.**"] if simulated else []),
    ]


def _input_lines(sources: Sequence[str]) -> list[str]:
    """Say what a model takes: rate, unit, channels in their order."""
    eeg = [
        f"- A window of {WINDOW_S:g} s at {SFREQ:g} Hz, {len(CHANNELS)} channels in microvolt, in this order:",
        f"  {' '.join(CHANNELS)}. Missing samples are NaN.",
    ]
    official = [
        "- The official spectrogram of the 10 minutes around it: 300 rows, 400 columns, the regions "
        f"{' '.join(SPECTROGRAM_REGIONS)}."
    ]
    shape = {"eeg": "eeg: (batch, 10000, 20)", "official": "official: (batch, 300, 400)"}
    return [
        "## Input",
        "",
        "```python",
        "import hbac",
        "",
        'model = hbac.load("this folder")',
        f"prob = model({', '.join(sources)})  # {'; '.join(shape[source] for source in sources)}; prob: (batch, 6)",
        "```",
        "",
        *(eeg if "eeg" in sources else []),
        *(official if "official" in sources else []),
    ]


def _count_row(name: str, rows: pd.DataFrame) -> str:
    """Count label rows, EEGs and patients."""
    counts = (len(rows), rows["eeg_id"].nunique(), rows["patient_id"].nunique())
    return f"| {name} | " + " | ".join(f"{count:,}" for count in counts) + " |"


def _hash_lines(facts: dict[str, Any], *names: str) -> list[str]:
    """List hashes; tables of other code may come without."""
    return [f"- {name.replace('_', ' ')}: `{facts[name] or 'unknown'}`" for name in names]


def _score_lines(table: PredictionTable, counted: str) -> list[str]:
    """Score predictions on each vote population, the one that counts first."""
    from hbac.evaluation.bootstrap import bootstrap_interval
    from hbac.evaluation.metric import kl_rows
    from hbac.labels.targets import counted_first, population_of

    kl_N = kl_rows(table.targets, table.probs)
    patients = table.frame["patient_id"].to_numpy()
    lines = [
        "KL divergence in nats, lower is better, with 95 % intervals from a bootstrap over patients. What was fitted,",
        f"chosen or stopped was so on {population_of(counted).rows}.",
        "",
        "| label rows | number | patients | KL | 95 % interval |",
        "|---|---|---|---|---|",
    ]
    for population in counted_first(counted).values():
        inside = population.contains(table.frame["n_votes"])
        if not inside.any():
            lines.append(f"| {population.title} | 0 | 0 | | |")
            continue
        interval = bootstrap_interval(kl_N[inside], patients[inside])
        lines.append(
            f"| {population.title} | {int(inside.sum()):,} | {len(set(patients[inside])):,} | {interval.estimate:.4f} "
            f"| {interval.low:.4f} to {interval.high:.4f} |"
        )
    return lines


def _limit_lines() -> list[str]:
    """Say what nobody knows of a model."""
    return [
        "## Limits",
        "",
        "- Labels with few votes are noisy, and experts disagree: judge a model by its score on rows with",
        f"  {MANY_VOTES} or more.",
        "- Patients of an intensive care unit; nothing is known about other people or other electrodes.",
    ]
