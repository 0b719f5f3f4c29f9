"""How long ``python -m hbac.report`` takes, how large the report is, and how fast it opens.

    python benchmarks/report.py

Twenty members of five folds and two ensembles of them, predictions made up, on noise in the HMS layout; fifty windows,
each with its saliency by a network of the best member, whose weights are chance. The report has to be written in under
60 s, to be smaller than 30 MB, and to open in under 3 s: until what is on the first screen is drawn, in headless
Chromium, whose own start is not counted.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from hbac.common.instantiate import build
from hbac.ensembling.build import build_ensemble
from hbac.ensembling.collect import collect
from hbac.runs.model import save_model
from tests.browser import Browser
from tests.helpers import write_hms_layout
from tests.reports import write_runs

ROOT = Path(__file__).resolve().parents[1]
BUILD_S, OPEN_S, SIZE_MB = 60, 3, 30


def main() -> None:
    """Time, print, and exit with 1 where a promise isn't kept."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--members", type=int, default=20)
    parser.add_argument("--eegs", type=int, default=400, help="about two label rows each")
    parser.add_argument("--windows", type=int, default=50)
    parser.add_argument("--out", type=Path, help="where to keep the report; a temporary folder by default")
    parser.add_argument("--smoke", action="store_true", help="smallest sizes, in seconds; promises are not checked")
    options = parser.parse_args()
    if options.smoke:
        options.members, options.eegs, options.windows = 2, 24, 3
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        out = options.out or folder / "report"
        root = write_hms_layout(folder / "data", n_eegs=options.eegs, n_test=0, with_spectrograms=True)
        settings = [[f"band=0.5-{20 + number}"] for number in range(options.members)]
        runs = write_runs(folder, root, settings, n_folds=5, n_epochs=30)
        write_weights(runs[0])
        ensembles = [folder / "ensembles" / method for method in ("convex", "log_linear")]
        for ensemble in ensembles:
            build_ensemble(collect(runs), ensemble, method=ensemble.name)
        named = ",".join(map(str, [*runs, *ensembles]))
        command = ["-m", "hbac.report", f"runs=[{named}]", f"out={out}", f"windows={options.windows}"]
        began = time.perf_counter()
        where = os.environ | {"PYTHONPATH": str(ROOT)}
        subprocess.run([sys.executable, *command, f"outputs={folder}"], check=True, env=where)
        build_s = time.perf_counter() - began
        used = resource.getrusage(resource.RUSAGE_CHILDREN)
        cpu_s = (
            used.ru_utime + used.ru_stime
        )  # the report is the only child so far: what it takes on a busy machine, too
        size_mb = sum(path.stat().st_size for path in out.rglob("*") if path.is_file()) / 1e6
        open_s = time_opening(out / "index.html", folder / "profile")
    print(f"{options.members} members, {len(ensembles)} ensembles, {options.windows} windows")
    print(f"written in {build_s:.1f} s ({cpu_s:.1f} s of one core), {size_mb:.1f} MB, opens in {open_s:.2f} s")
    sys.exit(0 if (build_s < BUILD_S and size_mb < SIZE_MB and open_s < OPEN_S) or options.smoke else 1)


def write_weights(member: Path) -> None:
    """Give the runs of a member the network that their config asks for."""
    for run in member.iterdir():
        config = json.loads((run / "config.json").read_text())
        front_end = build(config["front_end"], "front_end")
        network = {**config["model"], **front_end.network_arguments()}
        save_model(run, build(network, "network").eval(), network, config["front_end"], {"member": member.name})


def time_opening(index: Path, profile: Path) -> float:
    """Return the seconds until the first screen is drawn, the first time the browser sees it."""
    browser = Browser(profile)
    try:
        browser.open(index)
        browser.wait("document.documentElement.dataset.opened")
        return float(browser.run("return document.documentElement.dataset.opened")) / 1000
    finally:
        browser.close()


if __name__ == "__main__":
    main()
