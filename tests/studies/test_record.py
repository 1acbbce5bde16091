"""Records of studies: rows that are kept at once, a second start that goes on, and settings that must agree."""

import json

import pytest

from minildm.errors import UserError
from minildm.studies.record import RESULTS, Record, results


def test_a_second_start_goes_on(tmp_path):
    out = tmp_path / "new" / "study.json"
    record = Record(out, steps=(1, 2))
    record.add({"model": "gpt", "seed": 0, "score": 0.5}, {"model": "gpt", "seed": 1, "score": 0.6})
    again = Record(out, steps=(1, 2))
    assert {"model": "gpt", "seed": 1} in again and {"model": "gpt", "seed": 2} not in again
    again.add({"model": "gpt", "seed": 2, "score": 0.7})
    study = json.loads(out.read_text())
    assert [row["seed"] for row in study["rows"]] == [0, 1, 2] and study["steps"] == [1, 2]
    assert study["minutes"] >= 0 and {"versions", "commit", "hardware"} <= study.keys()


def test_other_settings_are_refused(tmp_path):
    out = tmp_path / "study.json"
    Record(out, steps=4).add({"seed": 0})
    with pytest.raises(UserError, match=r"other settings \(steps\): choose another --out"):
        Record(out, steps=5)


def test_what_is_measured_is_printed_without_its_lists(tmp_path, capsys):
    Record(tmp_path / "study.json").add({"seed": 0, "curve": [1, 2], "means": {"a": 1}})
    assert json.loads(capsys.readouterr().out) == {"seed": 0}


@pytest.mark.parametrize("name", sorted(path.stem for path in RESULTS.glob("*.json")))
def test_committed_records_have_rows_and_an_origin(name):
    study = results(name)
    assert study["rows"] and {"commit", "hardware"} <= study.keys()
