"""`python -m hbac.ensemble` on tables that other code made: what is taken, what is said, what is refused."""

from __future__ import annotations

import csv
import re
import subprocess
import sys
import warnings
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from hbac.cli.console import ensemble_table
from hbac.common.errors import UserError
from hbac.ensembling.build import build_ensemble
from hbac.ensembling.collect import collect
from hbac.ensembling.ensemble_file import Ensemble
from hbac.evaluation.metric import kl_divergence, kl_rows
from hbac.labels.folds import FoldTable
from hbac.predictions.foreign import read_table
from hbac.predictions.metadata import TableMetadata
from hbac.predictions.table import PredictionTable
from hbac.vocabulary import PROB_COLUMNS, VOTE_COLUMNS
from tests.ensembling.standin import make_standin
from tests.test_commands import command


@pytest.fixture(scope="module")
def frames() -> list[pd.DataFrame]:
    return [table.frame for table in make_standin(n_rows=600, n_members=3, seed=8).tables()]


@pytest.fixture
def members(frames: list[pd.DataFrame], tmp_path: Path) -> list[str]:
    """Two folders with files of one name, and a csv whose rows stand in another order."""
    paths = [tmp_path / "a" / "oof.parquet", tmp_path / "b" / "oof.parquet", tmp_path / "c.csv"]
    for path, frame in zip(paths, frames, strict=True):
        path.parent.mkdir(exist_ok=True)
        if path.suffix == ".csv":
            frame.sample(frac=1, random_state=0).assign(comment="theirs").to_csv(path)
        else:
            frame.to_parquet(path)
    return [path.relative_to(tmp_path).as_posix() for path in paths]


def blend(folder: Path, members: list[str], *settings: str, ok: bool = True) -> tuple[str, str, int]:
    line = [f"members=[{','.join(members)}]", "logger=csv", "out=blended", *settings]
    result = command(folder, "hbac.ensemble", *line, ok=ok)
    return result.stdout, result.stderr, result.returncode


def test_parquet_and_csv_of_other_code(frames: list[pd.DataFrame], members: list[str], tmp_path: Path) -> None:
    stdout, stderr, _ = blend(tmp_path, members, "blend=log_linear")
    (warning,) = stderr.splitlines()
    assert re.match(r"warning: tables \S*a/oof\.parquet, \S*b/oof\.parquet, \S*c\.csv: made by other code", warning)
    assert "could not be checked: which config, data and fold table it was made with" in warning
    assert "nested by fold" in stdout
    ensemble = Ensemble.read(tmp_path / "blended")
    assert {member.name for member in ensemble.members} | set(ensemble.dropped) == {"a/oof", "b/oof", "c"}
    oof = PredictionTable.read(tmp_path / "blended" / "oof.parquet")
    wanted = frames[0].sort_values("label_id", ignore_index=True)
    np.testing.assert_array_equal(oof.frame["eeg_id"], wanted["eeg_id"])
    many = oof.frame["n_votes"].to_numpy() >= 10
    assert kl_divergence(oof.targets[many], oof.probs[many]) == pytest.approx(ensemble.nested.estimate)
    counted = [frame[frame["n_votes"] >= 10] for frame in frames]
    best = min(kl_divergence(frame[list(VOTE_COLUMNS)], frame[list(PROB_COLUMNS)]) for frame in counted)
    assert ensemble.nested.estimate < best


def test_folds_from_a_file_are_those_of_the_column(
    frames: list[pd.DataFrame], members: list[str], tmp_path: Path
) -> None:
    blend(tmp_path, members)
    with_column = PredictionTable.read(tmp_path / "blended" / "oof.parquet").frame
    pairs = frames[0][["patient_id", "fold"]].drop_duplicates().sort_values("patient_id")
    FoldTable(pairs["patient_id"].to_numpy(), pairs["fold"].to_numpy(), n_folds=5, seed=0).write(tmp_path / "folds.csv")
    for path in members:
        file = tmp_path / path
        frame = pd.read_csv(file) if file.suffix == ".csv" else pd.read_parquet(file)
        frame = frame.drop(columns="fold")
        frame.to_csv(file) if file.suffix == ".csv" else frame.to_parquet(file)
    _, stderr, status = blend(tmp_path, members, ok=False)
    assert status == 2
    assert re.fullmatch(r"error: table \S*a/oof\.parquet: missing column\(s\) fold; give folds=PATH.*\n", stderr)
    blend(tmp_path, members, "folds=folds.csv")
    from_file = PredictionTable.read(tmp_path / "blended" / "oof.parquet").frame
    pd.testing.assert_frame_equal(with_column, from_file, rtol=0, atol=1e-12)


