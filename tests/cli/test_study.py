"""`minildm study`: a list of the studies, the likely name for a wrong one, and a study that runs."""

import json

import pytest

from minildm.cli import main
from minildm.cli.study import found
from minildm.studies.record import RESULTS


def test_every_study_is_listed_and_has_a_record(capsys):
    main(["study"])
    said = capsys.readouterr().out
    assert all(f"  {name} " in said for name in found())
    assert set(found()) == {path.stem for path in RESULTS.glob("*.json")}
    assert max(map(len, said.splitlines())) <= 120


@pytest.mark.parametrize("name", sorted(found()))
def test_a_study_explains_its_flags(name, capsys):
    with pytest.raises(SystemExit) as ended:
        main(["study", name, "--help"])
    said = capsys.readouterr().out
    assert ended.value.code == 0 and "--out PATH" in said and f"runs/{name}.json" in said


@pytest.mark.parametrize(
    "asked, answer",
    [
        (["ch12_recip"], "no study 'ch12_recip': did you mean ch12_recipe?"),
        (["recipe"], "no study 'recipe': did you mean ch12_recipe?"),
        (["nothing"], "no study 'nothing': `minildm study` lists them"),
        (["ch12_recipe", "--sedes", "1"], "did you mean --seeds?"),
        (["ch12_training", "--trained", "nowhere"], "nowhere holds no metrics log"),
    ],
)
def test_a_wrong_name_is_answered_with_the_likely_one(asked, answer, capsys):
    with pytest.raises(SystemExit) as ended:
        main(["study", *asked])
    assert ended.value.code == 2 and answer in capsys.readouterr().err


def test_a_study_runs_with_its_flags(tmp_path, capsys):
    run = tmp_path / "run"
    run.mkdir()
    lines = [
        {"step": 50, "kind": "step", "diffusion": 0.9},
        {"step": 100, "kind": "step", "diffusion": 0.8},
        {"step": 110, "kind": "evaluation", "consistent": 0.1},
    ]
    (run / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    out = tmp_path / "out.json"
    for _ in range(2):
        main(["study", "ch12_training", "--trained", str(run), "--every", "100", "--out", str(out)])
    study = json.loads(out.read_text())
    assert study["rows"] == lines[1:] and study["run"] == "run"
