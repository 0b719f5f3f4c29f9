"""The model card beside exported weights: what a model is, how well it does, and what it must not be used for.

References
----------
Mitchell et al., "Model Cards for Model Reporting" (2019), doi:10.1145/3287560.3287596.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from hbac.vocabulary import CHANNELS, CLASSES, MANY_VOTES, SFREQ, WINDOW_S

if TYPE_CHECKING:
    import pandas as pd

    from hbac.predictions import PredictionTable

CARD_FILE = "MODEL_CARD.md"


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
    from hbac.predictions import PredictionTable
    from hbac.runs import MODEL_FILE, TABLE_FILE, read_json, write_text

    facts = read_json(folder / MODEL_FILE)
    config = read_json(folder / "config.json")
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
    dataset = config["dataset"]
    simulated = "Synthetic" in dataset["_target_"]
    data = (
        f"simulated EEG, size {dataset['size']}, seed {dataset['seed']}"
        if simulated
        else "recordings in the HMS layout"
    )
    band = f"{config['band']} Hz" if config["band"][0].isdigit() else config["band"]
    windows = ", ".join(_sources(facts["front_end"]))
    held_out = table.frame
    front_end = facts["front_end"]
    return "\n".join(
        [
            f"# {facts['member']}, fold {facts['fold']}",
            "",
            "Classifies 50-second scalp EEG windows of critically ill patients by the harmful brain activity that",
            f"experts would see in the central 10 seconds: {', '.join(CLASSES)}. The output estimates how the votes of",
            "several experts would be distributed.",
            "",
            "**Intended use: research. Not a medical device; not for diagnosis, monitoring or treatment.**",
            *(["", "**Trained on simulated EEG only.**"] if simulated else []),
            "",
            "## Input",
            "",
            f"- A window of {WINDOW_S:g} s at {SFREQ:g} Hz, {len(CHANNELS)} channels in microvolt, in this order:",
            f"  {' '.join(CHANNELS)}. Missing samples are NaN.",
            *(["- The official 10-minute spectrogram with it."] if "official" in _sources(front_end) else []),
            f"- The model brings its own front-end, `{front_end['_target_']}`: band {band},",
            f"  montage {front_end.get('montage') or 'of its images'}.",
            "",
            "```python",
            "import hbac",
            "",
            f'prob = hbac.load("this folder")({windows})  # eeg: (batch, 10000, 20); prob: (batch, 6)',
            "```",
            "",
            "## Data",
            "",
            "| | label rows | EEGs | patients |",
            "|---|---|---|---|",
            *(_count_row(name, rows) for name, rows in (("trained on", rows_trained), ("held out", held_out))),
            "",
            f"Data: {data}. Folds by patient.",
            "",
            *(
                f"- {name.replace('_', ' ')}: `{facts[name]}`"
                for name in ("data_fingerprint", "fold_hash", "config_hash")
            ),
            "",
            "## Scores on the held-out fold",
            "",
            "KL divergence in nats, lower is better, with 95 % intervals from a bootstrap over patients.",
            "",
            "| label rows | number | KL | 95 % interval |",
            "|---|---|---|---|",
            *_score_rows(table),
            "",
            "## Limits",
            "",
            "- Labels with few votes are noisy, and experts disagree: judge a model by its score on rows with",
            f"  {MANY_VOTES} or more.",
            "- Patients of an intensive care unit; nothing is known about other people or other electrodes.",
            f"- `{facts['network']['_target_']}`, seed {config['seed']}; another seed or fold scores otherwise.",
            "",
        ]
    )


def _sources(front_end: dict[str, Any]) -> tuple[str, ...]:
    chosen = front_end.get("sources", "eeg")
    return ("eeg", "official") if chosen == "both" else (chosen,)


def _count_row(name: str, rows: pd.DataFrame) -> str:
    counts = (len(rows), rows["eeg_id"].nunique(), rows["patient_id"].nunique())
    return f"| {name} | " + " | ".join(f"{count:,}" for count in counts) + " |"


def _score_rows(table: PredictionTable) -> list[str]:
    from hbac.labels.targets import POPULATIONS
    from hbac.predictions.bootstrap import bootstrap_interval
    from hbac.predictions.metric import kl_rows

    kl_N = kl_rows(table.targets, table.probs)
    patients = table.frame["patient_id"].to_numpy()
    lines = []
    for population in POPULATIONS.values():
        inside = population.contains(table.frame["n_votes"])
        if not inside.any():
            lines.append(f"| {population.title} | 0 | | |")
            continue
        interval = bootstrap_interval(kl_N[inside], patients[inside])
        lines.append(
            f"| {population.title} | {int(inside.sum()):,} | {interval.estimate:.4f} "
            f"| {interval.low:.4f} to {interval.high:.4f} |"
        )
    return lines
