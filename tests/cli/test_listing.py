"""What ``python -m hbac.prepare list=…`` says there is."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from hbac.cli.listing import GROUPS, listed
from hbac.common.errors import UserError
from hbac.signal.band import CLINICAL_BANDS
from hbac.signal.montage import MONTAGES
from tests.cli.test_launch import run


def names(what: str, conf: Path) -> list[str]:
    *lines, blank, use = listed(what, conf).splitlines()
    assert blank == ""
    assert use.startswith("choose:  python -m hbac.")
    assert all(len(line.split(maxsplit=1)) == 2 for line in lines), lines
    return [line.split()[0] for line in lines]


@pytest.mark.parametrize(("what", "group"), GROUPS.items())
def test_every_option_of_a_group_has_a_line(what: str, group: str, conf: Path) -> None:
    assert names(what, conf) == sorted(path.stem for path in (conf / group).glob("*.yaml"))


def test_every_group_of_the_configs_can_be_listed_or_has_one_option(conf: Path) -> None:
    groups = {path.parent for path in conf.rglob("*.yaml")} - {conf} - set(conf.glob("hydra/*"))
    unlisted = {group for group in groups if str(group.relative_to(conf)) not in GROUPS.values()}
    assert {group.name for group in unlisted} == {"labels", "task", "data", "events"}  # of `data` the model has its own


def test_bands_and_montages_come_from_their_registries(conf: Path) -> None:
    assert names("bands", conf) == list(CLINICAL_BANDS)
    assert names("montages", conf) == list(MONTAGES)
    assert "delta   0.5-4 Hz" in listed("bands", conf)
    assert "public_8              8 derivations: the long differences" in listed("montages", conf)


def test_votes_are_listed_as_a_table(conf: Path) -> None:
    table = listed("votes", conf)
    assert table.startswith("up to 7 votes                   HMS   medium    large\n")
    assert "\n10 or more votes                HMS   medium    large\n" in table


def test_a_list_that_there_is_not(conf: Path) -> None:
    with pytest.raises(UserError, match="unknown list 'model'; there are: models, bands, .* Did you mean 'models'"):
        listed("model", conf)


def test_the_command_reads_no_data_and_writes_nothing(tmp_path: Path) -> None:
    result = run(tmp_path, "hbac.prepare", "list=models")
    assert (result.returncode, result.stderr) == (0, "")
    assert any(line.startswith("resnet_gru ") for line in result.stdout.splitlines())
    wrong = run(tmp_path, "hbac.prepare", "list=modles")
    assert wrong.returncode == 2
    assert wrong.stderr.endswith("Did you mean 'models'?\n")
    assert not [path for path in tmp_path.rglob("*") if path.is_file()]


def test_what_stands_in_configs_is_listed_without_torch(tmp_path: Path) -> None:
    code = (
        "import sys; sys.argv = ['x', 'list=models']; import hbac.prepare as m; m.main(); "
        "print([n for n in ('torch', 'pandas', 'lightning') if n in sys.modules])"
    )
    result = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=True)
    assert result.stdout.rstrip().endswith("[]")
