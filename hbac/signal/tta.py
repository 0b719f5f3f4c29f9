"""Test-time augmentation: the same window seen otherwise, before any front-end.

No class is of one side, and none of one direction of time, so that a model should say the same of a window with left
and right exchanged, or played backwards; the mean over the variants says it with less noise.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from torch import Tensor

from hbac.common.choices import check_choice
from hbac.signal.image_front_end import official_mirror
from hbac.signal.montage import channel_mirror

PLAIN = "plain"
VARIANTS = ("swap", "reverse")

# Legend of tensor names: B window, T time, C stored channel or column.


def check_variants(names: Sequence[str]) -> tuple[str, ...]:
    """Check names of `VARIANTS`; return ``plain`` first, then these, each once."""
    return (PLAIN, *dict.fromkeys(check_choice("tta", name, VARIANTS) for name in names))


def variant_of(name: str, windows: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Make one variant of a batch: ``eeg`` (batch, samples, 20), ``official`` (batch, rows, 400), or both, as stored.

    ``plain`` is the batch; ``swap`` exchanges left and right, electrode for electrode and region for region; in
    ``reverse`` time runs backwards.

    Examples
    --------
    >>> import torch
    >>> eeg = torch.randn(1, 10, 20)
    >>> twice = variant_of("swap", variant_of("swap", {"eeg": eeg}))["eeg"]
    >>> bool((twice == eeg).all())
    True
    """
    if name == "reverse":
        return {source: window_BTC.flip(1) for source, window_BTC in windows.items()}
    if name == "swap":
        mirrors = {"eeg": channel_mirror, "official": official_mirror}
        return {
            source: window_BTC.index_select(2, mirrors[source]().to(window_BTC.device))
            for source, window_BTC in windows.items()
        }
    return dict(windows)
