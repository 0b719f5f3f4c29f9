"""Six simulated hours through the whole command: what is found by SzCORE's rules, and nothing told of the patient."""

from __future__ import annotations

from pathlib import Path

import pytest

from hbac.events.rule import EVENT_CLASSES
from tests.simulated import write_hours, write_windows
from tests.test_commands import command, next_line

HOURS = 6
SECRET = (b"Secret", b"MRN-1234567")


def score(events: list[tuple[float, float]], found: list[tuple[float, float]]) -> tuple[float, float, float]:
    """Sensitivity, false alarms an hour, and precision, by the rules of SzCORE."""
    from timescoring.annotations import Annotation
    from timescoring.scoring import EventScoring

    n = HOURS * 3600 * 10
    scored = EventScoring(Annotation(events, 10, n), Annotation(found, 10, n))
    return scored.sensitivity, scored.fpRate / 24, scored.precision


@pytest.mark.slow
def test_events_of_six_simulated_hours_are_found_where_they_are(tmp_path: Path) -> None:
    """A network is trained for a minute on windows of other patients; ``-s`` prints the documentation's figures."""
    import pandas as pd

    pytest.importorskip("timescoring")
    annotations = pytest.importorskip("epilepsy2bids.annotations")
    write_windows(tmp_path / "data", 720)
    setting = ["dataset=hms", f"dataset.root={tmp_path / 'data'}", "labels.n_folds=2", "trainer.max_epochs=10"]
    command(tmp_path, "hbac.train", "-m", "fold=0,1", *setting, "logger=csv")
    (sweep,) = (tmp_path / "outputs" / "sweeps").iterdir()
    truth = write_hours(tmp_path / "night.edf", 6 * HOURS)
    told = command(tmp_path, "hbac.infer", "recordings=[night.edf]", f"ensemble={sweep}", "out=out")
    folder = tmp_path / "out" / "night"

    seizures = annotations.Annotations.loadTsv(str(folder / "seizures.tsv")).getEvents()
    events = pd.read_csv(folder / "events.tsv", sep="\t")
    figures = {}
    for name in EVENT_CLASSES:
        known = [(onset, onset + duration) for kind, onset, duration in truth if kind == name]
        own = events[events["trial_type"] == name]
        found = [*zip(own["onset"].tolist(), (own["onset"] + own["duration"]).tolist(), strict=True)]
        assert name != "seizure" or found == seizures
        figures[name] = (len(known), len(found), *score(known, found))
    print(pd.DataFrame(figures, ["there", "found", "sensitivity", "false alarms an hour", "precision"]).T.round(2))  # noqa: T201
    sensitivity, alarms, _ = score([(o, o + d) for kind, o, d in truth if kind == "seizure"], seizures)
    assert sensitivity >= 0.75
    assert alarms <= 1

    assert next_line(told)[0] == "hbac.infer"
    assert (folder / "page" / "index.html").is_file()
    assert len(list((folder / "page" / "eeg").iterdir())) == 60 * HOURS
    written = [path for path in (tmp_path / "out").rglob("*") if path.is_file()]
    assert [path.name for path in written if any(text in path.read_bytes() for text in SECRET)] == []
