"""What Lightning says that helps nobody here, and why each of it is left out."""

from __future__ import annotations

import logging
import os
import warnings

_IGNORED = (
    # Lightning 2.6 calls a torch function that torch 2.14 renamed; nothing a user can do.
    (r"`isinstance\(treespec, LeafSpec\)` is deprecated", FutureWarning),
    # Small data sets have fewer batches than the interval; metrics are logged once an epoch anyway.
    (r"The number of training batches \(\d+\) is smaller than the logging interval", UserWarning),
    # Windows are copied from a memory map in under a millisecond each: more workers do not help a CPU.
    (r"The '\w+' does not have many workers", UserWarning),
    # Resuming into the same folder is what a resumed run does.
    (r"Checkpoint directory .* exists and is not empty", UserWarning),
)


def quiet() -> None:
    """Silence the messages above and Lightning's announcements, for this process."""
    for room in ("lightning.pytorch", "lightning.fabric"):
        logging.getLogger(room).setLevel(logging.ERROR)
    for message, category in _IGNORED:
        warnings.filterwarnings("ignore", message=message, category=category)
    if "SLURM_JOB_ID" not in os.environ:  # on a login node; in a job it is worth saying, since signals need srun
        warnings.filterwarnings("ignore", message="The `srun` command is available")
