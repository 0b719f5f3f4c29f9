"""The model card beside exported weights: what a model is, how well it does, and what it must not be used for.

The text is the template ``model_card.md.j2`` beside this file. Before it stand the metadata that the Hugging Face Hub
reads; the hub itself is not asked for anything.

References
----------
Mitchell et al., "Model Cards for Model Reporting" (2019), doi:10.1145/3287560.3287596.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from huggingface_hub import EvalResult, ModelCard, ModelCardData
from jinja2 import Environment, StrictUndefined

from hbac.common.files import read_json, write_text
from hbac.evaluation.bootstrap import bootstrap_interval
from hbac.evaluation.metric import kl_rows
from hbac.labels.targets import counted_first, population_of
from hbac.predictions import PredictionTable
from hbac.runs.folder import CARD_FILE, CONFIG_FILE, MODEL_FILE, TABLE_FILE, read_config, read_facts
from hbac.vocabulary import CENTRAL_S, CHANNELS, CLASSES, MANY_VOTES, SFREQ, SPECTROGRAM_REGIONS, WINDOW_S

if TYPE_CHECKING:
    import pandas as pd

    from hbac.ensembling.ensemble_file import Ensemble

_TEMPLATE = Path(__file__).with_name("model_card.md.j2")
_SHAPES = {"eeg": "eeg: (batch, 10000, 20)", "official": "official: (batch, 300, 400)"}


def write_model_card(folder: Path, rows_trained: pd.DataFrame) -> Path:
    """Write ``MODEL_CARD.md`` into a run's folder, where its config, ``model.json`` and table are; return its path."""
    facts, config = read_facts(folder), read_config(folder)
    table = PredictionTable.read(folder / TABLE_FILE)
    write_text(folder / CARD_FILE, model_card(facts, config, table, rows_trained))
    return folder / CARD_FILE


def model_card(
    facts: dict[str, Any], config: dict[str, Any], table: PredictionTable, rows_trained: pd.DataFrame
) -> str:
    """Compose a run's model card in Markdown, of ``model.json``, config, held-out table and rows trained on."""
    dataset, fold = config["dataset"], facts["fold"]
    simulated = _is_simulated(dataset)
    data = (
        f"simulated EEG, size {dataset['size']}, seed {dataset['seed']}"
        if simulated
        else "recordings in the HMS layout"
    )
    return _card(
        table,
        population=config.get("population", "all"),
        members=None,
        title=f"{facts['member']}, fold {fold}",
        simulated=simulated,
        sources=_sources_of(facts["front_end"]),
        front_end=_front_end_text(facts["front_end"], facts["network"]),
        rows={"trained on": _counts(rows_trained), "held out": _counts(table.frame)},
        data=f"Data: {data}. {config['labels']['n_folds']} folds by patient; fold {fold} is held out."
        + _credit(config.get("model", {})),
        before=[f"{run['member']}, fold {run['fold']}" for run in facts.get("lineage", [])[1:]],
        hashes={name: facts[name] for name in ("data_fingerprint", "fold_hash", "config_hash")},
        limit=f"`{facts['network']['_target_']}`, seed {config['seed']}; another seed or fold scores otherwise.",
    )


