"""`minildm sample`: its texts, its record, its bar, and its shades."""

import io
import sys

from safetensors.torch import load_file

from minildm.cli import main, sample, writing
from minildm.cli.writing import shaded
from minildm.text.tokenizers import BytePairTokenizer, WordTokenizer


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


def test_a_record_is_refused_before_the_work(ldlm_run, sentence, tmp_path, monkeypatch):
    monkeypatch.setattr(sample, "watched_sampler", None)
    place = tmp_path / (300 * "x")
    assert "(File name too long): choose another name" in sentence(
        "sample", str(ldlm_run), "--record", str(place)
    )
