"""Networks along a recording: a window at each step, the signal filtered once and not once for each window.

Where a front-end reads filtered EEG, a stretch of many windows is filtered as one signal, which is what a window would
get that knew what lies around it, and windows are cut from that. Windows that reach beyond the recording's ends, or
into a gap, are made and predicted one by one, as those of a data set; so are those of pictures.
"""

# Legend of tensor names: R run (network), N row, B window of a batch, T sample, C channel, D derivation, K class.

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from hbac.common.choices import check_choice
from hbac.common.errors import UserError
from hbac.data.windows import Batch
from hbac.inference.kept import Chunk, kept_or
from hbac.inference.networks import Networks
from hbac.reading.opened import Recording
from hbac.recordings.amplitudes import N_LOOKS
from hbac.recordings.outside import OUTSIDE, fill_gaps, fill_outside
from hbac.signal.band import BandPass
from hbac.signal.front_end import EEGFrontEnd
from hbac.signal.montage import REGIONS, channel_mirror, derivation_weights, region_derivations
from hbac.signal.tta import PLAIN
from hbac.vocabulary import CENTRAL_S, N_CLASSES, SFREQ, WINDOW_SAMPLES

_CHUNK_S = 1200.0  # of rows that are read, filtered and kept at a time
_HALF = WINDOW_SAMPLES // 2
_CENTRE = round(CENTRAL_S * SFREQ) // 2
_SEEN_LONG = ("swap",)  # variants of a long signal that are those of its windows

Report = Callable[[int, int], None]


