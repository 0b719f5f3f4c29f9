"""Values that no command could work with: one message, with the setting's key, before any file is read."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hydra import compose, initialize_config_dir

from hbac.cli.settings import Rule, blamed_on, check_settings
from hbac.common.errors import UserError
from hbac.experiment.job import make_job

SMALL_NET = ["model.filters=4", "model.width=8", "model.depth=1", "model.gru_hidden=8"]


@pytest.mark.parametrize(
    ("override", "words"),
    [
        ("seed=-1", "seed=-1: must be a whole number from 0 to 4294967295"),
        ("seed=1.5", "seed=1.5: must be a whole number"),
        ("data.batch_size=0", "data.batch_size=0: must be a whole number, 1 or more"),
        ("data.num_workers=-1", "data.num_workers=-1: must be a whole number from 0 to 1024"),
        ("optimizer.lr=nan", "optimizer.lr=nan: must be a number, 0 or more"),
        ("optimizer.lr=-0.1", "optimizer.lr=-0.1: must be a number, 0 or more"),
        ("model.kernels=3", "model.kernels=3: must be a list of whole numbers from 1 to 10000"),
        ("model.kernels=null", "model.kernels=null: must be a list of whole numbers"),
        ("model.kernels=[]", "model.kernels=[]: must be a list of whole numbers"),
        ("labels.n_folds=null", "labels.n_folds=null: must be a whole number from 2"),
        ("trainer.max_epochs=0", "trainer.max_epochs=0: must be a whole number from 1 to 1000000"),
        ("trainer.max_epochs=-1", "trainer.max_epochs=-1: must be a whole number from 1 to 1000000"),
        ("trainer.accumulate_grad_batches=0", "trainer.accumulate_grad_batches=0: must be a whole number"),
        ("trainer.devices=0", "trainer.devices=0: must be a whole number, 1 or more or auto"),
        ("trainer.devices=abc", "trainer.devices=abc: must be a whole number, 1 or more or auto"),
        ("+trainer.fast_dev_run=true", "trainer.fast_dev_run=true: it keeps no checkpoint"),
        ("+trainer.check_val_every_n_epoch=2", "trainer.check_val_every_n_epoch=2: each epoch is validated"),
        ("+trainer.val_check_interval=1", "trainer.val_check_interval=1: each epoch is validated"),
        (
            "+trainer.limit_predict_batches=1",
            "trainer.limit_predict_batches=1: all rows that are held out",
        ),
        ("+trainer.barebones=true", "trainer.barebones=true: it keeps no checkpoint"),
        ("trainer.accelerator=tpu", "trainer: these settings do not work: "),
        ("trainer.max_epochs=10000000000", "trainer.max_epochs=10000000000: must be a whole number from 1 to 1000000"),
        ("+optimizer.amsgrad=maybe", "optimizer.amsgrad=maybe: must be true or false"),
        ("montage=null", "front_end.montage=null: must be text or a list"),
        ("+trainer.logger=true", "trainer.logger=true: hbac decides this itself"),
        ("+trainer.no_such_thing=1", "lightning.Trainer cannot be made from its config"),
        ("+trainer.strategy=fast", "unknown trainer.strategy 'fast'; there are: auto, ddp"),
        ("augment.raw.swap_p=9", "augment.raw.swap_p=9: a probability"),
        ("augment.signal.shift_max_s=-1", "augment.signal"),
        ("schedule.warmup=7", "schedule.warmup=7: must be"),
        ("+stages.first.optimizer.lr=-1", "stages.first.optimizer.lr=-1: must be a number, 0 or more"),
        ("+stages.first=3", "stages.first=3: must be settings"),
        ("stages=3", "stages=3: must have names"),
        ("band=20-5", "band=20-5: the lower edge"),
        ("+front_end.sfreq_out=0", "front_end.sfreq_out=0: must be a number above 0 or null"),
        ("+front_end.sfreq_out=3", "front_end.sfreq_out=3: the band 0.5-20 needs an output rate from 40 Hz"),
    ],
)
def test_one_message_with_its_key(override: str, words: str, conf: Path) -> None:
    with initialize_config_dir(str(conf), version_base="1.3"):
        cfg = compose("train", [*SMALL_NET, "dataset=hms", "dataset.root=x", override])
    with pytest.raises(UserError) as caught:
        make_job(cfg)
    assert str(caught.value).startswith(words)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "override",
    [
        "+trainer.limit_train_batches=2",
        "+trainer.profiler=simple",
        "trainer.devices=auto",
        "+trainer.check_val_every_n_epoch=1",
        "+trainer.val_check_interval=1.0",
        "+trainer.limit_predict_batches=1.0",
        "montage=[Fp1-F3,Fp2-F4]",
        "debug=overfit",
        "seed=4294967295",
    ],
)
def test_what_is_right_passes(override: str, conf: Path) -> None:
    with initialize_config_dir(str(conf), version_base="1.3"):
        make_job(compose("train", [*SMALL_NET, "dataset=hms", "dataset.root=x", override]))


def test_slurm_s_tasks_and_one_device(conf: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SLURM_NTASKS", "4")
    monkeypatch.setenv("SLURM_JOB_NAME", "training")
    with initialize_config_dir(str(conf), version_base="1.3"):
        cfg = compose("train", [*SMALL_NET, "dataset=hms", "dataset.root=x"])
    with pytest.raises(UserError, match=r"^trainer: .*ntasks") as caught:
        make_job(cfg)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"batch_size": 0}, "batch_size=0: must be a whole number, 1 or more"),
        ({"label_ids": ["a"]}, r"label_ids=\['a'\]: must be a list of whole numbers"),
        ({"dry_run": "yes"}, "dry_run=yes: must be true or false"),
        ({"outputs": None}, "outputs=null: must be text"),
        ({"dataset": 3}, "dataset=3: must be an option of that group"),
    ],
)
def test_settings_of_the_other_commands(settings: dict[str, Any], words: str) -> None:
    with pytest.raises(UserError, match=f"^{words}"):
        check_settings(settings)


def test_one_label_id_needs_no_brackets() -> None:
    check_settings({"label_ids": 112, "members": "here", "runs": ["a", "b"], "tta": None})


def test_a_rule_says_what_it_wants() -> None:
    assert str(Rule("number", 0, 1, below=True, null=True)) == "a number from 0 and below 1 or null"
    assert not Rule("number", 0, 1, below=True).fits(1)
    assert not Rule("whole").fits(True)
    assert not Rule("number").fits(float("inf"))


@pytest.mark.parametrize("error", [TypeError("a\nb"), ValueError("a"), ZeroDivisionError("a"), RuntimeError("a")])
def test_an_error_of_a_constructor_is_about_its_setting(error: Exception) -> None:
    with pytest.raises(UserError, match=r"^model: these settings do not work: a$"), blamed_on("model"):
        raise error


@pytest.mark.parametrize(
    ("override", "words"),
    [
        ("front_end.image.raw.rows_per_derivation=0", "front_end.image.raw.rows_per_derivation=0: must be a whole"),
        ("front_end.image.raw.rows_per_derivation=7", "front_end.rows_per_derivation=7: must divide the 10000 samples"),
        ("front_end.image.raw.centres_s=[x]", "front_end.image.raw.centres_s=['x']: must be a list"),
        ("front_end.tile_width=256", "front_end.tile_width=256: the width of raw is 1000"),
    ],
)
def test_one_message_for_pictures_of_the_signal(override: str, words: str, conf: Path) -> None:
    raw = ["model=efficientnet", "model.backbone=test_efficientnet", "data.sources=eeg", "front_end/image=raw"]
    with initialize_config_dir(str(conf), version_base="1.3"):
        cfg = compose("train", [*raw, "model.pretrained=false", "dataset=hms", "dataset.root=x", override])
    with pytest.raises(UserError) as caught:
        make_job(cfg)
    assert str(caught.value).startswith(words)
