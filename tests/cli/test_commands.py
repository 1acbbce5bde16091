"""`minildm sample`, `evaluate`, `demo`, `doctor` and their help."""

import io
import json
import platform
import shutil
import sys
from importlib.metadata import version

import pytest
import torch
from safetensors.torch import load_file

import minildm
from minildm.cli import COMMANDS, demo, evaluate, main, sample, writing
from minildm.cli.writing import shaded
from minildm.pretrained import load
from minildm.text.tokenizers import BytePairTokenizer, WordTokenizer

from .conftest import TINY


@pytest.mark.parametrize(
    "argv",
    [
        ["--help"],
        [],
        ["train", "--help"],
        ["train", "gpt", "--help"],
        *(["train", kind, "--help"] for kind in ("masked", "ldlm", "vae", "manta")),
        *([name, "--help"] for name in COMMANDS if name != "train"),
    ],
)
def test_help_is_readable(argv, capsys):
    try:
        main(argv)
    except SystemExit as ended:
        assert ended.code in (0, None)
    said = capsys.readouterr().out
    assert said.startswith("usage: minildm") and max(map(len, said.splitlines())) <= 120
    if argv[:2] == ["train", "ldlm"]:
        assert (
            "--model.recipe.decoder-noise FLOAT" in said
            and "std of the noise on the decoder's input" in said
        )
        assert "--model.vocabulary" not in said


def test_version_names_package_torch_and_python(capsys):
    main(["--version"])
    said = capsys.readouterr().out
    assert (
        said
        == f"minildm {minildm.__version__}, torch {version('torch')}, Python {platform.python_version()}\n"
    )


def test_sample_is_a_function_of_the_seed(gpt_run, masked_run, ldlm_run, manta_run, capsys):
    for run, flags in (
        (gpt_run, ["--prompt", "long ago"]),
        (ldlm_run, ["--steps", "3", "--solver", "ddim"]),
        (masked_run, ["--steps", "3", "--solver", "margin", "--prompt", "long ago"]),
        (manta_run, ["--steps", "3", "--solver", "euler", "--offset", "1", "--prompt", "long ago"]),
    ):
        texts = []
        for seed in "001":
            main(["sample", str(run), "--count", "2", "--length", "12", "--seed", seed, *flags])
            texts.append(capsys.readouterr().out)
        assert texts[0] == texts[1] and "\x1b" not in texts[0]
        if run != ldlm_run:
            assert texts[1] != texts[2] and all(
                text.startswith("long ago") for text in texts[0].split("\n\n")
            )


def test_an_empty_prompt_is_none(masked_run, ldlm_run, manta_run, capsys):
    for run in (masked_run, ldlm_run, manta_run):
        texts = []
        for flags in ([], ["--prompt", ""]):
            main(["sample", str(run), "--count", "1", "--steps", "2", "--length", "12", *flags])
            texts.append(capsys.readouterr().out)
        assert texts[0] == texts[1]


def test_sample_records_the_path(masked_run, ldlm_run, manta_run, tmp_path):
    record = tmp_path / "made" / "path.safetensors"
    for run in (masked_run, ldlm_run, manta_run):
        main(["sample", str(run), "--count", "2", "--steps", "3", "--record", str(record)])
        path = load_file(record)
        assert (
            path["times"].shape == (4,)
            and path["tokens"].shape == (4, 2, 64) == path["confidence"].shape
        )
        assert path["states"].shape[:3] == (4, 2, 64)
        assert run == masked_run or path["states"].shape == path["denoised"].shape


class Terminal(io.StringIO):
    """Where a terminal would be."""

    def isatty(self) -> bool:
        return True


def test_long_work_has_a_bar_in_a_terminal(gpt_run, masked_run, ldlm_run, manta_run, monkeypatch):
    monkeypatch.setattr(writing, "PATIENCE", 0)
    for run, flags, steps in (
        (masked_run, ["--steps", "5"], 5),
        (ldlm_run, ["--steps", "3"], 3),
        (manta_run, [], 32),
        (gpt_run, ["--length", "12"], 11),
    ):
        monkeypatch.setattr("sys.stderr", Terminal())
        main(["sample", str(run), "--count", "1", *flags])
        assert f"/{steps} " in sys.stderr.getvalue() and "steps" in sys.stderr.getvalue()


