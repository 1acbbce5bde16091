"""`minildm evaluate`: what it prints, what its card holds, and where the corpus comes from."""

import json
import shutil
import sys

import pytest

from minildm.cli import main
from minildm.pretrained import load

from .conftest import TINY


def test_evaluate_a_gpt_on_tales(gpt_run, capsys, tmp_path):
    main(
        [
            "evaluate",
            str(gpt_run),
            "--count",
            "6",
            "--seeds",
            "2",
            "--length",
            "20",
            "--out",
            str(tmp_path / "card.json"),
        ]
    )
    said, card = capsys.readouterr().out, json.loads((tmp_path / "card.json").read_text())
    assert said.startswith(
        "gpt: 6 texts of each of 2 seeds, mean ± standard deviation over seeds\n  grammatical tales "
    )
    assert (
        "  excess over the entropy " in said
        and max(map(len, said.replace(str(tmp_path), "").splitlines())) <= 100
    )
    assert [row["seed"] for row in card["rows"]] == [0, 1]
    for row in card["rows"]:
        assert {"scorer", "dtype", "seed", "versions", "commit"} <= row.keys() and row[
            "scorer"
        ] == "exact distribution of Tales"
    assert card["held_out"]["excess"] > 0 and card["mean"]["nfe"] <= 19
    mean = sum(row["unigram_entropy"] for row in card["rows"]) / 2
    assert card["mean"]["unigram_entropy"] == pytest.approx(mean)


def test_evaluate_a_masked_model_on_tales(masked_run, capsys, tmp_path):
    main(
        [
            "evaluate",
            str(masked_run),
            "--count",
            "4",
            "--seeds",
            "1",
            "--steps",
            "5",
            "--top-p",
            "0.9",
            "--out",
            str(tmp_path / "card.json"),
        ]
    )
    card = json.loads((tmp_path / "card.json").read_text())
    assert (
        card["held_out"]["excess"] > 0
        and card["held_out"]["nats_standard_error"] > 0
        and card["mean"]["nfe"] == 5
    )
    assert card["rows"][0]["top_p"] == 0.9
    said = capsys.readouterr().out
    assert "masked: held-out texts\n  loss " in said and "nats  a word of held-out texts" in said


def test_evaluate_an_ldlm_and_publish_it(ldlm_run, folder, capsys):
    main(
        [
            "evaluate",
            str(ldlm_run),
            "--count",
            "4",
            "--seeds",
            "1",
            "--steps",
            "2",
            "--publish",
            "ldlm-scored",
        ]
    )
    assert "ldlm: held-out texts\n  words rebuilt " in capsys.readouterr().out
    card = load("ldlm-scored", frozen=False).card
    assert (
        card["scores"]["mean"]["nfe"] == 2
        and card["steps"] == 4
        and card["seed"] == 0
        and card["minutes"] >= 0
    )


def test_evaluate_a_manta_and_publish_it(manta_run, folder, capsys):
    main(
        [
            "evaluate",
            str(manta_run),
            "--count",
            "4",
            "--seeds",
            "1",
            "--steps",
            "2",
            "--offset",
            "1",
            "--temperature",
            "0.5",
            "--publish",
            "manta-scored",
        ]
    )
    assert "manta: held-out texts\n  loss of the tokens " in capsys.readouterr().out
    card = load("manta-scored").card
    assert card["scores"]["mean"]["nfe"] == 2 and card["scores"]["held_out"]["error"] > 0
    row = json.loads((manta_run / "scorecard.json").read_text())["rows"][0]
    assert row["offset"] == 1 and row["temperature"] == 0.5 and row["model_type"] == "manta"


def test_a_vae_is_judged_by_what_it_rebuilds_alone(vae_run, folder, capsys):
    main(["evaluate", str(vae_run), "--publish", "vae-scored"])
    said = capsys.readouterr().out
    assert said.startswith("vae: held-out texts\n  words rebuilt ") and "seeds" not in said
    assert load("vae-scored").card["scores"].keys() == {"held_out"}
    card = json.loads((vae_run / "scorecard.json").read_text())
    assert card["origin"]["model_type"] == "vae" and 0 <= card["held_out"]["row_accuracy"] <= 1


def test_a_run_is_evaluated_from_another_folder(folder, tmp_path, monkeypatch, capsys):
    place = tmp_path / "one place"
    place.mkdir()
    (place / "some text.txt").write_text(
        "\n\n".join(f"the fox said {i} to the owl and went home" for i in range(40))
    )
    monkeypatch.chdir(place)
    main(
        [
            "train",
            "gpt",
            *TINY,
            "--train.steps",
            "2",
            "--corpus",
            "file:some text.txt",
            "--length",
            "32",
            "--out",
            "a run",
        ]
    )
    for elsewhere, run in ((tmp_path, "one place/a run"), (place / "a run", ".")):
        monkeypatch.chdir(elsewhere)
        capsys.readouterr()
        main(
            ["evaluate", run, "--count", "2", "--seeds", "1", "--out", str(tmp_path / "card.json")]
        )
        assert capsys.readouterr().out.startswith("a run: 2 texts of each of 1 seeds")
    (place / "some text.txt").unlink()
    with pytest.raises(SystemExit):
        main(["evaluate", str(place / "a run"), "--count", "2", "--seeds", "1"])
    assert "minildm: the corpus file some text.txt cannot be read" in capsys.readouterr().err


@pytest.mark.parametrize(
    "path, said",
    [
        ("~nosuchuser/x.txt", "there is no home folder for ~nosuchuser/x.txt"),
        (300 * "x", "cannot be read (File name too long)"),
        ("a\0b", "cannot be read (embedded null byte)"),
    ],
)
def test_corpora_of_cards_that_no_file_can_be(path, said, gpt_run, tmp_path, sentence):
    run = shutil.copytree(gpt_run / "step_0000006", tmp_path / "copy")
    card = json.loads((run / "card.json").read_text())
    card["config"]["corpus"]["name"] = f"file:{path}"
    (run / "card.json").write_text(json.dumps(card))
    assert said in sentence("evaluate", str(run))


def test_evaluate_tells_a_terminal_that_it_prepares_a_corpus(
    gpt_run, tmp_path, monkeypatch, capsys
):
    monkeypatch.setenv("MINILDM_CACHE", str(tmp_path / "empty"))
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    main(
        [
            "evaluate",
            str(gpt_run),
            "--count",
            "2",
            "--seeds",
            "1",
            "--out",
            str(tmp_path / "card.json"),
        ]
    )
    assert capsys.readouterr().out.startswith(f"preparing the corpus tales in {tmp_path}")


def test_flags_that_evaluate_cannot_use(vae_run, ldlm_run, sentence):
    assert (
        "a VAE writes no texts, so only what it rebuilds is measured: leave out the flags"
        in sentence("evaluate", str(vae_run), "--steps", "4")
    )
    assert "an LDLM has no noise levels with an offset" in sentence(
        "evaluate", str(ldlm_run), "--offset", "1"
    )
