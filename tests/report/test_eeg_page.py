"""The EEG page in Chromium: what it draws, and what its controls and keys do."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy.signal import butter, filtfilt, iirnotch, sosfiltfilt
from scipy.stats import entropy

from hbac.common.errors import UserError
from hbac.data.windows import source_of
from hbac.evaluation.metric import kl_rows
from hbac.labels.targets import votes_to_shares
from hbac.predictions import PredictionTable
from hbac.predictions.metadata import TableMetadata
from hbac.recordings.datasets import HMS, Part
from hbac.report.eeg_data import stored, window_contents, write_window
from hbac.report.eeg_packing import pack_signal, quantise
from hbac.report.eeg_page import MONTAGES, page_index, write_eeg_page
from hbac.signal import get_montage
from hbac.tracking.reading_order import reading_order
from hbac.vocabulary import CHANNELS, CLASSES, CONSENSUS_NAMES, SFREQ, VOTE_COLUMNS, WINDOW_SAMPLES
from tests.browser import Browser

DEFAULTS = ["longitudinal_bipolar", "0.5", "70", "0"]  # no mains in what is simulated
SHOWN = "document.documentElement.dataset.eeg"
TRACES = """
const lines = document.getElementById('eeg-figure').data.filter(trace => trace.type === 'scatter');
return lines.map(line => [line.name, Array.from(line.x), Array.from(line.customdata, v => isNaN(v) ? null : v),
    Array.from(line.y, v => isNaN(v) ? null : v), line.line.color]);
