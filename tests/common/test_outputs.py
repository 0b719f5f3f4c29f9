"""Only what the same command wrote is replaced, and as one: whatever else is in the way, whenever it is killed."""

from __future__ import annotations

import hashlib
import json
import os
import platform
import signal
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from hbac.common.errors import UserError
from hbac.common.locks import locked_folder
from hbac.common.outputs import MANIFEST, check_free, replacing

WHO = "hbac.example"
ASIDE = f".hbac-partial-{platform.node()}-"


def write(folder: Path, files: dict[str, str], command: str = WHO, own: tuple[str, ...] = ("parts",)) -> None:
    with replacing(folder, command, "last.json", own) as staged:
        for name, text in files.items():
            (staged / name).parent.mkdir(exist_ok=True)
            (staged / name).write_text(text)


def content(folder: Path) -> dict[str, str]:
    files = [path for path in folder.rglob("*") if path.is_file() and path.name != MANIFEST]
    return {path.relative_to(folder).as_posix(): path.read_text() for path in files}


ONE = {"last.json": "1", "parts/a": "1", "parts/b": "1", "other": "1"}
TWO = {"last.json": "2", "parts/a": "2"}


def test_its_own_files_are_replaced_and_those_of_its_own_folders_go(tmp_path: Path) -> None:
    write(tmp_path / "out", ONE)
    assert content(tmp_path / "out") == ONE
    write(tmp_path / "out", TWO)
    assert content(tmp_path / "out") == TWO | {"other": "1"}
    write(tmp_path / "out", ONE)  # what was left is still known for its own
    assert content(tmp_path / "out") == ONE


