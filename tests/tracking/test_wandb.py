"""W&B offline, read back with its own tool: a run a fold, failed after a crash, one of ensemble and infer each."""

from __future__ import annotations

import json
import os
import pty
import subprocess
import sys
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from hbac.common.errors import UserError
from hbac.tracking.loggers import Loggers, RunFacts, _patient, never_fatal, run_id
from tests.helpers import write_hms_layout
from tests.test_commands import ROOT, SMALL_NET, command

TOKEN = "not-a-token-but-looked-for-as-one"


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_hms_layout(tmp_path_factory.mktemp("data"), n_eegs=20, seed=1)


@pytest.fixture(scope="module")
def swept(root: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("swept")
    line = ["hbac.train", "dataset=hms", f"dataset.root={root}", "labels.n_folds=2", *SMALL_NET]
    with pytest.MonkeyPatch.context() as environment:
        for name in ("KAGGLE_API_TOKEN", "KAGGLE_KEY"):
            environment.setenv(name, TOKEN)
        for typed in ([*line, "logger.worst_windows=2", "-m", "fold=0,1"],
                      ["hbac.infer", "dataset=hms", f"dataset.root={root}", "out=said"]):  # fmt: skip
            said = command(folder, *typed).stderr
            assert "logging failed" not in said, said
    return folder


@cache
def runs_of(folder: Path) -> dict[str, Path]:
    """The offline runs of a folder of W&B, by their names."""
    return {inspected(run)["name"]: run for run in sorted(folder.glob("wandb/offline-run-*"))}


@cache
def inspected(run: Path) -> dict[str, Any]:
    """What ``wandb leet`` reads in an offline run."""
    leet = [str(Path(sys.executable).parent / "wandb"), "leet", "inspect", str(run), "--summary", "--json"]
    result = subprocess.run(leet, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr
    found: dict[str, Any] = json.loads(result.stdout)
    return found


def test_no_token_of_the_environment_is_written_anywhere(swept: Path) -> None:
    files = [path for path in swept.rglob("*") if path.is_file()]
    assert any(path.suffix == ".wandb" for path in files)
    assert [path for path in files if TOKEN.encode() in path.read_bytes()] == []


def test_each_fold_is_a_run(swept: Path) -> None:
    member = next(swept.glob("outputs/runs/*")).name
    runs = runs_of(swept / "outputs")
    found = [inspected(runs[f"resnet_gru-0.5-20-f{fold}"]) for fold in (0, 1)]
    digest = json.loads(next(swept.glob("outputs/runs/*/fold0/model.json")).read_text())["config_hash"]
    assert [run["run_id"] for run in found] == [run_id(digest, fold) for fold in (0, 1)]
    for fold, run in enumerate(found):
        assert (run["state"], run["exit_code"]) == ("finished", 0)
        assert run["tags"] == ["hms", "resnetgru", "band 0.5-20"]
        config, summary = run["config"], run["summary"]
        assert (config["fold"], config["member"]) == (fold, member)
        assert {"config_hash", "fold_hash", "data_fingerprint"} <= config.keys()
        score = json.loads((swept / f"outputs/runs/{member}/fold{fold}/metrics.json").read_text())["kl"]
        for name, population in (("kl", "all"), ("kl_up_to_7", "up_to_7"), ("kl_10_or_more", "10_or_more")):
            assert summary[f"val/{name}"]["min"] <= summary[f"val/{name}"]["last"]
            assert summary[f"val/{name}"]["last"] == pytest.approx(score[population], rel=0.02)  # the network in bf16
            assert f"val_by_class/kl_lpd{name.removeprefix('kl')}" in summary
        assert summary["kl"] == pytest.approx(score["10_or_more"])
        assert summary["train/grad_norm"] > 0
        assert summary["train/windows_per_s"] > 0
        assert summary["lr-AdamW/pg1"] > 0
        assert (summary["confusion"]["nrows"], summary["confusion"]["ncols"]) == (6, 7)
        assert summary["worst_windows"]["nrows"] == 2
        assert "reliability_table" in summary


def test_all_runs_stand_in_one_folder(swept: Path) -> None:
    method = json.loads(next(swept.glob("outputs/sweeps/*/ensemble.json")).read_text())["method"]
    names = {"resnet_gru-0.5-20-f0", "resnet_gru-0.5-20-f1", f"ensemble-{method}", "infer-test"}
    assert runs_of(swept / "outputs").keys() == names
    assert {path.parent for path in swept.rglob("offline-run-*")} == {swept / "outputs" / "wandb"}


def test_all_runs_can_be_uploaded_later(swept: Path) -> None:
    runs = sorted(swept.glob("outputs/wandb/offline-run-*"))  # as docs/wandb.md has it, but for the sending
    line = [str(Path(sys.executable).parent / "wandb"), "sync", "--dry-run", *map(str, runs)]
    result = subprocess.run(line, capture_output=True, text=True, check=True)
    assert "Would sync 4 run(s)" in result.stdout + result.stderr
    assert all(run.name in result.stdout + result.stderr for run in runs)


def test_no_metric_has_a_blank_in_its_name(swept: Path) -> None:
    for run in runs_of(swept / "outputs").values():
        assert [name for name in inspected(run)["summary"] if " " in name or "," in name] == []


def test_the_ensembles_run_names_the_weights_of_its_folds(swept: Path) -> None:
    runs = runs_of(swept / "outputs")
    models = [f"model-{inspected(runs[f'resnet_gru-0.5-20-f{fold}'])['run_id']}" for fold in (0, 1)]
    for fold, name in enumerate(models):
        assert said_of(runs[f"resnet_gru-0.5-20-f{fold}"], name)
    (ensemble,) = (run for name, run in runs.items() if name.startswith("ensemble-"))
    (record,) = ensemble.glob("*.wandb")
    assert all(name.encode() in record.read_bytes() for name in models)


def test_a_training_that_goes_on_is_the_same_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    loggers = Loggers(wandb=True, folder=str(tmp_path))
    facts = RunFacts("mine", "group", {}, tmp_path / "run", run_id=run_id("0123456789abcdef" * 4, 3))
    for _ in range(2):
        with loggers.training(facts) as opened:
            opened[-1].log_metrics({"val/kl_lpd_10_or_more": 1.0, "val/kl": 2.0, "stage/val/kl_seizure": 3.0}, step=0)
    found = [inspected(run) for run in tmp_path.glob("wandb/offline-run-*")]
    assert [run["run_id"] for run in found] == ["0123456789abcdef-3"] * len(found) and found
    keys = {"val_by_class/kl_lpd_10_or_more", "val/kl", "stage/val_by_class/kl_seizure"}
    assert keys <= found[0]["summary"].keys()
    # An agent of W&B's sweeps has named the run.
    monkeypatch.setenv("WANDB_RUN_ID", "of-the-agent")
    with loggers.single(facts) as run:
        assert run is not None and run.id != "0123456789abcdef-3"  # W&B itself looks once in a process


def said_of(run: Path, text: str) -> bool:
    """Whether a run's record has a text; `wandb leet inspect` shows neither group nor type of job."""
    (record,) = run.glob("*.wandb")
    return bytes([len(text)]) + text.encode() in record.read_bytes()  # as a protocol buffer has it: length, then text


def test_runs_say_their_group_and_the_type_of_their_job(swept: Path) -> None:
    (sweep,) = swept.glob("outputs/sweeps/*")
    member = next(swept.glob("outputs/runs/*"))
    runs = runs_of(swept / "outputs")
    for name, job_type, group in [
        ("resnet_gru-0.5-20-f0", "train", member.name),
        ("resnet_gru-0.5-20-f1", "train", member.name),
        (next(name for name in runs if name.startswith("ensemble-")), "ensemble", sweep.name),
        ("infer-test", "infer", sweep.name),
    ]:
        assert said_of(runs[name], job_type)
        assert said_of(runs[name], group)
        assert inspected(runs[name])["project"] == "hbac"
        assert not said_of(runs[name], "predict")


def test_worst_windows_have_pictures(swept: Path) -> None:
    for fold in (0, 1):
        run = runs_of(swept / "outputs")[f"resnet_gru-0.5-20-f{fold}"]
        pictures = list(run.glob("files/media/images/*.png"))
        assert len(pictures) == 2
        assert all(picture.stat().st_size < 200_000 for picture in pictures)


def test_the_ensemble_is_one_run(swept: Path) -> None:
    (sweep,) = swept.glob("outputs/sweeps/*")
    written = json.loads((sweep / "ensemble.json").read_text())
    run = inspected(runs_of(swept / "outputs")[f"ensemble-{written['method']}"])
    assert run["config"]["fold_hash"] == written["fold_hash"]
    summary = run["summary"]
    nested = pytest.approx(written["score"]["nested"]["kl"])
    assert (summary["kl"], summary["kl_10_or_more"]) == (nested, nested)
    assert summary["rows_that_count"] == "rows with 10 or more votes"
    assert summary["kl_all_low"] < summary["kl_all"] < summary["kl_all_high"]
    assert {"kl_up_to_7", "blend", "over_fit", "members", "confusion"} <= summary.keys()
    assert summary["nested_kl_by_method"]["log_linear"] == pytest.approx(summary["kl"])


def test_an_inference_is_a_run(swept: Path) -> None:
    run = inspected(runs_of(swept / "outputs")["infer-test"])
    assert run["summary"]["networks"] == 2
    assert run["config"]["split"] == "test"


def test_a_crash_closes_its_run_as_failed(root: Path, tmp_path: Path) -> None:
    """A network whose output explodes: Lightning goes on, the prediction table refuses."""
    line = ["hbac.train", "dataset=hms", f"dataset.root={root}", "labels.n_folds=2", *SMALL_NET]
    crashed = command(tmp_path, *line, "optimizer.lr=1e30", "trainer.gradient_clip_val=null", ok=False)
    assert crashed.returncode != 0
    (run,) = [inspected(path.parent) for path in tmp_path.glob("outputs/wandb/offline-run-*/*.wandb")]
    assert (run["state"], run["exit_code"]) == ("failed", 1)


def test_without_wandb_nothing_of_it(root: Path, tmp_path: Path) -> None:
    line = ["hbac.train", "dataset=hms", f"dataset.root={root}", "labels.n_folds=2", *SMALL_NET, "logger=csv"]
    command(tmp_path, *line)
    assert not list(tmp_path.rglob("wandb"))
    (metrics,) = tmp_path.glob("outputs/runs/*/fold0/logs/version_0/metrics.csv")
    assert {"train/grad_norm", "val/kl_lpd_10_or_more"} <= set(metrics.read_text().splitlines()[0].split(","))


def without_account(folder: Path) -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith("WANDB_")}
    return kept | {"HOME": str(folder), "NETRC": str(folder / "netrc"), "PYTHONPATH": str(ROOT)}


@pytest.mark.parametrize("command", ["train", "infer", "ensemble"])
def test_online_without_an_account_ends_at_once(command: str, tmp_path: Path) -> None:
    line = [sys.executable, "-m", f"hbac.{command}", "logger.mode=online"]
    result = subprocess.run(
        line, cwd=tmp_path, env=without_account(tmp_path), capture_output=True, text=True, timeout=300, check=False
    )
    assert (result.returncode, result.stdout) == (2, "")
    assert result.stderr == (
        "error: logger.mode=online: there is no account; type `wandb login` or set WANDB_API_KEY, or take "
        "logger.mode=offline (`wandb sync` uploads such runs later)\n"
    )
    assert not [path for path in (tmp_path / "outputs").rglob("*") if path.is_file()]


def test_online_without_an_account_asks_nobody_at_a_terminal(tmp_path: Path) -> None:
    leader, follower = pty.openpty()
    line = [sys.executable, "-m", "hbac.train", "logger.mode=online"]
    process = subprocess.Popen(
        line, cwd=tmp_path, env=without_account(tmp_path), stdin=follower, stdout=follower, stderr=follower
    )
    os.close(follower)
    assert process.wait(timeout=300) == 2
    assert b"there is no account; type `wandb login`" in os.read(leader, 4096)
    os.close(leader)


def test_an_account_s_key_that_cannot_be_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WANDB_API_KEY", "short")
    with pytest.raises(UserError, match=r"logger\.mode=online: .*type `wandb login` or set WANDB_API_KEY"):
        Loggers(wandb=True, mode="online")


def test_w_and_b_is_loaded_before_torch(tmp_path: Path) -> None:
    """After it, its import takes twice the time."""
    code = (
        "import sys; from hbac.tracking.loggers import Loggers; Loggers(wandb=True); "
        "print([n for n in ('wandb.sdk.launch', 'torch', 'lightning') if n in sys.modules])"
    )
    result = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=True)
    assert result.stdout.splitlines()[-1] == "['wandb.sdk.launch']"


