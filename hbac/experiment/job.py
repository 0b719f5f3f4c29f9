"""What the config of a training command decides by itself: names, folders, stages, networks."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hbac.cli.settings import blamed_on, check_settings
from hbac.common.errors import UserError
from hbac.experiment.devices import refuse_in_sweep
from hbac.experiment.launched import in_sweep, named
from hbac.experiment.stages import Stage, as_plain, key_prefix, make_stage, shorten_stages, stages_of
from hbac.runs.naming import member_name

if TYPE_CHECKING:
    import lightning as L
    from omegaconf import DictConfig

    from hbac.labels.folds import FoldTable
    from hbac.recordings.datasets import Part
    from hbac.training import Classifier

_STEPS = 10  # of a schedule that is tried out
# What others share out (parameters, optimisers) their checkpoints hold in pieces; nothing here is so large.
STRATEGIES = ("auto", "ddp", "ddp_find_unused_parameters_true")


@dataclass
class Job:
    """What a config decides; `of` adds what the data do: the run's name and folder."""

    config: dict[str, Any]  # resolved, ``model`` with all its arguments, ``content`` with hashes of what is read
    member: str  # name of the config without its fold
    folder: Path  # where the run is written
    front_end: Any  # from raw windows to the network's input
    network: Any  # from there to logits (batch, 6); freshly initialised from the seed
    precision: str
    stages: list[Stage]  # in order; the last one has no name
    start: Path | None  # the run whose weights it begins with
    n_devices: int = 1  # a process for each
    is_joined: bool = False  # whether these processes are there, this one among them

    @property
    def dataset(self) -> str:
        """Kind of the data set: ``HMS``, ``Synthetic``."""
        return str(self.config["dataset"]["_target_"]).rpartition(".")[2]

    def of(self, part: Part, folds: FoldTable) -> Job:
        """Name the run, and its folders, after its settings and after what is in its data, wherever they lie."""
        content = {"data": part.fingerprint_of(self.front_end.sources), "folds": folds.hash, **self.config["content"]}
        config = self.config | {"content": content}
        member = member_name(config)
        folder = self.folder / member / f"fold{config['fold']}"
        stages = [replace(stage, folder=folder / stage.folder) for stage in self.stages]
        return replace(self, config=config, member=member, folder=folder, stages=stages)


def make_job(cfg: DictConfig) -> Job:
    """Check the settings and make all that needs no data.

    The job has no name yet, and its folders are below that of all runs. A `UserError` when a setting is wrong.
    """
    import lightning as L

    from hbac.common.choices import check_choice
    from hbac.common.instantiate import build
    from hbac.labels.targets import population_of
    from hbac.models.population_head import PopulationHead
    from hbac.runs.folder import run_of_fold
    from hbac.training.checkpoints import EXPORTS
    from hbac.training.precision import choose_precision
    from hbac.training.quiet import quiet

    quiet()
    shorten_stages(cfg)
    config = bands_alike(as_plain(cfg))
    check_settings(config)
    stages = stages_of(cfg)
    if cfg.fold >= (n_folds := cfg.labels.n_folds):
        valid = ", ".join(map(str, range(n_folds)))
        raise UserError(f"fold={cfg.fold}: there is no such fold; labels.n_folds={n_folds} makes the folds {valid}")
    check_choice("export", cfg.export, EXPORTS)
    population_of(cfg.population)
    start = None if cfg.init_from is None else run_of_fold(Path(str(cfg.init_from)), cfg.fold)
    with blamed_on("front_end"):
        front_end = build(config["front_end"], "front_end", cfg.allow)
    check_montage(cfg.montage, config["front_end"])
    L.seed_everything(cfg.seed, workers=True, verbose=False)
    config["model"] = told(config["model"], front_end.network_arguments())
    with blamed_on("model"):
        network = build(config["model"], "network", cfg.allow)
    if cfg.task.population_head:
        network = PopulationHead(network, cfg.population)
    config["content"] = _content(config, stages, start)
    job = Job(
        config=config,
        member="",
        folder=Path(cfg.outputs) / "runs",
        front_end=front_end,
        network=network,
        precision=choose_precision(cfg.trainer.precision, cfg.trainer.accelerator),
        stages=[make_stage(stages, name) for name in stages],
        start=start,
    )
    trainers = {stage.name: try_out(stage, job) for stage in job.stages}
    take_devices(job, trainers)
    return job


def take_devices(job: Job, trainers: Mapping[str, L.Trainer]) -> None:
    """Say in a job and in its config on how many devices it trains, as its stages' Trainers have them.

    A `UserError` where stages differ, in a sweep, and for machines on which nobody starts a process.
    """
    *earlier, trainer = trainers.values()
    for name, other in zip(trainers, earlier, strict=False):
        if other.world_size != trainer.world_size:
            raise UserError(f"stages.{name}.trainer.devices: all stages of a run have the same; set trainer.devices")
    environment = getattr(trainer.strategy, "cluster_environment", None)
    job.n_devices, job.config["trainer"]["devices"] = trainer.world_size, trainer.num_devices
    job.is_joined = environment is not None and environment.creates_processes_externally
    if in_sweep():
        refuse_in_sweep(job.n_devices)
    if trainer.num_nodes > 1 and not job.is_joined:
        raise UserError(
            f"trainer.num_nodes={trainer.num_nodes}: on several machines torchrun or srun starts the processes; "
            "see docs/clusters.md"
        )


