"""Flags of `minildm sample` that a model cannot follow, or that do not go together: one sentence each."""

import shutil

import pytest

from minildm.cli import main


@pytest.mark.parametrize(
    "model_type, flags, said",
    [
        (
            "gpt",
            ["--infill", "once ____"],
            "a GPT writes from left to right, around no given tokens: leave out --infill",
        ),
        ("gpt", ["--repair", "FILE"], "name a masked model, an LDLM or a Manta-LM"),
        ("gpt", ["--guide", "happy"], "a GPT has no latents to steer: leave out --guide"),
        ("gpt", ["--offset", "1"], "a GPT has no noise levels with an offset: leave out offset"),
        (
            "masked",
            ["--repair", "FILE", "--start", "0.5"],
            "a masked model has no latents to steer: leave out --start",
        ),
        ("masked", ["--guide", "happy"], "name an LDLM or a Manta-LM"),
        ("masked", ["--offset", "1"], "a masked model has no noise levels with an offset"),
        (
            "masked",
            ["--solver", "euler"],
            "a masked model has no solver 'euler': choose one of ancestral, confidence, margin",
        ),
        ("ldlm", ["--offset", "1"], "an LDLM has no noise levels with an offset"),
        (
            "ldlm",
            ["--entropy-bound", "0.1"],
            "an LDLM has no entropy bound: leave out entropy_bound",
        ),
        (
            "manta",
            ["--entropy-bound", "-1"],
            "a Manta-LM has no entropy bound: leave out entropy_bound",
        ),
        (
            "manta",
            ["--entropy-bound", "0.1"],
            "a Manta-LM has no entropy bound",
        ),
        ("manta", ["--solver", "entropy_bounded"], "a Manta-LM has no solver 'entropy_bounded'"),
        ("manta", ["--offset", "-1"], "the offset -1.0 has no meaning: give a number of 0 or more"),
        ("manta", ["--offset", "nan"], "the offset nan has no meaning"),
        (
            "manta",
            ["--solver", "ddim"],
            "a Manta-LM has no solver 'ddim': choose one of ancestral, euler",
        ),
        ("manta", ["--temperature", "-1"], "the temperature -1.0 has no meaning"),
        ("manta", ["--steps", "0"], "cannot sample in 0 steps"),
        (
            "manta",
            ["--prompt", "once at the castle", "--length", "4"],
            "the prompt has 5 tokens but the text only 4",
        ),
        ("manta", ["--prompt", "a dragon"], "the word 'dragon' is not in the vocabulary"),
        ("masked", ["--infill", "a dragon ____"], "the word 'dragon' is not in the vocabulary"),
        ("manta", ["--guide", "dragon"], "the word 'dragon' is not in the vocabulary"),
        ("manta", ["--guide", "happy tess"], "--guide takes one token, and 'happy tess' is 2"),
        (
            "ldlm",
            ["--guide", "happy", "--guidance-scale", "-1"],
            "the guidance scale -1.0 has no meaning: give a number of 0 or more",
        ),
        (
            "ldlm",
            ["--guide", "happy", "--guidance-scale", "nan"],
            "the guidance scale nan has no meaning",
        ),
        (
            "manta",
            ["--guidance-scale", "2"],
            "--guidance-scale says how strong guidance is: give --guide a token, or leave out --guid",
        ),
        ("gpt", ["--guidance-scale", "2"], "--guidance-scale says how strong guidance is"),
        (
            "manta",
            ["--num-tries", "2"],
            "--num-tries says how often a token is tried for: give --guide a token",
        ),
        (
            "manta",
            ["--guide", "happy", "--num-tries", "0"],
            "0 tries draw nothing: give 1 or more",
        ),
        (
            "ldlm",
            ["--repair", "FILE", "--guide", "happy", "--num-tries", "2"],
            "--repair draws each of its texts once",
        ),
        ("ldlm", ["--guidance-scale", "2"], "--guidance-scale says how strong guidance is"),
        (
            "ldlm",
            ["--guidance-scale", "2", "--repair", "FILE"],
            "--guidance-scale says how strong guidance is",
        ),
        (
            "ldlm",
            ["--start", "0.3"],
            "--start says how much of a text is kept: give --repair a file, or leave out --start",
        ),
        (
            "masked",
            ["--infill", "once at _ the castle"],
            "--infill has no gap: mark each by two underscores or more",
        ),
        ("manta", ["--infill", ""], "--infill has no gap"),
        (
            "ldlm",
            ["--infill", "once ____", "--gap", "0"],
            "a gap of 0 tokens is none: give 1 or more",
        ),
        ("ldlm", ["--infill", "once ____{0}"], "a gap of 0 tokens is none"),
        (
            "ldlm",
            ["--infill", "once ____{999999999}"],
            "1000000002 tokens with its gaps, more than the 64 that fit",
        ),
        (
            "masked",
            ["--steps", "100000"],
            "100000 steps are more than any text needs: give --steps 4096 or fewer",
        ),
        (
            "manta",
            ["--length", "100000"],
            "was trained on texts of 64 tokens and writes at most 1024, not 100000: lower --length",
        ),
        (
            "gpt",
            ["--length", "99999999999999999999"],
            "and writes at most 1024, not 99999999999999999999",
        ),
        ("ldlm", ["--infill", "____", "--length", "100000"], "and writes at most 1024"),
        (
            "gpt",
            ["--count", "1000000000"],
            "1000000000 texts of 64 tokens at a time take too much memory: give --count 1",
        ),
        ("masked", ["--record", "FOLDER"], " is a folder: name a file"),
        (
            "masked",
            ["--record", "BELOW"],
            "BELOW cannot be written (Not a directory): choose another place",
        ),
        ("masked", ["--record", "/proc/nope/path"], "/proc/nope cannot be written ("),
        (
            "gpt",
            ["--prompt", b"caf\xe9".decode("utf-8", "surrogateescape")],
            "holds bytes that are not UTF-8",
        ),
        (
            "gpt",
            ["--prompt", "Once upon a time"],
            "a tale begins like 'once at the castle there lived'",
        ),
        (
            "manta",
            ["--guide", "happier"],
            "the nearest spellings are 'happy' or 'chair' or 'hammer' for 'happier'",
        ),
        (
            "ldlm",
            ["--infill", "once ____", "--gap", "70"],
            "73 tokens with its gaps, more than the 64 that fit",
        ),
        (
            "manta",
            ["--infill", "once at the ____ there", "--length", "6"],
            "7 tokens with its gaps, more than the 6 that fit",
        ),
        ("manta", ["--gap", "3"], "--gap says how long the gaps are: give --infill a text"),
        (
            "manta",
            ["--infill", "once ____", "--prompt", "once"],
            "--infill and --repair give the whole text: leave out --prompt",
        ),
        ("ldlm", ["--repair", "FILE", "--prompt", "once"], "leave out --prompt"),
        (
            "manta",
            ["--infill", "once ____", "--repair", "FILE"],
            "--infill and --repair each give the text: choose one",
        ),
        (
            "manta",
            ["--repair", "FILE", "--start", "0"],
            "--start 0.0 leaves nothing to repair or nothing of the text",
        ),
        ("ldlm", ["--repair", "FILE", "--start", "1"], "--start 1.0 leaves"),
        ("manta", ["--repair", "FILE", "--start", "nan"], "--start nan leaves"),
        (
            "manta",
            ["--repair", "FILE", "--length", "9"],
            "17 tokens, more than the 9 that fit: shorten it or raise --length",
        ),
        ("manta", ["--repair", "FILE", "--count", "0"], "cannot write 0 texts"),
        (
            "manta",
            ["--repair", "NONE"],
            "cannot be read (No such file or directory): check the path",
        ),
        ("ldlm", ["--repair", "FOLDER"], "cannot be read (Is a directory): check the path"),
        ("manta", ["--repair", "EMPTY"], "has no text to repair: give one with a text a paragraph"),
        ("manta", ["--repair", "LATIN"], "is not UTF-8 (byte 3): convert it to UTF-8"),
        ("vae", [], "a VAE puts no tokens in order, so it writes no texts: name a Manta-LM"),
        ("vae", ["--infill", "once ____"], "a VAE puts no tokens in order"),
    ],
)
def test_mistakes(model_type, flags, said, request, sentence, tales, tmp_path):
    places = {"FILE": tales, "BELOW": tales / "BELOW" / "path", "FOLDER": tmp_path}
    places |= {name: tmp_path / name for name in ("NONE", "EMPTY", "LATIN")}
    places["EMPTY"].write_text(" \n\n")
    places["LATIN"].write_bytes(b"caf\xe9")
    run = request.getfixturevalue(f"{model_type}_run")
    before = sorted(path.name for path in tmp_path.iterdir())
    assert said in sentence("sample", str(run), *(str(places.get(flag, flag)) for flag in flags))
    assert sorted(path.name for path in tmp_path.iterdir()) == before


def test_given_words_need_the_frozen_encoder(ldlm_run, gpt_run, sentence, tales):
    hidden = gpt_run.with_name("hidden")
    shutil.move(gpt_run, hidden)
    try:
        said = [
            sentence("sample", str(ldlm_run), *flags)
            for flags in (
                ("--repair", str(tales)),
                ("--infill", "once at the ____ ."),
                ("--prompt", "once at"),
            )
        ]
        main(["sample", str(ldlm_run), "--count", "1", "--steps", "1"])
    finally:
        shutil.move(hidden, gpt_run)
    assert all("its frozen encoder, which is missing: no model" in line for line in said)