@pytest.mark.parametrize("name", ["last.json", "other", "parts/mine", "parts/deep/mine"])
def test_a_file_of_somebody_else_is_refused_and_nothing_touched(tmp_path: Path, name: str) -> None:
    (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
    (tmp_path / name).write_text("mine")
    with pytest.raises(UserError, match=f"'{name}': something else than hbac.example wrote"):
        write(tmp_path, ONE)
    assert content(tmp_path) == {name: "mine"}
    assert not list(tmp_path.rglob(".hbac*"))


def test_beside_the_user_s_files_is_room(tmp_path: Path) -> None:
    (tmp_path / "thesis").write_text("mine")
    write(tmp_path, ONE)
    assert content(tmp_path) == ONE | {"thesis": "mine"}


@pytest.mark.parametrize("name", ["last.json", "parts/a", "parts/b", "other"])
def test_what_was_changed_since_is_the_user_s(tmp_path: Path, name: str) -> None:
    write(tmp_path, ONE)
    (tmp_path / name).write_text("edited")
    with pytest.raises(UserError, match="changed since"):
        write(tmp_path, ONE | {"last.json": "2"})
    assert content(tmp_path) == ONE | {name: "edited"}


def test_one_command_replaces_nothing_of_another(tmp_path: Path) -> None:
    write(tmp_path, ONE)
    with pytest.raises(UserError, match="something else than hbac.second wrote"):
        write(tmp_path, TWO, "hbac.second")
    write(tmp_path / "deeper", TWO, "hbac.second")
    assert content(tmp_path) == ONE | {f"deeper/{name}": text for name, text in TWO.items()}


def test_a_folder_in_place_of_a_file_and_a_file_in_place_of_a_folder(tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    with pytest.raises(UserError, match="'other'"):
        write(tmp_path, ONE)
    (tmp_path / "other").rmdir()
    (tmp_path / "parts").write_text("mine")
    with pytest.raises(UserError, match="'parts/a', 'parts/b'"):
        write(tmp_path, ONE)
    assert content(tmp_path) == {"parts": "mine"}


@pytest.mark.parametrize("target", ["file", "folder"])
def test_nothing_is_replaced_behind_a_link(tmp_path: Path, target: str) -> None:
    out, elsewhere = tmp_path / "out", tmp_path / "elsewhere"
    write(out, ONE)
    (out / "parts").rename(elsewhere)  # the very files that the manifest vouches for
    if target == "folder":
        (out / "parts").symlink_to(elsewhere)
    else:
        (out / "parts").mkdir()
        (out / "parts" / "a").symlink_to(elsewhere / "a")
    with pytest.raises(UserError, match="'parts/a'"):
        write(out, TWO)
    assert content(elsewhere) == {"a": "1", "b": "1"}


@pytest.mark.parametrize(
    "text", ["", "[]", "null", '{"hbac.example": 3}', '{"hbac.example": {"last.json": null}}', "\xff"]
)
def test_a_damaged_manifest_vouches_for_nothing(tmp_path: Path, text: str) -> None:
    write(tmp_path, ONE)
    (tmp_path / MANIFEST).write_text(text, encoding="latin-1")
    with pytest.raises(UserError, match="last.json"):
        write(tmp_path, TWO)
    assert content(tmp_path) == ONE


def test_a_manifest_from_elsewhere_reaches_nothing_outside(tmp_path: Path) -> None:
    (tmp_path / "mine").write_text("mine")
    write(tmp_path / "out", ONE)
    made = json.loads((tmp_path / "out" / MANIFEST).read_text())
    made[WHO] |= {"../mine": [hashlib.sha256(b"mine").hexdigest()]}
    (tmp_path / "out" / MANIFEST).write_text(json.dumps(made))
    write(tmp_path / "out", TWO, own=(".",))
    assert (tmp_path / "mine").read_text() == "mine"
    assert content(tmp_path / "out") == TWO


def test_what_fails_leaves_what_was_there(tmp_path: Path) -> None:
    write(tmp_path / "out", ONE)
    for folder in ("out", "new"):
        with pytest.raises(RuntimeError), replacing(tmp_path / folder, WHO, "last.json", ["parts"]) as staged:
            (staged / "last.json").write_text("half")
            raise RuntimeError
    assert content(tmp_path) == {f"out/{name}": text for name, text in ONE.items()}
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


def test_a_whole_home_in_the_way_is_not_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for number in range(50):
        (tmp_path / f"{number}").touch()
    seen = []
    is_dir = Path.is_dir
    monkeypatch.setattr(Path, "is_dir", lambda path: seen.append(path) or is_dir(path))
    with pytest.raises(UserError, match="…: something else"):
        check_free(tmp_path, WHO, own_folders=["."])
    assert len(seen) < 20


KILLED = """
import os, signal, sys
from pathlib import Path
from hbac.common.locks import locked_folder
from hbac.common.outputs import replacing

real, moves = Path.{method}, []
def {method}(self, *arguments, **keywords):
    moves.append(self)
    if len(moves) == {number}:
        os.kill(os.getpid(), signal.SIGKILL)
    return real(self, *arguments, **keywords)
with replacing(Path("out"), "hbac.example", "last.json", ["parts"]) as staged:
    for name in ("last.json", "parts/a", "parts/c"):
        (staged / name).parent.mkdir(exist_ok=True)
        (staged / name).write_text("2")
    Path.{method} = {method}
"""


@pytest.mark.parametrize(("method", "number"), [("replace", n) for n in range(1, 6)] + [("unlink", 1), ("unlink", 2)])
def test_killed_at_any_step_it_is_whole_or_not_taken_for_whole(tmp_path: Path, method: str, number: int) -> None:
    write(tmp_path / "out", ONE)
    code = KILLED.format(method=method, number=number)
    killed = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    found = content(tmp_path / "out")
    new = {"last.json": "2", "parts/a": "2", "parts/c": "2"}
    if "last.json" in found:
        whole = {name: text for name, text in found.items() if name == "last.json" or name.startswith("parts")}
        assert whole in ({k: v for k, v in ONE.items() if k != "other"}, new)
    write(tmp_path / "out", TWO)  # the same command typed again
    assert content(tmp_path / "out") == TWO | {"other": "1"}
    assert {path.name for path in (tmp_path / "out").iterdir()} == {MANIFEST, "last.json", "other", "parts"}


def test_what_killed_processes_left_is_removed_here_and_beside(tmp_path: Path) -> None:
    gone = subprocess.Popen([sys.executable, "-c", ""])
    gone.wait()
    left = [tmp_path / "out" / f"{ASIDE}{gone.pid}", tmp_path / "beside" / f"{ASIDE}{gone.pid}"]
    alive = tmp_path / "alive" / f"{ASIDE}{os.getppid()}"
    others = tmp_path / "with_more" / f"{ASIDE}{gone.pid}"
    for folder in (*left, alive, others):
        folder.mkdir(parents=True)
        (folder / "half").touch()
    (others.parent / "thesis").touch()
    write(tmp_path / "out", TWO)
    assert content(tmp_path / "out") == TWO
    assert not left[1].parent.exists()  # it had been made for it
    assert (alive / "half").is_file()
    assert [path.name for path in others.parent.iterdir()] == ["thesis"]


def test_of_two_at_once_each_puts_its_whole_set_there_one_after_the_other(tmp_path: Path) -> None:
    """Whoever comes second waits for the folder, and then replaces what the first one wrote: never a mixture."""
    write(tmp_path / "out", ONE)
    with ThreadPoolExecutor() as pool:
        with locked_folder(tmp_path / "out"):
            second = pool.submit(write, tmp_path / "out", TWO)
            with pytest.raises(TimeoutError):
                second.result(timeout=0.5)
            assert content_but_aside(tmp_path / "out") == ONE
        second.result(timeout=30)
    assert content(tmp_path / "out") == TWO | {"other": "1"}
    assert {path.name for path in (tmp_path / "out").iterdir()} == {"last.json", "other", "parts", MANIFEST}


def content_but_aside(folder: Path) -> dict[str, str]:
    return {name: text for name, text in content(folder).items() if not name.startswith(ASIDE)}


def test_what_is_read_only_is_said_before_anything_is_computed(
    tmp_path: Path, read_only: Callable[[Path], None]
) -> None:
    write(tmp_path / "disk" / "out", ONE)
    read_only(tmp_path / "disk")
    (tmp_path / "file").touch()
    for folder in (tmp_path / "file", tmp_path / "file" / "deep"):
        with pytest.raises(UserError, match=r"/file is a file; choose another place"):
            check_free(folder, WHO, ["last.json"])
    for folder in (tmp_path / "disk" / "out", tmp_path / "disk" / "new" / "deep"):
        with pytest.raises(UserError, match=r"may not be written to; choose another place"):
            check_free(folder, WHO, ["last.json"])
