"""``python -m hbac``: what commands there are."""

from __future__ import annotations

import sys

from hbac import __version__

COMMANDS = {
    "train": "train one fold, or with -m sweep over anything and blend the result",
    "ensemble": "blend runs, sweeps, ensembles or prediction tables",
    "infer": "predict with an ensemble; of a test part, write the submission",
    "export": "write one file that predicts without hbac, the Hub's folder, or Kaggle's",
    "workspace": "set W&B's pages of a project up",
    "prepare": "check a data set, build its stores, look for leaks; list=models: what there is",
    "report": "write a report that opens in a browser, without a server",
}


def main() -> None:
    """Print the commands, or with ``--version`` the version."""
    if "--version" in sys.argv[1:]:
        sys.stdout.write(f"hbac {__version__}\n")
        return
    lines = [f"  python -m hbac.{name:<10} {purpose}" for name, purpose in COMMANDS.items()]
    sys.stdout.write("\n".join(["hbac classifies harmful brain activity in EEG.", "", *lines, ""]))
    sys.stdout.write(
        "\nEach has --help. First steps: python -m hbac.train model=resnet_gru band=0.5-20 -m fold=0,1,2,3,4\n"
    )


if __name__ == "__main__":
    main()