@pytest.mark.parametrize(
    ("column", "value", "message"),
    [
        ("gpd_prob", -0.2, r"row 7, column gpd_prob: -0\.2 is negative"),
        ("gpd_prob", np.nan, "row 7, column gpd_prob: nan is not a number"),
        ("gpd_prob", 0.999, r"row 7, columns seizure_prob … other_prob sum to 1\.\d+"),
        ("label_id", 5_000_003, "row 7, column label_id: label_id 5000003 stands twice"),
        ("patient_id", 17, r"row 7 \(label_id 5000021\), column patient_id: 17, but \d+ in table oof"),
        ("n_votes", 99, r"row 7 \(label_id 5000021\), column n_votes: 99, but \d+ in table oof"),
        ("fold", 9, r"leak: 1 of \d+ patients in more than one fold: patient_id \d+ in folds \d, 9"),
        ("fold", "x", "row 7, column fold: x; a whole number is needed"),
    ],
)
def test_a_damaged_table_is_named_and_nothing_written(
    members: list[str], tmp_path: Path, column: str, value: object, message: str
) -> None:
    """Row 0 is the first one below the header, whichever file it is."""
    frame = pd.read_parquet(tmp_path / members[1])
    frame = frame.astype({column: object}) if isinstance(value, str) else frame
    frame.loc[7, column] = value
    if column == "patient_id":  # alone in its fold: no leak, only another patient than the others say
        assert 17 not in set(frame["patient_id"].drop(index=7))
    frame.to_csv(tmp_path / "damaged.csv", index=False)
    _, stderr, status = blend(tmp_path, [members[0], "damaged.csv"], ok=False)
    assert status == 2
    error = stderr.splitlines()[-1]
    assert re.match(rf"error: (\S*/damaged\.csv: )?table (\S*/damaged\.csv|damaged): {message}", error), error
    assert not (tmp_path / "blended").exists()


def test_the_copy_of_a_table_is_named(tmp_path: Path) -> None:
    (table, *_) = make_standin(n_rows=60, n_members=1, seed=8).tables()
    for name in ("a.parquet", "a copy.parquet"):
        table.write(tmp_path / name)
    with pytest.raises(UserError, match=r"comes twice \(of .*/a.parquet, .*/a copy.parquet\)"):
        list(collect([tmp_path / "a.parquet", tmp_path / "a copy.parquet"]))


def test_a_full_disk_is_one_message(members: list[str], tmp_path: Path, small_disk: Callable[[str], Path]) -> None:
    disk = small_disk("64k")
    _, stderr, status = blend(tmp_path, members, f"out={disk}/blended", ok=False)
    assert status == 2
    error = stderr.splitlines()[-1]
    assert re.fullmatch(rf"error: {disk}/blended/\S+: cannot be written: No space left on device", error)
    assert "Traceback" not in stderr
    assert not list(disk.rglob("ensemble.json")) and not list(disk.rglob("*partial*"))
    for path in disk.rglob("*.parquet"):
        PredictionTable.read(path)


def test_a_place_that_is_none_is_one_message(members: list[str], tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    _, stderr, status = blend(tmp_path, members, "out=file/blended", ok=False)
    assert status == 2
    assert stderr.splitlines()[-1] == f"error: file/blended: {tmp_path}/file is a file; choose another place (out=PATH)"


def test_rows_that_a_member_lacks(frames: list[pd.DataFrame], members: list[str], tmp_path: Path) -> None:
    frames[1].iloc[10:].to_parquet(tmp_path / members[1])
    _, stderr, status = blend(tmp_path, members, ok=False)
    assert status == 2
    assert "error: table b/oof: lacks 10 of 600 rows that other tables have, for example label_id 5000000" in stderr
    blend(tmp_path, members, "on_missing=renormalise")
    assert len(PredictionTable.read(tmp_path / "blended" / "oof.parquet").frame) == 600
    assert len(PredictionTable.read(tmp_path / "blended" / "members" / "b_oof.parquet").frame) == 590


def test_single_precision_zeros_and_ones_are_taken_as_they_are(frames: list[pd.DataFrame], tmp_path: Path) -> None:
    """What a softmax in single precision answers: 0, 1, sums off by 1e-7, and now and then 1.0000001."""
    changed = [frame.copy() for frame in frames]
    prob = changed[0][list(PROB_COLUMNS)].to_numpy().astype(np.float32)
    prob[:40] = np.eye(6, dtype=np.float32)[changed[0][list(VOTE_COLUMNS)].to_numpy()[:40].argmax(axis=1)]
    prob[40:80] = np.eye(6, dtype=np.float32)[0] * np.float32(1.0000001)
    changed[0][list(PROB_COLUMNS)] = prob
    changed[1]["fold"] = changed[1]["fold"].astype(str)
    changed[2]["n_votes"] = changed[2]["n_votes"].astype(float)
    names = ["x.parquet", "y.parquet", "z.parquet"]
    for name, frame in zip(names, changed, strict=True):
        frame.to_parquet(tmp_path / name)
    _, stderr, _ = blend(tmp_path, names, "blend=auto")
    assert "divided by" not in stderr
    ensemble = Ensemble.read(tmp_path / "blended")
    by_method = ensemble.extras["nested_kl_by_method"]
    wrong = kl_rows(changed[0][list(VOTE_COLUMNS)].to_numpy(), prob.astype(float)).mean()
    assert wrong > 1  # a certain miss costs up to 34 nats in one row
    assert all(0 < score < 1 for name, score in by_method.items() if name != "mean"), by_method


def test_blending_needs_neither_torch_nor_scikit_learn(members: list[str], tmp_path: Path) -> None:
    """They take longer to import than 33 tables take to blend, and three times the memory."""
    line = ["ensemble", f"members=[{members[0]},{members[2]}]", "logger=csv", "out=blended"]
    code = f"import sys; sys.argv = {line}; from hbac.ensemble import main; main(); print(*sys.modules)"
    result = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=True)
    modules = set(result.stdout.splitlines()[-1].split())
    assert "hbac.ensembling.build" in modules
    assert not modules & {"torch", "sklearn", "lightning", "wandb"}


