"""Labels as files have them, and the electrodes that follow from them."""

from __future__ import annotations

import numpy as np
import pytest

from hbac.reading.names import Lead, electrodes_of, parse_label
from hbac.reading.source import Signal
from hbac.signal.montage import MONTAGES, derivation_weights
from hbac.vocabulary import CHANNELS, ELECTRODES
from tests.recorded import CHB_MIT


@pytest.mark.parametrize(
    ("label", "name", "reference"),
    [
        ("Fp1", "Fp1", ""), ("FP1", "Fp1", ""), ("EEG FP1-REF", "Fp1", ""), ("EEG Fp1-Ref", "Fp1", ""),
        ("EEG FP1-LE", "Fp1", "LE"), ("T7-Avg", "T3", "AVG"), ("p8", "T6", ""), ("POL T4", "T4", ""),
        ("EEG T8 - Ref", "T4", ""), ("  eeg  cz ", "Cz", ""), ("Fp1_A2", "Fp1", "A2"), ("C3:M2", "C3", "M2"),
        ("FP1-F7", "Fp1", "F7"), ("P7-T7", "T5", "T3"), ("T8-P8-1", "T4", "T6"), ("Fz-0", "Fz", ""),
        ("T7-FT9", "T3", "FT9"), ("EEG Fc1", "FC1", ""), ("EKG1", "EKG", ""), ("ECG", "EKG", ""),
        ("EKG EKG", "EKG", ""), ("EEG EKG-LE", "EKG", ""), ("ECG1-ECG2", "EKG", ""),
        ("Fc5.", "FC5", ""), ("Cz..", "Cz", ""), ("EEG.Fp1", "Fp1", ""), (" eeg t7. - le ", "T3", "LE"),
        ("C3/A2", "C3", "A2"), ("Fp1-A1A2", "Fp1", "LE"), ("F3-A1+A2", "F3", "LE"), ("POL Fp1-Ref", "Fp1", ""),
    ],
)  # fmt: skip
def test_a_label_names_electrode_and_reference(label: str, name: str, reference: str) -> None:
    assert parse_label(label) == Lead(name, reference)


@pytest.mark.parametrize("label", ["SPO2", "DC1-DC", "EEG 26-LE", "PHOTIC PH", "1", "", "OorLiTop", "Sph1", "HR", "MK"])
def test_what_is_no_electrode_is_none(label: str) -> None:
    assert parse_label(label) is None


def leads(*labels: str) -> list[Lead]:
    return [lead for lead in map(parse_label, labels) if lead is not None]


def test_any_common_reference_cancels() -> None:
    potential = dict(zip([*ELECTRODES, "A1"], np.random.default_rng(0).standard_normal(20), strict=True))
    found = electrodes_of(leads(*(f"{name}-A1" for name in ELECTRODES)))
    signals = np.array([potential[name] - potential["A1"] for name in ELECTRODES])
    for montage in MONTAGES.values():
        for derivation in montage.derivations:
            weights = derivation_weights(derivation)
            assert found.what_is_against(weights) == ""
            if abs(sum(weights.values())) < 1e-9:
                wanted = sum(weight * potential[name] for name, weight in weights.items())
                got = sum(w * (found.matrix @ signals)[CHANNELS.index(name)] for name, w in weights.items())
                assert got == pytest.approx(wanted)


def test_derivations_alone_serve_what_lies_within_their_chains() -> None:
    found = electrodes_of(leads(*CHB_MIT))
    assert [CHB_MIT[i] for i in found.repeated] == ["P7-T7", "T8-P8"]
    potential = dict(zip([*ELECTRODES, "FT9", "FT10"], np.random.default_rng(1).standard_normal(21), strict=True))
    signals = np.array([potential[lead.name] - potential[lead.reference] for lead in leads(*CHB_MIT)])
    channel = found.matrix @ signals
    for name in ("longitudinal_bipolar", "public_8", "chains_16"):
        for derivation in MONTAGES[name].derivations:
            assert found.what_is_against(derivation_weights(derivation)) == ""
            a, b = derivation.split("-")
            wanted = potential[a] - potential[b]
            assert channel[CHANNELS.index(a)] - channel[CHANNELS.index(b)] == pytest.approx(wanted)
    assert "share no reference" in found.what_is_against(derivation_weights("Fz-F4"))
    assert found.what_is_against(derivation_weights("Fp1-AVG")) != ""
    assert "differences of electrodes only" in found.what_is_against(derivation_weights("Cz"))


def test_two_references_are_two_parts() -> None:
    left = [f"{name}-A1" for name in ("Fp1", "F3", "C3")]
    found = electrodes_of(leads(*left, "Fp2-A2", "F4-A2"))
    assert found.what_is_against({"Fp1": 1.0, "C3": -1.0}) == ""
    assert found.what_is_against({"Fp1": 1.0, "Fp2": -1.0}) == "Fp1 and Fp2 share no reference"
    joined = electrodes_of(leads(*left, "Fp2-A2", "F4-A2", "A1-A2"))
    assert joined.what_is_against({"Fp1": 1.0, "Fp2": -1.0}) == ""
    assert found.what_is_against({"Fp1": 1.0, "F7": -1.0}) == "F7 missing"


@pytest.mark.parametrize(
    ("unit", "uv"),
    [
        ("uV", 1.0), ("UV", 1.0), (" µV ", 1.0), ("μV", 1.0), ("microvolts", 1.0), ("", 1.0), ("mV", 1e3), ("V", 1e6),
        ("Volts", 1e6), ("nV", 1e-3), ("%", None), ("bpm", None), ("mmHg", None), ("vu", None),
    ],
)  # fmt: skip
def test_units_by_any_spelling(unit: str, uv: float | None) -> None:
    assert Signal("Fp1", unit, 200.0).uv == uv