def ensemble_card(ensemble: Ensemble, table: PredictionTable) -> str:
    """Compose an ensemble's model card in Markdown; what its members read is looked up in their runs' folders."""
    runs = [member.runs[0] if member.runs else None for member in ensemble.members]
    models = [read_facts(run) if run and (run / MODEL_FILE).is_file() else None for run in runs]
    read = {source for model in models if model for source in _sources_of(model["front_end"])}
    configs = [run / CONFIG_FILE for run in runs if run is not None]
    front_ends = [_front_end_text(model["front_end"], model["network"]) if model else "" for model in models]
    n_networks = sum(len(member.runs) for member in ensemble.members)
    return _card(
        table,
        title=f"Ensemble of {n_networks} networks, members: {len(ensemble.members)}",
        simulated=any(_is_simulated(read_json(path)["dataset"]) for path in configs if path.is_file()),
        sources=[source for source in _SHAPES if source in read] if all(models) else [],
        method=ensemble.method,
        population=ensemble.population,
        members=[
            (member.name, len(member.runs), member.kl, front_end)
            for member, front_end in zip(ensemble.members, front_ends, strict=True)
        ],
        dropped=ensemble.dropped,
        rows={"trained on and, fold by fold, held out": _counts(table.frame)},
        data=f"{len(table.folds)} folds by patient.",
        before=[],
        front_end=None,
        hashes={name: getattr(ensemble, name) for name in ("data_fingerprint", "fold_hash")},
        in_sample=ensemble.in_sample.estimate,
        limit="Networks of all folds predict together: what it says of patients in the data above is not out-of-fold.",
    )


def _card(
    table: PredictionTable, title: str, simulated: bool, hashes: dict[str, str], population: str, **values: Any
) -> str:
    scores = _scores(table, population)
    results = [
        EvalResult(
            task_type="other",
            task_name="shares of the experts' votes",
            dataset_type="simulated" if simulated else "hms",
            dataset_name=f"{'simulated' if simulated else 'recorded'} EEG",
            dataset_split=score["title"],
            metric_type="kl_divergence",
            metric_name="KL divergence, nats",
            metric_value=round(score["kl"].estimate, 4),
        )
        for score in scores
        if score["kl"]
    ]
    about = ModelCardData(library_name="hbac", tags=["eeg"], model_name=title, eval_results=results)
    # Not by ModelCard.from_template: the lines of its templates' blocks stay as empty lines, which end a table.
    environment = Environment(
        undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True, keep_trailing_newline=True
    )
    text = environment.from_string(_TEMPLATE.read_text(encoding="utf-8")).render(
        card_data=about.to_yaml(),
        title=title,
        simulated=simulated,
        hashes={name.replace("_", " "): digest for name, digest in hashes.items()},
        scores=scores,
        counted=population_of(population).rows,
        classes=", ".join(CLASSES),
        window_s=f"{WINDOW_S:g}",
        central_s=f"{CENTRAL_S:g}",
        sfreq=f"{SFREQ:g}",
        channels=CHANNELS,
        regions=" ".join(SPECTROGRAM_REGIONS),
        shapes=_SHAPES,
        many_votes=MANY_VOTES,
        **values,
    )
    return str(ModelCard(text))


def _scores(table: PredictionTable, counted: str) -> list[dict[str, Any]]:
    """Score predictions on each vote population, the one that counts first."""
    kl_N = kl_rows(table.targets, table.probs)
    patients = table.frame["patient_id"].to_numpy()
    found = []
    for population in counted_first(counted).values():
        inside = population.contains(table.frame["n_votes"])
        kl = bootstrap_interval(kl_N[inside], patients[inside]) if inside.any() else None
        n_patients = len(set(patients[inside]))
        found.append({"title": population.title, "n_rows": int(inside.sum()), "n_patients": n_patients, "kl": kl})
    return found


def _counts(rows: pd.DataFrame) -> tuple[int, int, int]:
    """Count label rows, EEGs and patients."""
    return len(rows), rows["eeg_id"].nunique(), rows["patient_id"].nunique()


def _is_simulated(dataset: dict[str, Any]) -> bool:
    """Say whether a data set's recordings were simulated."""
    return "Synthetic" in dataset["_target_"]


def _credit(network: dict[str, Any]) -> str:
    """Name those whose published weights a network began with, where these are to be named."""
    if network.get("pretrained_file") is None:
        return ""
    import hbac.models  # torch

    kind = getattr(hbac.models, str(network.get("_target_")).rpartition(".")[2], None)
    credit = getattr(kind, "attribution", None)
    return "" if credit is None else f" Training began with the weights of {credit}."


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
