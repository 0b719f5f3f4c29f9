"""Misspelt options: one message with the right one in it, whatever was misspelt and in whichever command."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest
from hydra import compose, initialize_config_dir
from hydra.errors import HydraException
from omegaconf import OmegaConf
from omegaconf.errors import MissingMandatoryValue, OmegaConfBaseException

from hbac.cli.settings import RULES, check_settings, rules_of
from hbac.cli.spelling import _PACKAGES, check_config_dir, check_flags, check_overrides, explained, with_empty_groups
from hbac.common.errors import UserError
from tests.cli.test_launch import COMMANDS, run


def said(conf: Path, command: str, *overrides: str) -> str:
    """The message about a command line that cannot be composed."""
    with pytest.raises(HydraException) as caught, initialize_config_dir(str(conf), version_base="1.3"):
        compose(command, list(overrides))
    return explained(caught.value, overrides, conf, command)


@pytest.mark.parametrize(
    ("override", "meant"),
    [
        # options of a group
        ("model=resnet_gur", "resnet_gru"),
        ("experiment=band", "bands"),
        ("experiment=two_stages", "two_stage"),
        ("logger=wandbb", "wandb"),
        ("blend=convx", "convex"),
        ("dataset=syntetic", "synthetic"),
        # settings of a group
        ("trainer.max_epoch=3", "trainer.max_epochs"),
        ("logger.mod=online", "logger.mode"),
        ("dataset.sise=tiny", "dataset.size"),
        ("labels.targt=row", "labels.target"),
        ("augment.raw.swap=0.3", "augment.raw.swap_p"),
        ("trainr.max_epochs=3", "trainer.max_epochs"),
        # in the wrong place
        ("lr=0.1", "optimizer.lr"),
        ("model.lr=0.1", "optimizer.lr"),
        ("batch_size=64", "data.batch_size"),
        # settings and groups at the top
        ("foldd=1", "fold"),
        ("modle=resnet_gru", "model"),
        ("bnad=1-12", "band"),
        ("experimnt=bands", "experiment"),
        ("front_end/imge=mel", "front_end/image"),
    ],
)
def test_the_right_one_is_suggested(override: str, meant: str, conf: Path) -> None:
    message = said(conf, "train", override)
    assert message.endswith(f"Did you mean {meant!r}?"), message
    assert "\n" not in message


def test_what_the_chosen_groups_have_counts(conf: Path) -> None:
    assert "'model.backbone'" in said(conf, "train", "model=efficientnet", "model.bakbone=x")
    assert "model has: " in said(conf, "train", "model=efficientnet", "model.gru_hidden=3")
    assert "filters" in said(conf, "train", "model.filter=3")


def test_settings_are_listed_where_nothing_is_near(conf: Path) -> None:
    assert said(conf, "train", "optimizer.momentum=1") == (
        "optimizer.momentum: there is no such setting; optimizer has: lr, weight_decay."
    )


@pytest.mark.parametrize("command", ["infer", "ensemble", "prepare"])
def test_a_setting_of_another_command(command: str, conf: Path) -> None:
    message = said(conf, command, "montage=public_8")
    assert message == f"montage: there is no such setting in hbac.{command}; it is one of hbac.train"


def test_a_group_that_another_option_brings(conf: Path) -> None:
    message = said(conf, "train", "front_end/image=mel")
    assert "front_end/image: nothing here has that choice" in message
    assert "python -m hbac.train model=efficientnet front_end/image=" in message


@pytest.mark.parametrize("override", ["+experiment=bands", "+trainer.max_epochs=3"])
def test_a_plus_that_is_not_needed(override: str, conf: Path) -> None:
    assert "leave out the +" in said(conf, "train", override)


def test_what_an_extra_would_bring(conf: Path) -> None:
    assert "pip install 'hydra-ray-launcher>=1.2'" in said(conf, "train", "hydra/launcher=ray")
    assert "pip install 'hydra-submitit-launcher>=1.2'" in said(conf, "train", "hydra/launcher=submitit_slurm")
    extras = tomllib.loads((conf.parent / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    wanted = {line for extra in ("ray", "slurm", "joblib", "optuna") for line in extras[extra]}
    assert {name.strip("'") for packages in _PACKAGES.values() for name in packages.split()} == wanted


@pytest.mark.parametrize("override", ["fold", "model.kernels=[3,"])
def test_what_cannot_be_read(override: str, conf: Path) -> None:
    message = said(conf, "train", override)
    assert message.startswith(f"{override}: cannot be read (")
    assert "hydra.cc" not in message


@pytest.mark.parametrize(
    ("override", "words"),
    [
        ("resume=flase", "resume=flase: must be true or false. Did you mean 'false'?"),
        ("resume=true,flase", "resume=flase: must be true or false. Did you mean 'false'?"),
        ("trainer.max_epochs=three", "trainer.max_epochs=three: must be a whole number from 1 to 1000000."),
        ("optimizer.lr=fast", "optimizer.lr=fast: must be a number, 0 or more."),
        ("schedule.warmup=long", "schedule.warmup=long: must be a number."),
        ("augment.raw.swap_p=often", "augment.raw.swap_p=often: must be a number."),
        ("~trainer.max_epochs", "~trainer.max_epochs: a setting cannot be taken away"),
        ("~model", "~model: a setting cannot be taken away"),
        ("report=true", "report=true: this setting is called comparisons"),
    ],
)
def test_words_where_numbers_are_needed(override: str, words: str, conf: Path) -> None:
    with pytest.raises(UserError) as caught:
        check_overrides([override], conf, "train")
    assert str(caught.value).startswith(words)


@pytest.mark.parametrize(
    "override",
    ["band=delta", "fold=0,1", "optimizer.lr=1e-3", "optimizer.lr=tag(log,interval(1e-4,1e-2))", "patience=null",
     "dataset.size=tiny", "trainer.devices=auto", "trainer.gradient_clip_val=null", "model.kernels=[3,5],[7,9]",
     "front_end.tile_width=${front_end.tile_height}", "hydra.sweep.dir=some", "labels.max_votes=7", "x", "resume=False",
     "model.kernels=choice([3,5],[7])", "fold=range(0,5)"],
)  # fmt: skip
def test_what_is_right_passes(override: str, conf: Path) -> None:
    check_overrides([override], conf, "train")


@pytest.mark.parametrize("key", [key for key in RULES if any(rule.words for rule in rules_of(key))])
def test_words_that_a_setting_may_be(key: str, conf: Path) -> None:
    words = [word for rule in rules_of(key) for word in rule.words]
    for word in words:
        check_overrides([f"{key}={word}"], conf, "train")
    with pytest.raises(UserError, match=f"^{key}={words[0]}s: must be "):
        check_overrides([f"{key}={words[0]}s"], conf, "train")
        check_settings(OmegaConf.to_container(OmegaConf.from_dotlist([f"{key}={words[0]}s"])))  # type: ignore[arg-type]


@pytest.mark.parametrize(("flag", "meant"), [("--hlp", "--help"), ("--multi-run", "--multirun"), ("--cfgg", "--cfg")])
def test_flags(flag: str, meant: str, conf: Path) -> None:
    with pytest.raises(UserError, match=rf"{flag}: there is no such flag; .* Did you mean '{meant}'\?$"):
        check_flags(["a=1", flag], conf, "train")
    check_flags(["--cfg=job", "a=-1"], conf, "train")
    check_flags(["-m", "--config-dir", "more", "a=-1"], conf, "train")


def test_a_folder_of_configs_that_there_is_not(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    for flags in (["--config-dir", f"{tmp_path}/no"], [f"--config-dir={tmp_path}/file"], ["-cd", f"{tmp_path}/no"]):
        with pytest.raises(UserError, match=rf"^--config-dir {tmp_path}/(no|file): there is no such folder$"):
            check_config_dir([*flags, "-m", "a=1,2"])
    check_config_dir(["-m", "--config-dir", str(tmp_path), "a=1"])


def test_a_setting_written_as_a_flag(conf: Path) -> None:
    with pytest.raises(UserError, match=r"^--fold: settings are written without dashes, key=value: fold=…$"):
        check_flags(["--fold", "0"], conf, "train")


@pytest.mark.parametrize("flags", [["-m", "--cfg", "job"], ["--info", "all", "-m"], ["-c", "job", "--info"]])
def test_flags_that_exclude_one_another(flags: list[str], conf: Path) -> None:
    with pytest.raises(UserError, match=r"one of these at a time; --cfg job shows the config of one job"):
        check_flags(flags, conf, "train")


@pytest.mark.parametrize(
    ("override", "words"),
    [
        ("blend=3", "blend=3: unknown blend; there are: "),
        ("logger=csv,null", "logger=null: unknown logger; there are: csv, "),
        ("logger=null", "logger=null: unknown logger; there are: csv, "),
        ("logger=[]", "logger=[]: unknown logger; there are: csv, "),
        (
            "model=[resnet_gru,sparcnet]",
            "model=[resnet_gru,sparcnet]: one model at a time; to try each",
        ),
        ("fold=glob(*)", "fold=glob(*): glob chooses among the options of a group"),
        ("model.depth=glob(*)", "model.depth=glob(*): glob chooses"),
        ("fold=range(3,3)", "fold=range(3,3): there is nothing in this range"),
        ("fold=range(nan,5)", "fold=range(nan,5): range(START,STOP,STEP) needs numbers, and a step that is not 0"),
        ("fold=range(0,inf)", "fold=range(0,inf): range(START,STOP,STEP) needs numbers"),
        ("fold=range(0,5,0)", "fold=range(0,5,0): range(START,STOP,STEP) needs numbers"),
        ("seed=range(0,1000000000)", "seed=range(0,1000000000): more than 10,000 values"),
    ],
)
def test_sweeps_over_nothing_and_options_that_are_no_names(override: str, words: str, conf: Path) -> None:
    with pytest.raises(UserError) as caught:
        check_overrides([override], conf, "train")
    assert str(caught.value).startswith(words)


@pytest.mark.parametrize(
    ("typed", "meant"),
    [
        ("experiment=two_stage,null", "experiment=two_stage,[]"),
        ("experiment=null", "experiment=[]"),
        ("callbacks=null,throughput", "callbacks=[],throughput"),
        ("experiment=nullary", "experiment=nullary"),
        ("init_from=null", "init_from=null"),
        ("logger=null", "logger=null"),
    ],
)
def test_a_group_may_be_left_out_where_it_is_by_default(typed: str, meant: str, conf: Path) -> None:
    assert with_empty_groups([typed], conf, "train") == [meant]
    if meant.endswith("[]"):  # Hydra takes it
        with initialize_config_dir(str(conf), version_base="1.3"):
            assert compose("train", [meant.replace("two_stage,", "")]).stages == {}


def test_a_folder_for_everything_is_needed(conf: Path) -> None:
    with initialize_config_dir(str(conf), version_base="1.3"):
        cfg = compose("train", ["outputs=null"], return_hydra_config=True)
    with pytest.raises(OmegaConfBaseException) as caught:
        _ = cfg.hydra.run.dir
    assert explained(caught.value, ["outputs=null"], conf, "train").startswith("outputs: must be text")


def test_options_by_a_pattern(conf: Path) -> None:
    check_overrides(["model=glob(resnet*)"], conf, "train")


@pytest.mark.parametrize(
    ("override", "words"),
    [
        ("fold=0,1", "fold=0,1: several values are a sweep, which -m asks for: -m fold=0,1; a list is written [A,B]"),
        ("band=0.5–20", "band=0.5–20: '–' must stand in quotes"),
        ("logger=[csv,wandbb]", "unknown logger 'wandbb'; there are: csv, tensorboard, wandb. Did you mean 'wandb'?"),
        ("fold=range(0,2)", "fold=range(0,2): several values are a sweep, which -m asks for: -m fold=range(0,2)"),
    ],
)
def test_what_hydra_would_say_in_its_own_words(override: str, words: str, conf: Path) -> None:
    assert said(conf, "train", override).startswith(words)


def test_a_setting_that_only_some_of_the_swept_options_have(conf: Path) -> None:
    with pytest.raises(HydraException) as caught, initialize_config_dir(str(conf), version_base="1.3"):
        compose("train", ["model=resnet_gru", "model.backbone=x"])
    typed = ["model=efficientnet,resnet_gru", "model.backbone=x"]
    assert explained(caught.value, typed, conf, "train") == (
        "model.backbone: model=resnet_gru has no such setting, only model=efficientnet; sweep over them in two commands"
    )


def test_a_setting_without_a_default(conf: Path) -> None:
    with initialize_config_dir(str(conf), version_base="1.3"):
        cfg = compose("train", ["dataset=hms"])
    with pytest.raises(MissingMandatoryValue) as caught:
        OmegaConf.to_container(cfg, resolve=True, throw_on_missing=True)
    assert explained(caught.value, [], conf, "train") == "dataset.root is needed: dataset.root=…"


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_ends_with_2_and_one_line(command: str, tmp_path: Path) -> None:
    result = run(tmp_path, f"hbac.{command}", "dataset.sise=tiny")
    assert result.returncode == 2
    assert result.stderr.count("\n") == 1
    assert result.stderr.startswith("error: dataset.sise: there is no such setting")
    assert result.stderr.endswith("Did you mean 'dataset.size'?\n")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("typed", "words"),
    [
        (["model=resnet_gur"], "unknown model 'resnet_gur'; there are: braindecode, .* Did you mean 'resnet_gru'?"),
        (["-m", "model=efficientnet,resnet_gur"], "unknown model 'resnet_gur'; .* Did you mean 'resnet_gru'?"),
        (["hydra/launcher=submitit", "-m", "fold=0,1"], "unknown hydra/launcher 'submitit'; there are: "),
        (["--config-name", "nothing"], "Cannot find primary config 'nothing'"),
        (["trainer.fast_dev_run=true"], "trainer.fast_dev_run: there is no such setting; trainer has: max_epochs, "),
    ],
)
def test_options_that_there_are_not_are_one_line_of_the_command_too(
    typed: list[str], words: str, tmp_path: Path
) -> None:
    """Hydra's error for a missing option is an OSError as well, which the command would call something else."""
    result = run(tmp_path, "hbac.train", *typed)
    assert result.returncode == 2
    assert result.stderr.count("\n") == 1
    assert re.match(f"error: {words}", result.stderr), result.stderr
