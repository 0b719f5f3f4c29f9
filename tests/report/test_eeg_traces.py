"""The traces of the EEG page in Chromium: scipy's filters, gaps, mains, heights, colours."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy.signal import butter, filtfilt, iirnotch, sosfiltfilt

from hbac.data.windows import source_of
from hbac.predictions import PredictionTable
from hbac.recordings.datasets import HMS, Part
from hbac.report.eeg_data import stored, window_contents, write_window
from hbac.report.eeg_packing import pack_signal, quantise
from hbac.report.eeg_page import MONTAGES, write_eeg_page
from hbac.signal import get_montage
from hbac.signal.reading_order import reading_order
from hbac.vocabulary import CHANNELS, SFREQ, WINDOW_SAMPLES
from tests.browser import Browser
from tests.report.eeg_reader import SHOWN, TRACES, choose, press, shown


def wanted(
    part: Part, label_id: int, montage: str, low: float, high: float, lines: Sequence[float] = ()
) -> dict[str, np.ndarray]:
    """Derivations from 20 to 30 s, filtered by scipy."""
    row = np.flatnonzero(part.rows["label_id"].to_numpy() == label_id)
    step_CT, uv_C = quantise(stored(source_of(part, "eeg").copy(row))[0].numpy())
    x_CT = step_CT * np.array(uv_C)[:, None]
    for hz in lines:
        x_CT = filtfilt(*iirnotch(hz, hz / 2, SFREQ), x_CT, padtype="even", padlen=2400)
    for hz, kind in ((low, "highpass"), (high, "lowpass")):
        if hz:
            sos = butter(2, hz, kind, fs=SFREQ, output="sos")
            x_CT = sosfiltfilt(sos, x_CT, padtype="even", padlen=2400)
    found = get_montage(montage)
    return dict(zip(found.derivations, (found.matrix.double().numpy() @ x_CT)[:, 4000:6001], strict=True))


@pytest.mark.parametrize(
    ("montage", "low", "high", "notch"),
    [
        *((montage, 0.5, 70, 0) for montage in MONTAGES),
        ("longitudinal_bipolar", 0.1, 15, 0),
        ("longitudinal_bipolar", 5, 0, 60),
        ("longitudinal_bipolar", 0, 0, 0),
    ],
)
def test_traces_are_those_of_scipy(
    opened: Browser, part: Part, windows: pd.DataFrame, montage: str, low: float, high: float, notch: int
) -> None:
    for name, value in (("montage", montage), ("low", low), ("high", high), ("notch", notch)):
        choose(opened, name, f"{value}")
    traces = {name: (time, uv, y) for name, time, uv, y, _ in opened.run(TRACES)}
    derived = wanted(part, int(windows["label_id"][0]), montage, low, high, [notch] if notch else [])
    assert list(traces) == [*(name for group in reading_order(montage) for name in group), "EKG"]
    for name, signal in derived.items():
        time, uv, y = traces[name]
        np.testing.assert_allclose(time, 20 + np.arange(len(signal)) / SFREQ)
        there = np.array([value is not None for value in uv])
        assert there.mean() > 0.9
        np.testing.assert_allclose(np.array(uv)[there].astype(float), signal[there], atol=1e-3)
        # On the axis, which points down, what is positive lies below: negative is up.
        millimetre = 96 / 25.4
        drawn = np.array(y)[there].astype(float)
        step = np.clip(np.array(uv)[there].astype(float) / 7 * millimetre, -100, 100)
        np.testing.assert_allclose(drawn - step, np.full(len(step), (drawn - step).mean()), atol=1e-3)
    assert opened.run("return document.getElementById('eeg-figure').layout.yaxis.range") == [560, 0]


@pytest.fixture(scope="module")
def real(iiic_root: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Part]:
    part = HMS(iiic_root, tmp_path_factory.mktemp("stores")).part("train")
    windows = pd.DataFrame({"label_id": part.rows["label_id"], "why": "chosen"})
    return write_eeg_page(tmp_path_factory.mktemp("real"), part, windows, {}), part


def test_real_windows_are_readable_at_the_defaults(browser: Browser, real: tuple[Path, Part]) -> None:
    """Of the page that is shown first, hardly a trace reaches over its neighbours, whatever the mains."""
    path, part = real
    browser.open(path, size=(1400, 1000))
    for number, label_id in enumerate(part.rows["label_id"]):
        if number:
            press(browser, "ArrowRight", shift=True)
        browser.wait(f"{SHOWN}?.startsWith('{label_id} ')")
        with_mains = 60 if number >= 2 else 0
        assert shown(browser)[1:] == ["longitudinal_bipolar", "0.5", "70", str(with_mains), "20", "30"]
        text = browser.run("return document.getElementById('eeg-said').textContent")
        assert ("Mains at 60 Hz found" in text) == bool(with_mains)
        uv = {name: np.array(values, float) for name, _, values, _, _ in browser.run(TRACES) if name != "EKG"}
        mains_uv = [
            np.abs(np.fft.rfft(values[:2000] * np.hanning(2000)))[600] / 500 for values in uv.values()
        ]  # at 60 Hz
        assert not with_mains or max(mains_uv) < 3.0  # of up to 5,500, whose frequency wanders; a pixel and a half
        sensitivity = 15 if number < 2 else 7  # two seizures of up to a millivolt
        assert ("traces would cover one another: 15" in text) == (number < 2)
        large = [np.quantile(np.abs(values), 0.95) / sensitivity * 96 / 25.4 for values in uv.values()]
        assert np.median(large) < 40  # pixels; from one row to the next it is 25
    choose(browser, "sensitivity", "7")  # a reader's own one stays
    for _ in range(11):
        press(browser, "ArrowLeft", shift=True)
    assert browser.run("return document.getElementById('eeg-sensitivity').value") == "7"
    assert "cover one another" not in browser.run("return document.getElementById('eeg-said').textContent")
    assert browser.console() == []


def test_the_notch_is_scipy_s_on_a_window_with_five_millivolts_of_mains(
    browser: Browser, real: tuple[Path, Part]
) -> None:
    path, part = real
    label_id = int(part.rows["label_id"].iloc[10])
    browser.open(path, size=(1400, 1000))
    browser.run("location.hash = arguments[0]", str(label_id))
    browser.wait(f"{SHOWN}?.startsWith('{label_id} ')")
    derived = wanted(part, label_id, "longitudinal_bipolar", 0.5, 70, [60, 20, 40, 80])
    for name, _, uv, _, _ in browser.run(TRACES):
        if name != "EKG":
            np.testing.assert_allclose(np.array(uv, float), derived[name], atol=0.01)
    choose(browser, "notch", "0")
    assert "notch is off" in browser.run("return document.getElementById('eeg-said').textContent")
    assert max(np.ptp(np.array(trace[2], float)) for trace in browser.run(TRACES)[:-1]) > 1000


def test_missing_samples_are_gaps(opened: Browser, part: Part, windows: pd.DataFrame) -> None:
    row = np.flatnonzero(part.rows["label_id"].to_numpy() == windows["label_id"][0])
    eeg_TC = source_of(part, "eeg").copy(row)[0, 4000:6001].float().numpy()
    missing = ~np.isfinite(eeg_TC[:, [CHANNELS.index(name) for name in ("Fp1", "F7")]]).all(axis=1)
    uv = next(trace[2] for trace in opened.run(TRACES) if trace[0] == "Fp1-F7")
    assert [value is None for value in uv] == missing.tolist()
    assert missing.any()
    assert "not recorded" in opened.run("return document.getElementById('eeg-said').textContent")


def test_filters_change_the_data_and_the_sensitivity_its_height(opened: Browser) -> None:
    def extent(column: int) -> float:
        return float(np.ptp([v for v in opened.run(TRACES)[2][column] if v is not None]))

    choose(opened, "sensitivity", "30")
    wide, low = extent(2), extent(3)
    choose(opened, "sensitivity", "15")
    assert extent(3) == pytest.approx(2 * low, rel=1e-4)
    assert extent(2) == wide
    choose(opened, "high", "15")
    choose(opened, "low", "5")
    assert extent(2) < 0.95 * wide


def test_ten_seconds_or_fifty(opened: Browser) -> None:
    figure = "document.getElementById('eeg-figure')"
    ranges = f"return [{figure}._fullLayout.xaxis.range, {figure}.data.at(-1).z[0].length]"
    marks = f"return {figure}.layout.shapes.filter(shape => shape.type === 'rect').map(shape => [shape.x0, shape.x1])"
    assert opened.run(ranges) == [[20, 30], 250]
    assert opened.run(marks) == []
    choose(opened, "span", "50")
    assert opened.run(ranges) == [[0, 50], 250]
    assert opened.run(marks) == [[20, 30]]
    whole = opened.run(TRACES)
    assert [whole[0][1][0], whole[0][1][-1]] == pytest.approx([0, 50], abs=0.1)
    assert len(whole[0][1]) < 3000  # the lowest and the highest sample of each pixel
    assert opened.console() == []


def test_what_would_fill_the_page_is_drawn_smaller_and_said(
    browser: Browser, part: Part, windows: pd.DataFrame, tables: dict[str, PredictionTable], tmp_path: Path
) -> None:
    path = write_eeg_page(tmp_path, part, windows[:1], tables)
    row = np.flatnonzero(part.rows["label_id"].to_numpy() == windows["label_id"][0])
    signal_CT = stored(source_of(part, "eeg").copy(row))[0].numpy()
    signal_CT[CHANNELS.index("T3")] += 3000 * np.sin(2 * np.pi * 3 * np.arange(WINDOW_SAMPLES) / SFREQ)
    (content,) = window_contents(source_of(part, "eeg"), row)
    step_CT, uv_C = quantise(signal_CT)
    loose = content | {"signal": pack_signal(step_CT), "steps_uv": uv_C}
    write_window(tmp_path / "eeg" / f"{windows['label_id'][0]}.js", int(windows["label_id"][0]), loose)
    browser.open(path, size=(1400, 1000))
    browser.wait(SHOWN)
    said = browser.run("return document.getElementById('eeg-said').textContent")
    assert "Drawn smaller, for it would fill the page: F7-T3 ÷100, T3-T5 ÷100." in said
    labels = browser.run("return document.getElementById('eeg-figure').layout.yaxis.ticktext")
    assert [label.split(">")[1].split("<")[0] for label in labels if "÷" in label] == ["F7-T3 ÷100", "T3-T5 ÷100"]


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
def test_left_is_blue_right_is_red_in_both_themes(browser: Browser, written: Path, dark: bool) -> None:
    browser.open(written, dark=dark, size=(1400, 1000))
    browser.wait(SHOWN)
    left, right = ("#7db1f2", "#f28080") if dark else ("#1a52a0", "#b22a2a")
    colours = {trace[0]: trace[4] for trace in browser.run(TRACES)}
    assert {colours[name] for name in ("Fp1-F7", "P3-O1")} == {left}
    assert {colours[name] for name in ("Fp2-F8", "P4-O2")} == {right}
    opposite = "#1a52a0" if dark else "#7db1f2"
    browser.click("#theme")
    label = "document.getElementById('eeg-figure').layout.yaxis.ticktext[0]"
    browser.wait(f"{label}.includes('{opposite}')")
    assert {trace[4] for trace in browser.run(TRACES) if trace[0] == "Fp1-F7"} == {opposite}