ODD = ["[red]a", "[/b]", ":smile:", "=1+1", "@x", "+y", "-z"]


def test_names_are_shown_and_kept_as_they_are(
    frames: list[pd.DataFrame], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Brackets are no colours, colons no pictures, and what a spreadsheet would compute is text."""
    tables = [PredictionTable(frames[n % 3], TableMetadata(name)) for n, name in enumerate(ODD)]
    build_ensemble(tables, tmp_path / "blended", method="mean", n_resamples=10, comparisons=True)
    ensemble_table(tmp_path / "blended")
    shown = capsys.readouterr().out
    assert all(f" {name} " in shown or f" '{name} " in shown for name in ODD), shown
    with (tmp_path / "blended" / "summary.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert {row["name"] for row in rows} == {"ensemble", "[red]a", "[/b]", ":smile:", "'=1+1", "'@x", "'+y", "'-z"}
    assert all(0 < float(row["kl_all"]) < 10 for row in rows)
    for path in [tmp_path / "blended" / "summary.csv", *(tmp_path / "blended" / "comparisons").iterdir()]:
        cells = [cell for line in csv.reader(path.read_text().splitlines()) for cell in line]
        assert not [cell for cell in cells if cell.startswith(tuple("=+-@")) and not _is_number(cell)], path


def _is_number(cell: str) -> bool:
    try:
        float(cell)
    except ValueError:
        return False
    return True


@pytest.mark.parametrize("name", ["../../evil", "..", "/tmp/evil", "a/b", "C:\\evil", ".hidden", "x" * 300, "A", "é"])
def test_a_name_never_leaves_the_folder_of_the_members(frames: list[pd.DataFrame], tmp_path: Path, name: str) -> None:
    tables = [PredictionTable(frame, TableMetadata(n)) for frame, n in zip(frames, (name, "a", "b"), strict=True)]
    build_ensemble(tables, tmp_path / "out" / "blended", method="mean", n_resamples=10)
    files = [path for path in tmp_path.rglob("*.parquet") if path.parent.name == "members"]
    assert {path.parent for path in files} == {tmp_path / "out" / "blended" / "members"}
    assert len(files) == len({path.name.casefold() for path in files}) == 3
    assert not [path for path in files if path.name.startswith(".")]
    assert {PredictionTable.read(path).metadata.member for path in files} == {name, "a", "b"}
    assert sorted(path.name for path in tmp_path.iterdir()) == ["out"]


@pytest.mark.parametrize("name", ["", "a\nb", "a\x1b[2Jb", "a\x00", "\u202egnp.a", "a\x7f"])
def test_a_name_that_a_terminal_would_obey_is_refused(frames: list[pd.DataFrame], tmp_path: Path, name: str) -> None:
    with pytest.raises(UserError, match="a name needs letters, and no line breaks or control characters") as refused:
        TableMetadata(name)
    assert str(refused.value).isprintable()
    if name and "\x00" not in name:
        frames[0].to_parquet(tmp_path / f"{name}.parquet")
        with pytest.raises(UserError, match="control characters"), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            read_table(tmp_path / f"{name}.parquet")


def test_the_tables_that_lie_in_members_are_not_taken_away(
    frames: list[pd.DataFrame], members: list[str], tmp_path: Path
) -> None:
    """A user's own folder of that name, with the very tables that are blended, is no folder of an ensemble's."""
    (tmp_path / "members").mkdir()
    for number, frame in enumerate(frames):
        frame.to_parquet(tmp_path / "members" / f"{number}.parquet")
    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    for given in (["members/0.parquet", "members/1.parquet"], members):
        _, stderr, status = blend(tmp_path, given, "out=.", ok=False)
        assert status == 2
        assert "error: .: 'members/" in stderr
        assert "something else than hbac.ensemble wrote, or changed since" in stderr
        assert {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()} == before
    blend(tmp_path, ["members/0.parquet", "members/1.parquet"], "out=e")
    blend(tmp_path, ["e", "members/2.parquet"], "out=e")  # into itself, and its own place
    assert len(list((tmp_path / "e" / "members").iterdir())) == 3
    assert "2" in (tmp_path / "e" / "MODEL_CARD.md").read_text()
    assert {path: path.read_bytes() for path in before} == before