def test_shading():
    tokenizer = WordTokenizer(["a", "fox", "ran"])
    assert shaded(tokenizer, [1, 4, 5, 6, 2, 0], [1, 0.95, 0.7, 0.1, 1, 1]) == (
        "a \x1b[38;5;109mfox\x1b[0m \x1b[38;5;245mran\x1b[0m"
    )
    pairs = BytePairTokenizer.train(["a fox ran"], 262)
    row = pairs.encode("a fox")
    assert shaded(pairs, row, [0.99] * len(row)) == "a fox"


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


def test_places_that_cannot_be_written_are_refused_before_the_work(
    gpt_run, stocked_zoo, sentence, tmp_path, monkeypatch
):
    monkeypatch.setattr(evaluate, "load", None)
    monkeypatch.setattr(demo, "load", None)
    (tmp_path / "file").write_text("")
    for place, said in (
        (tmp_path, " is a folder: name a file"),
        (tmp_path / "file" / "x", "(Not a directory): choose another"),
        ("/proc/nope/x", "/proc/nope cannot be written ("),
    ):
        assert said in sentence("evaluate", str(gpt_run), "--out", str(place))
        assert said in sentence("demo", "--figure", str(place))
    for name in (
        300 * "x",
        252 * "x",
        f"new/{300 * 'x'}",
        f"{300 * 'x'}/new",
    ):  # a file is called NAME.tmp until it is whole
        for command in (["evaluate", str(gpt_run), "--out"], ["demo", "--figure"]):
            assert "(File name too long): choose another" in sentence(
                *command, str(tmp_path / name)
            )
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_a_record_is_refused_before_the_work(ldlm_run, sentence, tmp_path, monkeypatch):
    monkeypatch.setattr(sample, "watched_sampler", None)
    place = tmp_path / (300 * "x")
    assert "(File name too long): choose another name" in sentence(
        "sample", str(ldlm_run), "--record", str(place)
    )


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


def test_demo_shows_every_language_model_and_draws(stocked_zoo, tmp_path, capsys):
    main(
        ["demo", "--count", "3", "--show", "1", "--figure", str(tmp_path / "figures" / "demo.png")]
    )
    said = capsys.readouterr().out
    assert (
        all(f"\n{kind}-tiny\n" in said for kind in ("gpt", "masked", "ldlm", "manta"))
        and "vae" not in said
    )
    table = said[said.index("model ") :].splitlines()
    assert (
        "grammatical" in table[0]
        and len({len(line) for line in table[:5]}) == 1
        and "\x1b" not in said
    )
    assert (tmp_path / "figures" / "demo.png").read_bytes().startswith(b"\x89PNG")


def test_doctor_says_ok_or_how_to_fix_it(stocked_zoo, capsys):
    main(["doctor"])
    said = capsys.readouterr().out
    assert (
        f"torch                  {torch.__version__}" in said
        and "training step          loss" in said
    )
    assert "OK    zoo:gpt-tiny" in said
    weights = stocked_zoo / "gpt-tiny.safetensors"
    whole = weights.read_bytes()
    weights.write_bytes(whole[:100])
    with pytest.raises(SystemExit) as ended:
        main(["doctor"])
    weights.write_bytes(whole)
    assert ended.value.code == 1 and "FIX   zoo:gpt-tiny" in capsys.readouterr().out


def test_doctor_names_what_is_missing(monkeypatch):
    from minildm.cli import doctor

    monkeypatch.setattr(doctor, "NEEDED", ("torch", "no-such-thing"))
    lines = list(doctor.packages())
    assert ("FIX", "no-such-thing", "missing: pip install no-such-thing") in lines


def test_doctor_knows_every_dependency():
    import tomllib
    from pathlib import Path

    from minildm.cli.doctor import NEEDED

    project = tomllib.loads((Path(__file__).parents[2] / "pyproject.toml").read_text())["project"]
    assert {line.split(">=")[0] for line in project["dependencies"]} == set(NEEDED)
