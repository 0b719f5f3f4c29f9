"""Types a tutorial: its commands in their order, its Python, the files that it shows; and takes its picture.

``python -m tests.tutorials edf FOLDER`` does in a folder, whose ``outputs`` has what `make demo` left, all that a page
says, in full, and takes its picture anew: minutes to half an hour. A block of a page is

- ``bash``: its lines, one after the other. Of these only Python's are typed: what installs, or asks a scheduler, is the
  reader's. One with the number of a job of Slurm's is typed for each of five.
- ``python`` or ``yaml`` whose first line is a comment with a path: a file, which is written there.
- any other ``python``: a script, which is run.
"""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path

from PIL import Image

from tests.browser import Browser
from tests.test_commands import ROOT, command

BLOCK = re.compile(r"^```(\w+)\n(.*?)^```", flags=re.MULTILINE | re.DOTALL)
_FILE = re.compile(r"# ([\w./-]+\.(?:py|yaml))[ \n]")
_JOB = "$SLURM_ARRAY_TASK_ID"

Done = list[tuple[list[str], "subprocess.CompletedProcess[str]"]]

_REPORT = "outputs/reports/*/index.html"
# Of each tutorial: the page to open, and what of it is shown: from the first element to the last.
PICTURES: dict[str, dict[str, tuple[str, ...]]] = {
    "edf": {"timeline.png": ("predicted/night/page/index.html", "#overview")},
    "network": {"tutorial-network.png": (_REPORT, "#ranking h2", "#ranking .panel")},
    "report": {
        "tutorial-report.png": ("report/index.html", "#ranking h2", "#ranking .panel + .panel"),
        "tutorial-eeg.png": ("report/eeg.html", "#eeg-title", "#eeg-votes", "#eeg-long"),
        "tutorial-bands.png": ("report/index.html", "#blend-weights", "#disagreement"),
    },
    "cluster": {"tutorial-cluster.png": (_REPORT, "#learning-curves h2", "#learning-curves .panel")},
}

HERE = {"cluster": {"trainer=gpu": "", "srun ": ""}}  # what is typed in place of something on a page that is not here


def page_of(name: str) -> Path:
    return ROOT / "docs" / f"tutorial_{name}.md"


def type_page(name: str, folder: Path, instead: Mapping[str, str], more: Callable[[list[str]], list[str]]) -> Done:
    """Do in a folder what a page says, and return each command with what became of it.

    Parameters
    ----------
    name : str
        Of the tutorial.
    folder : Path
        Where.
    instead : mapping of str to str
        What is typed in place of something on the page.
    more : callable
        From a command's words to what is typed behind them, such as the settings of a smaller network.
    """
    text, done = page_of(name).read_text(), Done()
    for old, new in instead.items():
        assert old in text, f"{name}: {old} does not stand on the page"
        text = text.replace(old, new)
    for language, block in BLOCK.findall(text):
        if named := _FILE.match(block):
            path = folder / named[1]
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(block)
        elif language == "python":
            (folder / "tutorial_step.py").write_text(block)
            done.append((["tutorial_step"], command(folder, "tutorial_step")))
        elif language == "bash":
            for line in block.replace("\\\n", " ").splitlines():
                for job in range(5 if _JOB in line else 1):
                    words = shlex.split(line.replace(_JOB, str(job)), comments=True)
                    if words[:2] == ["python", "-m"]:
                        words = [*words[2:], *more(words[2:])]
                        done.append((words, command(folder, *words)))
    return done


def take_pictures(name: str, folder: Path) -> None:
    with tempfile.TemporaryDirectory() as profile:
        browser = Browser(Path(profile))
        for picture, (page, *parts) in PICTURES[name].items():
            browser.open(max(folder.glob(page)), size=(1300, 900))
            for part in parts:  # a diagram is drawn when it comes into view
                browser.wait("document.querySelector('.main-svg')")
                browser.run("document.querySelector(arguments[0]).scrollIntoView({behavior: 'instant'})", part)
                browser.wait(f"document.querySelector('{part}').clientHeight > 20")
                if browser.run("return document.querySelector(arguments[0] + ' .figure')", part):
                    browser.wait(f"document.querySelector('{part} .figure .main-svg')")
            browser.run("scrollTo({top: 0, behavior: 'instant'})")  # with its head, which stays in view
            path = browser.screenshot(ROOT / "docs" / "images" / picture, *parts)
            Image.open(path).convert("RGB").quantize(128, Image.Quantize.MEDIANCUT).save(path, optimize=True)
        browser.close()


if __name__ == "__main__":
    name, folder = sys.argv[1], Path(sys.argv[2])
    for words, result in type_page(name, folder, HERE.get(name, {}), lambda words: []):
        sys.stdout.write(f"{' '.join(words)}\n{result.stdout}\n")
    take_pictures(name, folder)