def try_out(stage: Stage, job: Job) -> L.Trainer:
    """Make once what a stage trains with: what is wrong with its settings is said before any file is read.

    The Trainer is returned: it knows the stage's devices. Errors name the group whose settings do not work.
    """
    import torch

    from hbac.common.choices import check_choice
    from hbac.common.instantiate import build
    from hbac.training.slurm import slurm_plugins

    cfg, prefix = stage.cfg, key_prefix(stage.name)
    task = make_task(stage, job)
    with blamed_on(f"{prefix}optimizer"):
        optimizer = task.make_optimizer([{"params": [torch.zeros(1, requires_grad=True)], "weight_decay": 0.0}])
    with blamed_on(f"{prefix}schedule"):
        if task.make_schedule is not None:
            task.make_schedule(optimizer, _STEPS)
    for name, node in cfg.augment.items():
        with blamed_on(f"{prefix}augment.{name}"):
            piece = None if node is None else build(node, "augment", cfg.allow)
            _ = piece(sfreq=job.front_end.sfreq) if isinstance(piece, partial) else piece
    silent: dict[str, Any] = dict.fromkeys(
        ("logger", "enable_checkpointing", "enable_progress_bar", "enable_model_summary"), False
    )
    device = str(cfg.trainer.accelerator)
    if device in ("gpu", "cuda", "mps") and not torch.accelerator.is_available():
        raise UserError(f"{prefix}trainer.accelerator={device}: there is no GPU; trainer=default takes what there is")
    check_choice(f"{prefix}trainer.strategy", str(cfg.trainer.get("strategy", "auto")), STRATEGIES)
    with blamed_on(f"{prefix}trainer"):
        trainer: L.Trainer = build(cfg.trainer, "trainer", precision=job.precision, plugins=slurm_plugins(), **silent)
    if trainer.world_size > 1 and cfg.trainer.sync_batchnorm and trainer.strategy.root_device.type == "cpu":
        raise UserError(f"{prefix}trainer.sync_batchnorm=true: PyTorch has it for GPUs only; leave it out on CPUs")
    return trainer


def make_task(stage: Stage, job: Job) -> Classifier:
    """Make a stage's LightningModule around the run's network; errors name the group whose settings do not work."""
    from hbac.common.instantiate import build

    cfg, prefix = stage.cfg, key_prefix(stage.name)
    made = {}
    for group in ("optimizer", "schedule"):
        with blamed_on(f"{prefix}{group}"):
            made[group] = build(cfg[group], group, cfg.allow)
    with blamed_on(f"{prefix}task"):
        own = {"network": job.network, "population": cfg.population, "compile": cfg.compile}
        task: Classifier = build(cfg.task, "task", cfg.allow, **own, **made)
    return task


def _content(config: Mapping[str, Any], stages: Mapping[str, DictConfig], start: Path | None) -> dict[str, str]:
    """Name the files that decide predictions by what is in them: a run is the same wherever they lie."""
    from hbac.common.files import hash_of_file
    from hbac.predictions.pseudo import pseudo_hash
    from hbac.predictions.rater_votes import read_raters
    from hbac.runs.folder import WEIGHTS_FILE, read_facts

    learned_from = {name: stage.labels.pseudo for name, stage in stages.items() if stage.labels.pseudo is not None}
    content = {
        f"pseudo {name}".rstrip(): pseudo if pseudo in stages else pseudo_hash(Path(str(pseudo)))
        for name, pseudo in learned_from.items()
    }
    for name, stage in stages.items():
        if (opinions := stage.labels.opinions) is not None:
            read_raters(Path(str(opinions)))  # its problems are said before any data is read
            content[f"opinions {name}".rstrip()] = hash_of_file(Path(str(opinions)))
    if start is not None:
        # Of all its folds, where it is known.
        content["init_from"] = read_facts(start).get("config_hash") or hash_of_file(start / WEIGHTS_FILE)
    for name, network in {"": config["model"], **(config["model"].get("branches") or {})}.items():
        if (weights := network.get("pretrained_file")) is not None:
            content[f"pretrained_file {name}".rstrip()] = hash_of_file(Path(str(weights)))
    return content


def bands_alike(config: Mapping[str, Any]) -> dict[str, Any]:
    """Write in hertz every band of a config, so that runs of one band have one name, however it was typed.

    What is no band stays: networks that read no EEG take any.

    Examples
    --------
    >>> bands_alike({"band": "public", "front_end": {"band": ".50-20.0"}})
    {'band': '0.5-20', 'front_end': {'band': '0.5-20'}}
    """
    from hbac.signal.band import parse_band

    alike = {key: bands_alike(value) if isinstance(value, Mapping) else value for key, value in config.items()}
    if "band" in config:
        with suppress(UserError):
            alike["band"] = str(parse_band(config["band"]))
    return alike


def told(network: Mapping[str, Any], arguments: Mapping[str, Any]) -> dict[str, Any]:
    """Add to a network's config, and to those of its branches, what their front-ends say of their input."""
    of_branches = arguments.get("branches") or {}
    branches = {
        name: told(config, of_branches.get(name) or {}) for name, config in (network.get("branches") or {}).items()
    }
    return {**network, **arguments, **({"branches": branches} if branches or of_branches else {})}


def weights_at_start(model: Mapping[str, Any]) -> str | None:
    """Say which weights a network begins with; None for networks that are never pretrained."""
    if "pretrained" not in model:
        return None
    if model.get("pretrained_file") is not None:
        return f"the weights in {model['pretrained_file']}"
    return f"timm's pretrained weights of {model['backbone']}" if model["pretrained"] else "random weights"


def check_montage(montage: str, front_end: Mapping[str, Any]) -> None:
    """Refuse a montage that the user typed and the front-end does not see: images have a montage each."""
    if "montage" in front_end or "branches" in front_end or not named("montage"):
        return
    names = ", ".join(f"front_end.image.{name}.montage={montage}" for name in front_end.get("image") or {})
    raise UserError(f"montage={montage}: images have a montage each; {names or 'official spectrograms have none'}")