"""


@pytest.fixture(scope="module")
def part(tiny_root: Path, tmp_path_factory: pytest.TempPathFactory) -> Part:
    return HMS(tiny_root, tmp_path_factory.mktemp("stores")).part("train")


@pytest.fixture(scope="module")
def windows(part: Part) -> pd.DataFrame:
    label_id = part.rows["label_id"].to_numpy()[[0, 3, 5, 7]]
    return pd.DataFrame({"label_id": label_id, "why": ["worst", "worst", "random", "because"]})


@pytest.fixture(scope="module")
def tables(part: Part) -> dict[str, PredictionTable]:
    share = votes_to_shares(part.rows)
    found = {}
    for name, floor in (("ensemble", 0.1), ("a <member>", 0.5)):
        prob = (share + floor) / (share + floor).sum(axis=1, keepdims=True)
        found[name] = PredictionTable.from_arrays(part.rows, prob, TableMetadata(name), fold=0)
    half = found["a <member>"].frame.iloc[4:]
    found["half"] = PredictionTable(half, TableMetadata("half"))
    return found


@pytest.fixture(scope="module")
def written(
    part: Part, windows: pd.DataFrame, tables: dict[str, PredictionTable], tmp_path_factory: pytest.TempPathFactory
) -> Path:
    return write_eeg_page(tmp_path_factory.mktemp("report"), part, windows, tables)


@pytest.fixture
def opened(browser: Browser, written: Path) -> Browser:
    browser.open(written, size=(1400, 1000))
    browser.wait(SHOWN)
    return browser


def choose(browser: Browser, name: str, value: str) -> None:
    change = "const s = document.getElementById(arguments[0]); s.value = arguments[1];"
    browser.run(f"{change} s.dispatchEvent(new Event('change'))", f"eeg-{name}", value)
    browser.wait(SHOWN)


def press(browser: Browser, key: str, shift: bool = False) -> None:
    event = "new KeyboardEvent('keydown', {key: arguments[0], shiftKey: arguments[1], bubbles: true})"
    browser.run(f"document.body.dispatchEvent({event})", key, shift)
    browser.wait(SHOWN)


def names(browser: Browser) -> list[str]:
    return [trace[0] for trace in browser.run(TRACES)]


def shown(browser: Browser) -> list[str]:
    return str(browser.run(f"return {SHOWN}")).split()


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


def test_it_opens_without_errors_and_asks_for_nothing_but_its_files(opened: Browser, windows: pd.DataFrame) -> None:
    asked = opened.requests()
    assert opened.console() == []
    assert all(url.startswith("file://") for url in asked)
    first, second = windows["label_id"].tolist()[:2]
    scripts = {
        "eeg_signals.js",
        "eeg_sheet.js",
        "eeg_votes.js",
        "eeg_opinion.js",
        "eeg_drawing.js",
        "eeg_page.js",
        "report.js",
        "plotly.min.js",
        f"{first}.js",
    }
    assert {Path(url).name for url in asked} - {f"{second}.js"} == {"eeg.html", "report.css", "eeg.css", *scripts}
    assert shown(opened) == [str(first), *DEFAULTS, "20", "30"]


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


def test_keys_and_buttons_go_from_window_to_window_and_page_to_page(opened: Browser, windows: pd.DataFrame) -> None:
    first, second, third, _ = map(str, windows["label_id"])
    press(opened, "ArrowRight", shift=True)
    assert shown(opened)[0] == second
    opened.click("#eeg-next")
    opened.wait(SHOWN)
    assert shown(opened)[0] == third
    press(opened, "ArrowRight")
    assert shown(opened) == [third, *DEFAULTS, "30", "40"]
    for _ in range(3):
        press(opened, "ArrowRight")
    assert shown(opened)[-2:] == ["40", "50"]
    for _ in range(5):
        press(opened, "ArrowLeft", shift=True)
    assert shown(opened) == [first, *DEFAULTS, "20", "30"]
    assert opened.run("return document.getElementById('eeg-back').disabled")
    assert opened.run("return location.hash") == f"#{first}"


def test_every_control_keeps_the_place(opened: Browser, windows: pd.DataFrame) -> None:
    first = str(windows["label_id"][0])
    press(opened, "ArrowLeft")
    changes = {"montage": "referential", "low": "5", "high": "15", "notch": "50", "sensitivity": "30"}
    for name, value in changes.items():
        choose(opened, name, value)
        assert shown(opened)[-2:] == ["10", "20"]
    assert shown(opened) == [first, "referential", "5", "15", "50", "10", "20"]
    choose(opened, "span", "5")
    assert shown(opened)[-2:] == ["12.5", "17.5"]
    choose(opened, "span", "20")
    assert shown(opened)[-2:] == ["5", "25"]
    choose(opened, "span", "50")
    choose(opened, "span", "10")
    assert shown(opened)[-2:] == ["20", "30"]


def test_keys_change_what_readers_change(opened: Browser) -> None:
    def value(name: str) -> str:
        return str(opened.run("return document.getElementById(arguments[0]).value", f"eeg-{name}"))

    press(opened, "ArrowUp")
    assert value("sensitivity") == "5"
    for _ in range(12):
        press(opened, "ArrowDown")
    assert value("sensitivity") == "50"
    for key, shift, name, wanted in [
        ("m", False, "montage", "transverse_bipolar"),
        ("M", True, "montage", "longitudinal_bipolar"),
        ("f", False, "high", "0"),
        ("F", True, "high", "70"),
        ("l", False, "low", "1"),
        ("n", False, "notch", "0"),
        ("n", False, "notch", "50"),
    ]:
        press(opened, key, shift)
        assert value(name) == wanted
    assert shown(opened)[4] == "50"
    press(opened, "ArrowRight")
    press(opened, "c")
    assert shown(opened)[-2:] == ["20", "30"]
    visible = "return document.getElementById('eeg-keys').offsetHeight > 0"
    assert not opened.run(visible)
    press(opened, "?")
    assert opened.run(visible)
    opened.click("#eeg-help")
    assert not opened.run(visible)
    assert opened.console() == []


def test_the_list_is_filtered_sorted_and_searched(opened: Browser, part: Part) -> None:
    def listed() -> list[int]:
        return [
            int(at) for at in opened.run("return [...document.querySelectorAll('.eeg-list button')].map(b => b.value)")
        ]

    def want(name: str, value: str) -> None:
        change = "const s = document.getElementById(arguments[0]); s.value = arguments[1];"
        opened.run(f"{change} s.dispatchEvent(new Event('input'))", f"eeg-{name}", value)
        opened.wait(SHOWN)

    rows = part.rows.iloc[[0, 3, 5, 7]]
    shares, n_votes = votes_to_shares(rows), rows[list(VOTE_COLUMNS)].to_numpy().sum(axis=1)
    want("class", CLASSES[shares[2].argmax()])
    assert listed() == np.flatnonzero(shares.argmax(axis=1) == shares[2].argmax()).tolist()
    want("class", "")
    want("population", "10 or more votes")
    assert listed() == np.flatnonzero(n_votes >= 10).tolist()
    assert shown(opened)[0] == str(rows["label_id"].to_numpy()[listed()[0]])
    want("population", "")
    want("order", "dispute")
    assert listed() == np.argsort(-entropy(shares, axis=1), kind="stable").tolist()
    want("search", str(rows["label_id"].iloc[3]))
    assert listed() == [3]
    assert shown(opened)[0] == str(rows["label_id"].iloc[3])
    want("search", "none")
    assert listed() == []
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


def test_a_phone_shows_the_picture_and_nothing_sticks_out(browser: Browser, written: Path) -> None:
    browser.open(written, size=(500, 900))
    browser.wait(SHOWN)
    assert browser.run("return document.documentElement.scrollWidth <= window.innerWidth")
    figure = "document.getElementById('eeg-figure')"
    assert browser.run(f"return {figure}._fullLayout._size.w / {figure}.clientWidth") > 0.8


def test_a_link_to_a_window(browser: Browser, written: Path, windows: pd.DataFrame) -> None:
    browser.open(written)
    browser.wait(SHOWN)
    browser.run("location.hash = arguments[0]", str(windows["label_id"][2]))
    browser.wait(f"{SHOWN}?.startsWith('{windows['label_id'][2]} ')")
    assert browser.run("return document.querySelector('[aria-current=true]').value") == "2"


def test_the_list_says_why_and_how_bad(opened: Browser, part: Part, tables: dict[str, PredictionTable]) -> None:
    headings = opened.run("return [...document.querySelectorAll('.eeg-list h2')].map(h => h.textContent)")
    assert headings == ["highest KL", "at random", "because"]
    words = opened.run(
        "return [...document.querySelectorAll('.eeg-list button span:nth-of-type(1)')].map(e => e.textContent)"
    )
    assert words == [CONSENSUS_NAMES[k] for k in votes_to_shares(part.rows)[[0, 3, 5, 7]].argmax(axis=1)]
    kl = opened.run("return [...document.querySelectorAll('.eeg-list b')].map(b => b.textContent)")
    best = tables["ensemble"]
    assert kl == [f"{kl:.2f}" for kl in kl_rows(best.targets, best.probs)[[0, 3, 5, 7]]]


def test_votes_and_predictions_are_bars(opened: Browser, part: Part, tables: dict[str, PredictionTable]) -> None:
    heads = "return [...document.querySelectorAll('.eeg-member .eeg-head span')].map(e => e.textContent)"
    widths = "return [...document.querySelectorAll(arguments[0])].map(i => parseFloat(i.style.width))"
    assert opened.run(heads) == ["experts", "ensemble", "a <member>"]  # the half does not have this row
    stacks = np.array(opened.run(widths, ".eeg-stack i")).reshape(-1, 6)
    probs = [votes_to_shares(part.rows)[0], tables["ensemble"].probs[0], tables["a <member>"].probs[0]]
    np.testing.assert_allclose(stacks, 100 * np.array(probs), atol=0.01)
    np.testing.assert_allclose(opened.run(widths, ".eeg-bar i")[::2], stacks[0])
    press(opened, "ArrowRight", shift=True)
    press(opened, "ArrowRight", shift=True)
    assert opened.run(heads)[-1] == "half"


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


def test_a_window_whose_file_is_gone_is_named(
    browser: Browser, part: Part, windows: pd.DataFrame, tables: dict[str, PredictionTable], tmp_path: Path
) -> None:
    path = write_eeg_page(tmp_path, part, windows[:1], tables)
    (lost,) = (tmp_path / "eeg").glob("*.js")
    lost.unlink()
    browser.open(path)
    browser.wait("document.getElementById('eeg-said').textContent")
    assert f"eeg/{lost.name}" in browser.run("return document.getElementById('eeg-said').textContent")


def test_windows_that_are_not_there(part: Part, tables: dict[str, PredictionTable], tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no windows"):
        write_eeg_page(tmp_path, part, pd.DataFrame({"label_id": [], "why": []}), tables)
    with pytest.raises(UserError, match="train part has no label_id 17"):
        write_eeg_page(tmp_path, part, pd.DataFrame({"label_id": [17], "why": ["chosen"]}), tables)
    nameless = pd.DataFrame({"label_id": [-1], "eeg_id": [3], "eeg_sub_id": [0], "why": ["worst"]})
    with pytest.raises(UserError, match="train part has no eeg_id 3, eeg_sub_id 0"):
        write_eeg_page(tmp_path, part, nameless, tables)
    assert not list(tmp_path.iterdir())


def test_tables_of_other_code_may_have_no_label_ids(
    part: Part, windows: pd.DataFrame, tables: dict[str, PredictionTable]
) -> None:
    other = PredictionTable(tables["ensemble"].frame.assign(label_id=-1), TableMetadata("other"))
    rows = part.rows[part.rows["label_id"].isin(windows["label_id"])]
    with_ids, without = (page_index(rows, ["worst"] * 4, {"one": table}) for table in (tables["ensemble"], other))
    assert with_ids == without
    assert all(window["kl"] is not None for window in without["windows"])


def test_a_window_is_small(written: Path) -> None:
    assert max(path.stat().st_size for path in (written.parent / "eeg").glob("*.js")) < 300_000
