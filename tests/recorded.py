"""EDF files for tests: written by edfio, and spoilt byte by byte."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path

import edfio
import numpy as np
from scipy.signal import lfilter

from hbac.vocabulary import CHANNELS, ELECTRODES

#: The signals of most files of CHB-MIT: derivations alone, two of them twice.
CHB_MIT = (
    "FP1-F7", "F7-T7", "T7-P7", "P7-O1", "FP1-F3", "F3-C3", "C3-P3", "P3-O1", "FP2-F4", "F4-C4", "C4-P4", "P4-O2",
    "FP2-F8", "F8-T8", "T8-P8", "P8-O2", "FZ-CZ", "CZ-PZ", "P7-T7", "T7-FT9", "FT9-FT10", "FT10-T8", "T8-P8",
)  # fmt: skip


def brain(seconds: float, sfreq: float, n_channels: int = len(ELECTRODES), seed: int = 0) -> np.ndarray:
    """Coloured noise of about 20 µV, nothing above 70 Hz: (channels, n) float64."""
    rng = np.random.default_rng(seed)
    n = round(seconds * sfreq)
    eeg = lfilter([1.0], [1.0, -0.97], rng.standard_normal((n_channels, n)), axis=1)
    spectrum = np.fft.rfft(eeg)
    spectrum[:, np.fft.rfftfreq(n, 1 / sfreq) > 70] = 0
    return 5 * np.fft.irfft(spectrum, n)


def write_edf(
    path: Path,
    signals: Mapping[str, np.ndarray] | Sequence[tuple[str, np.ndarray]],
    sfreq: float | Mapping[str, float],
    unit: str = "uV",
    annotations: Sequence[edfio.EdfAnnotation] | None = None,
    bdf: bool = False,
    **about: object,
) -> Path:
    """Write signals in the file's unit, by label; the range of each is its own, so that 16 bits are enough."""
    pairs = list(signals.items()) if isinstance(signals, Mapping) else list(signals)
    kind, bits = (edfio.BdfSignal, 23) if bdf else (edfio.EdfSignal, 15)
    made = []
    for label, values in pairs:
        top = _eight(max(np.abs(values).max() * 1.001, 1e-12))
        rate = sfreq[label] if isinstance(sfreq, Mapping) else sfreq
        ends = {"physical_range": (-top, top), "digital_range": (-(2**bits) + 1, 2**bits - 1)}
        made.append(kind(np.asarray(values, float), rate, label=label, physical_dimension=unit, **ends))
    file = (edfio.Bdf if bdf else edfio.Edf)(made, annotations=annotations, **about)  # type: ignore[arg-type]
    path.parent.mkdir(parents=True, exist_ok=True)
    file.write(path)
    return path


def _eight(value: float) -> float:
    """Round up to two digits, which eight characters hold; edfio writes nothing below 1e-4 in them."""
    exponent = math.floor(math.log10(value)) - 1
    return max(1e-4, float(f"{math.ceil(value / 10.0**exponent)}e{exponent}"))


def write_brain(path: Path, seconds: float = 60.0, sfreq: float = 200.0, **about: object) -> np.ndarray:
    """Write a recording of 19 electrodes and EKG; return its microvolts, (20, n)."""
    eeg = brain(seconds, sfreq, len(CHANNELS))
    write_edf(path, dict(zip(CHANNELS, eeg, strict=True)), sfreq, **about)  # type: ignore[arg-type]
    return eeg


def patch(path: Path, at: int, text: bytes) -> Path:
    """Overwrite bytes of a file."""
    content = bytearray(path.read_bytes())
    content[at : at + len(text)] = text
    path.write_bytes(content)
    return path


def cut_gaps(path: Path, gaps: Mapping[int, float]) -> Path:
    """Make EDF+D of EDF+C: before each record that is named the clock jumps by so many seconds."""
    content = bytearray(path.read_bytes())
    n_signals, n_records = int(content[252:256]), int(content[236:244])
    n_bytes = 256 * (n_signals + 1)
    at = 256 + 216 * n_signals
    sizes = [2 * int(content[at + 8 * i : at + 8 * i + 8]) for i in range(n_signals)]
    record, offset_s, duration_s = sum(sizes), 0.0, float(content[244:252])
    for r in range(n_records):
        offset_s += gaps.get(r, 0.0)
        begin = n_bytes + r * record + sum(sizes[:-1])
        tal = f"+{r * duration_s + offset_s:g}\x14\x14\x00".encode()
        rest = bytes(content[begin : begin + sizes[-1]]).partition(b"\x14\x14\x00")[2]
        content[begin : begin + sizes[-1]] = (tal + rest)[: sizes[-1]].ljust(sizes[-1], b"\x00")
    content[192:197] = b"EDF+D"
    path.write_bytes(content)
    return path


def write_brainvision(header: Path, eeg_CT: np.ndarray, sfreq: float) -> None:
    """Write the 20 channels in µV, a header (``.vhdr``) with samples and markers beside it."""
    name = header.stem
    (0.1 * eeg_CT).T.astype("<f4").tofile(header.with_suffix(".eeg"))  # of a resolution of 10 µV
    channels = "\n".join(f"Ch{i}={name},,10,µV" for i, name in enumerate(CHANNELS, 1))
    header.write_text(
        f"Brain Vision Data Exchange Header File Version 1.0\n[Common Infos]\nCodepage=UTF-8\nDataFile={name}.eeg\n"
        f"MarkerFile={name}.vmrk\nDataFormat=BINARY\nDataOrientation=MULTIPLEXED\nNumberOfChannels=20\n"
        f"SamplingInterval={1e6 / sfreq:g}\n[Binary Infos]\nBinaryFormat=IEEE_FLOAT_32\n[Channel Infos]\n{channels}\n"
    )
    header.with_suffix(".vmrk").write_text(
        f"Brain Vision Data Exchange Marker File, Version 1.0\n[Common Infos]\nDataFile={name}.eeg\n[Marker Infos]\n"
        "Mk1=Comment,seizure?,1251,1,0\n"
    )