@dataclass(frozen=True)
class Steps:
    """Where windows lie along a recording."""

    step_s: float  # from one to the next
    middle: NDArray[np.int64]  # the middle of each, in samples at 200 Hz
    share: NDArray[np.float32]  # how much of each window was recorded, 0 to 1
    said: NDArray[np.bool_]  # whether half or more of its central ten seconds was: nothing is said of others

    @classmethod
    def of(cls, recording: Recording, step_s: float) -> Steps:
        """Lay windows over a recording: row i is about ``[i * step_s, (i + 1) * step_s)``.

        A step that is no whole number of samples at 200 Hz is a `UserError`.
        """
        step = round(step_s * SFREQ) if 0 < step_s < np.inf else 0
        if step < 1 or abs(step - step_s * SFREQ) > 1e-6:
            raise UserError(f"step_s={step_s:g}: must be a multiple of {1 / SFREQ:g} s, above 0")
        middle = np.arange(max(1, recording.n_times // step), dtype=np.int64) * step + step // 2
        return cls.at(recording, step_s, middle)

    @classmethod
    def at(cls, recording: Recording, step_s: float, middle: NDArray[np.int64]) -> Steps:
        """Take windows around given samples; a row is about ``step_s`` seconds."""
        share = _recorded(recording, middle, _HALF) / np.float32(WINDOW_SAMPLES)
        said = _recorded(recording, middle, _CENTRE) >= _CENTRE
        return cls(step_s, middle, share.astype(np.float32), said)


def _recorded(recording: Recording, middle: NDArray[np.int64], half: int) -> NDArray[np.int64]:
    """Count the samples that were recorded within so many of each middle."""
    total_N = np.zeros(len(middle), np.int64)
    for begin, end in recording.bounds:
        total_N += np.clip(np.minimum(middle + half, end) - np.maximum(middle - half, begin), 0, None)
    return total_N


def derivations_of(front_end: torch.nn.Module) -> list[str]:
    """Name the derivations that a front-end makes of electrodes, each once."""
    found: dict[str, None] = {}
    for module in front_end.modules():
        names = getattr(getattr(module, "montage", None), "derivations", None) or getattr(module, "channels", ())
        for name in names if isinstance(names, tuple) else ():
            found |= dict.fromkeys(region_derivations(name) if name in REGIONS else [name])
    return list(found)


def check_readable(networks: Networks, recording: Recording) -> list[str]:
    """Refuse what is shorter than the ten seconds that are labelled; then as `check_montages`."""
    if recording.duration_s < CENTRAL_S:
        raise UserError(f"{recording.name}: {recording.duration_s:g} s long; it must have {CENTRAL_S:g} s or more")
    return check_montages(networks, recording)


def check_montages(networks: Networks, recording: Recording) -> list[str]:
    """Refuse a recording from which a network's derivations cannot be made; the error names them.

    Returned is what is worth a note: networks that see the reference, which differs from one laboratory to the next.
    """
    if networks.sources != ["eeg"]:
        raise UserError(
            f"{recording.name}: a network reads the official spectrograms, which recordings have not; name an ensemble "
            "of networks that read EEG alone"
        )
    notes = []
    for group in networks.groups:
        model = networks.models[group[0]]
        weights = {name: derivation_weights(name) for name in derivations_of(model.front_end)}
        faults = {name: why for name in weights if (why := recording.electrodes.what_is_against(weights[name]))}
        if faults:
            member, shown = model.facts.get("member", "a network"), list(faults.items())[:3]
            listed = "; ".join(f"{name}: {why}" for name, why in shown) + ("; …" if len(faults) > len(shown) else "")
            missing = recording.electrodes.missing
            lacks = f" (the file has no {', '.join(missing)})" if missing else ""
            of = f"{len(faults)} of the {len(weights)} derivations of {member}"
            raise UserError(f"{recording.name}: {of} cannot be made: {listed}{lacks}")
        if any(abs(sum(row.values())) > 1e-9 for row in weights.values()):
            notes.append(f"{model.facts.get('member', 'a network')} sees electrodes against the file's own reference")
    return list(dict.fromkeys(notes))


class _LongSignal:
    """Stretches of a recording as one front-end makes them: filtered once, and windows cut from that."""

    def __init__(self, front_end: EEGFrontEnd, n_times: int) -> None:
        settings = front_end.filter_settings | {"n_times": n_times, "sfreq_out": front_end.sfreq}
        self._bandpass = BandPass(**settings)
        self._front_end = front_end
        self._ratio = front_end.sfreq / SFREQ

    def derived(self, x_CT: Tensor) -> Tensor:
        """Return derivations (D, n) of electrodes without a missing sample."""
        x_DT: Tensor = self._front_end.derive(self._bandpass(x_CT)[None])[0]
        return x_DT

    def cut(self, x_DT: Tensor, starts: Sequence[int]) -> Tensor:
        """Cut windows that begin at samples of the stretch before it was decimated."""
        first = [round(start * self._ratio) for start in starts]
        return torch.stack([x_DT[:, a : a + self._front_end.n_times] for a in first])


class AlongChunks:
    """The windows along a recording in chunks of 20 minutes: what is kept, and may be predicted anywhere.

    `check_montages` has found that the networks can read it. Beyond what was recorded windows are filled as one of
    `OUTSIDE` says; variants are as `hbac.signal.tta.check_variants` returns them. ``starts`` are the first rows of the
    chunks.
    """

    def __init__(
        self,
        networks: Networks,
        recording: Recording,
        steps: Steps,
        outside: str = "reflected",
        batch_size: int = 64,
        variants: Sequence[str] = (PLAIN,),
    ) -> None:
        self.networks, self.recording, self.steps = networks, recording, steps
        self.outside, self.batch_size, self.variants = check_choice("outside", outside, OUTSIDE), batch_size, variants
        n_rows = len(steps.middle)
        self.starts = range(0, n_rows, min(n_rows, max(1, round(_CHUNK_S / steps.step_s))))

    @cached_property
    def _long(self) -> tuple[dict[int, _LongSignal], int, int]:
        """Front-ends that are served by a long signal, by group; its margin on either side; samples in all."""
        step = round(self.steps.step_s * SFREQ)
        # A single window is filtered as one: a long filter would be designed for it alone.
        regular = len(self.steps.middle) > 1 and bool((np.diff(self.steps.middle) == step).all())
        regular = regular and set(self.variants) <= {PLAIN, *_SEEN_LONG}
        front_ends = {g: self.networks.models[group[0]].front_end for g, group in enumerate(self.networks.groups)}
        served = {g: f for g, f in front_ends.items() if regular and isinstance(f, EEGFrontEnd) and _serves(f, step)}
        # What the filter's slowest mode needs, in whole steps.
        margin = max((-(-f.bandpass.middle.start // step) * step for f in served.values()), default=0)
        n_times = (self.starts.step - 1) * step + WINDOW_SAMPLES + 2 * margin
        return {g: _LongSignal(f, n_times) for g, f in served.items()}, margin, n_times

    @torch.inference_mode()
    def __call__(self, first: int) -> Chunk:
        """Predict the chunk that begins at a row: probabilities (runs, rows, 6); looks are of the opened recording."""
        networks, outside, variants, device = self.networks, self.outside, self.variants, self.networks.device
        longs, margin, n_times = self._long
        rows = slice(first, first + self.starts.step)
        middle_N, said_N = self.steps.middle[rows], self.steps.said[rows]
        prob_RNK = np.full((len(networks.models), len(middle_N), N_CLASSES), np.nan, np.float32)
        begin = int(middle_N[0]) - _HALF - margin
        x_CT = self.recording.read(begin, begin + max(n_times, int(middle_N[-1]) + _HALF - begin), device)
        start_N = middle_N - _HALF - begin
        whole_N = _whole(self.recording, x_CT, start_N)
        derived: dict[tuple[int, str], Tensor] = {}
        if longs and (said_N & whole_N).any():
            filled_CT = torch.from_numpy(fill_gaps(x_CT)).to(device)
            for variant in variants:
                seen_CT = filled_CT[channel_mirror().to(device)] if variant == "swap" else filled_CT
                derived |= {(g, variant): long.derived(seen_CT) for g, long in longs.items()}
        others = [g for g in range(len(networks.groups)) if g not in longs]
        for chosen in _batches(np.flatnonzero(said_N & whole_N), self.batch_size):
            starts = start_N[chosen].tolist()
            prob_RBK = torch.zeros(len(networks.models), len(chosen), N_CLASSES, device=device)
            for (g, _), x_DT in derived.items():
                prob_RBK[networks.groups[g]] += networks.see(g, longs[g].cut(x_DT, starts)) / len(variants)
            if others:
                prob_RBK += networks.predict(_windows(x_CT, starts, outside), variants, others)
            prob_RNK[:, chosen] = prob_RBK.cpu().numpy()
        for chosen in _batches(np.flatnonzero(said_N & ~whole_N), self.batch_size):
            windows = _windows(x_CT, start_N[chosen].tolist(), outside)
            prob_RNK[:, chosen] = networks.predict(windows, variants).cpu().numpy()
        return prob_RNK, np.zeros(N_LOOKS, np.int64)


def _serves(front_end: EEGFrontEnd, step: int) -> bool:
    """Say whether windows begin at samples of the decimated signal, and are filtered alike whatever is in them."""
    return front_end.settings["notch"] != "auto" and (step * front_end.sfreq / SFREQ) % 1 == 0


def predict_along(work: AlongChunks, kept: Path | None = None, report: Report | None = None) -> NDArray[np.float32]:
    """Predict a recording with every network: (runs, rows, 6), NaN where nothing is said.

    What is done is kept in a folder named after all that decides it; `report` is told how many rows of how many are
    done.
    """
    tell, n_rows = report or (lambda _done, _total: None), len(work.steps.middle)
    chunks = []
    for first in work.starts:
        tell(first, n_rows)
        chunks.append(kept_or(kept, first, partial(work, first))[0])
    tell(n_rows, n_rows)
    return np.concatenate(chunks, axis=1)


def _windows(x_CT: NDArray[np.float32], starts: Sequence[int], outside: str) -> Batch:
    windows = [fill_outside(x_CT[:, start : start + WINDOW_SAMPLES], outside).T for start in starts]
    eeg_BTC = torch.from_numpy(np.ascontiguousarray(np.stack(windows)))
    return {"eeg": eeg_BTC, "row": torch.arange(len(starts))}


def _whole(recording: Recording, x_CT: NDArray[np.float32], start_N: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Say which windows have each sample of each channel that the recording has."""
    there = [c for c, part in enumerate(recording.electrodes.part) if part >= 0]
    missing_T = ~np.isfinite(x_CT[there]).all(axis=0)
    before_T = np.concatenate([[0], np.cumsum(missing_T)])
    whole_N: NDArray[np.bool_] = before_T[start_N + WINDOW_SAMPLES] == before_T[start_N]
    return whole_N


def _batches(rows: NDArray[np.int64], size: int) -> Iterator[NDArray[np.int64]]:
    for first in range(0, len(rows), size):
        yield rows[first : first + size]
