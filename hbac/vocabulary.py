"""The field's fixed words, each in its one order: classes, electrodes, columns, rates.

Everything that needs an order (of classes, of channels, of hemispheres) takes it from here; nothing else in
the project spells these names out again.

References
----------
Electrode names and places: the international 10-20 system, in the older naming that the HMS data use
(T3, T4, T5, T6 are today's T7, T8, P7, P8).
Class names: ACNS Standardized Critical Care EEG Terminology 2021, doi:10.1097/WNP.0000000000000806.
"""

from __future__ import annotations

CLASSES = ("seizure", "lpd", "gpd", "lrda", "grda", "other")
N_CLASSES = len(CLASSES)
VOTE_COLUMNS = tuple(f"{name}_vote" for name in CLASSES)
PROB_COLUMNS = tuple(f"{name}_prob" for name in CLASSES)
CONSENSUS_NAMES = ("Seizure", "LPD", "GPD", "LRDA", "GRDA", "Other")

ELECTRODES = (
    "Fp1", "F3", "C3", "P3", "F7", "T3", "T5", "O1", "Fz", "Cz", "Pz",
    "Fp2", "F4", "C4", "P4", "F8", "T4", "T6", "O2",
)  # fmt: skip
CHANNELS = (*ELECTRODES, "EKG")
N_CHANNELS = len(CHANNELS)
CHANNEL_ALIASES = {"T7": "T3", "T8": "T4", "P7": "T5", "P8": "T6", "ECG": "EKG", "EKG1": "EKG", "ECG1": "EKG"}

SFREQ = 200.0
WINDOW_S = 50.0
WINDOW_SAMPLES = int(SFREQ * WINDOW_S)
CENTRAL_S = 10.0

# Chains of electrodes from front to back: L/R the side, L lateral (temporal) and P parasagittal. They name the regions
# of the official spectrograms, and stand in the order of these files.
CHAINS = {
    "LL": ("Fp1", "F7", "T3", "T5", "O1"),
    "RL": ("Fp2", "F8", "T4", "T6", "O2"),
    "LP": ("Fp1", "F3", "C3", "P3", "O1"),
    "RP": ("Fp2", "F4", "C4", "P4", "O2"),
}
SPECTROGRAM_REGIONS = tuple(CHAINS)
SPECTROGRAM_ROW_S = 2.0
SPECTROGRAM_ROWS = 300

MANY_VOTES = 10
FEW_VOTES = 7

# Left/right partner of every channel; the midline and the EKG are their own.
MIRROR = {
    "Fp1": "Fp2", "F3": "F4", "C3": "C4", "P3": "P4", "F7": "F8", "T3": "T4", "T5": "T6", "O1": "O2",
    "Fp2": "Fp1", "F4": "F3", "C4": "C3", "P4": "P3", "F8": "F7", "T4": "T3", "T6": "T5", "O2": "O1",
    "Fz": "Fz", "Cz": "Cz", "Pz": "Pz", "EKG": "EKG",
}  # fmt: skip

# Places on the unit head seen from above: x to the right ear, y to the nose (azimuthal equidistant, so that the
# distance from Cz is the angle on the sphere in units of 90 degrees; the outer 10-20 ring lies at 0.8).
POSITIONS = {
    "Fp1": (-0.247, 0.761), "F7": (-0.647, 0.470), "T3": (-0.800, 0.000), "T5": (-0.647, -0.470),
    "O1": (-0.247, -0.761), "F3": (-0.342, 0.420), "C3": (-0.400, 0.000), "P3": (-0.342, -0.420),
    "Fz": (0.000, 0.400), "Cz": (0.000, 0.000), "Pz": (0.000, -0.400),
    "Fp2": (0.247, 0.761), "F8": (0.647, 0.470), "T4": (0.800, 0.000), "T6": (0.647, -0.470),
    "O2": (0.247, -0.761), "F4": (0.342, 0.420), "C4": (0.400, 0.000), "P4": (0.342, -0.420),
}  # fmt: skip


def channel_name(raw: str) -> str | None:
    """Return which of `CHANNELS` a recorder's name of a channel means; None where it is none of ours.

    It may have any case, ``EEG `` before, ``-Ref`` or ``-LE`` behind, and be a 10-20 or a 10-10 name.

    Examples
    --------
    >>> channel_name("EEG T7-Ref"), channel_name("fp1"), channel_name("A1")
    ('T3', 'Fp1', None)
    """
    name = raw.strip().upper().removeprefix("EEG ").strip()
    name = name.removesuffix("-REF").removesuffix("-LE").strip()
    name = CHANNEL_ALIASES.get(name, name)
    return _CANONICAL.get(name)


_CANONICAL = {name.upper(): name for name in CHANNELS}