def test_a_mode_there_is_not() -> None:
    with pytest.raises(UserError, match="logger.mode"):
        Loggers(wandb=True, mode="cloud")  # type: ignore[arg-type]


@pytest.mark.parametrize("home", ["/dev/null/nobody", None])
def test_a_home_that_cannot_be_written_to(home: str | None, swept: Path, root: Path, tmp_path: Path) -> None:
    kept = {name: value for name, value in without_account(tmp_path).items() if name != "HOME"}
    environment = kept | ({} if home is None else {"HOME": home})
    run = next(swept.glob("outputs/runs/*/fold0"))
    line = [sys.executable, "-m", "hbac.infer", f"ensemble={run}", f"dataset.root={root}", "out=said"]
    result = subprocess.run(line, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr
    assert (tmp_path / "said" / "submission.csv").is_file()
    assert "logging failed" not in result.stderr
    assert list(tmp_path.glob("outputs/wandb/offline-run-*/*.wandb"))


def test_logging_that_fails_is_a_warning(caplog: pytest.LogCaptureFixture) -> None:
    with never_fatal():
        raise BrokenPipeError("the service is gone")
    assert "logging failed: BrokenPipeError: the service is gone" in caplog.text


def test_what_a_training_logs_may_fail(caplog: pytest.LogCaptureFixture) -> None:
    class Broken:
        def log_metrics(self, metrics: dict[str, float]) -> None:
            raise OSError(28, "No space left on device")

    logger: Any = _patient(Broken())  # type: ignore[arg-type]
    logger.log_metrics({"a": 1.0})
    assert "No space left" in caplog.text


@pytest.mark.parametrize("project", ["a/b", "a b?"])
def test_a_project_that_cannot_be(project: str) -> None:
    with pytest.raises(UserError, match=r"^logger.project=.*logger.entity"):
        Loggers(project=project)
