"""Every mistake on the command line ends with exit code 2 and a sentence that says what to do; nothing is left behind."""

import json
import os
import shutil
import subprocess
import sys

import pytest

from .conftest import TINY


@pytest.mark.parametrize(
    "argv, said",
    [
        (["fly"], "no command 'fly': choose one of demo, train, sample, evaluate, study, doctor"),
        (["sampel", "gpt-tales"], "no command 'sampel': did you mean sample?"),
        (["train"], "say what to train: minildm train gpt|masked|ldlm|"),
        (["train", "rnn"], "say what to train"),
        (
            ["train", "gpt", "--preset", "gpt-novels"],
            "no preset 'gpt-novels' of a gpt: choose one of gpt-tales, gpt-cpu,",
        ),
        (["train", "gpt", "--preset", "ldlm-nano"], "no preset 'ldlm-nano' of a gpt"),
        (
            ["train", "gpt", "--size", "giant"],
            "no size 'giant': choose one of nano, micro, small, base",
        ),
        (["train", "gpt", "--size", "nano", "--preset", "gpt-nano"], "give one of them"),
        (["train", "gpt", "--corpus", "novels"], "no corpus 'novels'"),
        (["train", "gpt", "--corpus", "tales:zero"], "has no number of events"),
        (["train", "gpt", "--length", "2"], "a row of 2 tokens holds no text"),
        (["train", "gpt", "--documents", "0"], "0 documents"),
        (
            ["train", "gpt", "--model.d-model", "18", "--documents", "9"],
            "a width of 18 cannot be cut into 2 heads of even size",
        ),
        (["train", "ldlm", "--frozen", "zoo:gpt-novels"], "no model 'zoo:gpt-novels'"),
        (["train", "ldlm", "--frozen", "runs/none"], "no model 'runs/none'"),
        (["train", "manta", "--vae", "zoo:vae-novels"], "no model 'zoo:vae-novels'"),
        (
            ["train", "manta", "--preset", "vae-nano"],
            "no preset 'vae-nano' of a manta: choose one of manta-blocks, manta-tales, "
            "manta-cpu-blocks, manta-cpu, manta-nano",
        ),
        (["train", "gpt", "--model.width", "16"], "--model.width is now called --model.d-model"),
        (
            ["train", "manta", "--model.writing-lag=1"],
            "--model.writing-lag is now called --model.generation.offset",
        ),
        (
            ["train", "gpt", "--vocabulary", "300"],
            "--vocabulary is now called --vocab-size",
        ),
        (["train", "gpt", "--documents", "9", "--weights", "runs/none"], "no model 'runs/none'"),
        (
            ["train", "gpt", "--documents", "9", "--model.n-layers", "0"],
            "--model.n-layers must be at least 1 and finite, not 0",
        ),
        (
            ["train", "vae", "--documents", "9", "--model.latent", "0"],
            "--model.latent must be at least 1",
        ),
        (
            ["sample", "gpt-tales", "--seed", "99999999999999999999"],
            "--seed must be from 0 to 9223372036854775807",
        ),
        (["sample", "gpt-novels"], "no model 'gpt-novels': the zoo has"),
    ],
)
def test_one_sentence(argv, said, sentence, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert said in sentence(*argv)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    "model_type, flags, said",
    [
        ("ldlm", ["compression", "0"], "--model.compression must be at least 1 and finite, not 0"),
        ("ldlm", ["recipe.draws", "0"], "--model.recipe.draws must be at least 1"),
        (
            "ldlm",
            ["recipe.decoder-noise", "nan"],
            "--model.recipe.decoder-noise must be at least 0 and finite, not nan",
        ),
        (
            "manta",
            ["generation.offset", "-1"],
            "--model.generation.offset must be at least 0",
        ),
        (
            "manta",
            ["generation.solver", "entropy_bounded"],
            "cannot draw by solver entropy_bounded: choose one of ancestral, euler, sampled",
        ),
        (
            "manta",
            ["head", "denoised", "--model.generation.solver", "sampled"],
            "cannot draw by solver sampled: choose one of ancestral, euler",
        ),
    ],
)
def test_models_that_there_cannot_be(model_type, flags, said, gpt_run, vae_run, sentence, tmp_path):
    base = ["--frozen", str(gpt_run)] if model_type == "ldlm" else ["--vae", str(vae_run)]
    flags = [f"--model.{flags[0]}", *flags[1:], "--out", str(tmp_path / "run")]
    assert said in sentence("train", model_type, *TINY, *base, *flags)
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    "argv, said",
    [
        (["train", "gpt", "--train.steps", "0"], "--steps must be at least 1, not 0"),
        (["train", "gpt", "--train.steps", "-5"], "--steps must be at least 1, not -5"),
        (["train", "gpt", "--train.steps", "many"], "many"),
        (["train", "gpt", "--train.seed", "-1"], "--seed must be from 0 to 2147483647, not -1"),
        (["sample"], "Required options"),
        (["sample", "x", "--count", "many"], "many"),
    ],
)
def test_flags_that_do_not_parse(argv, said, refused):
    assert said in refused(*argv)


@pytest.mark.parametrize(
    "argv, said",
    [
        (
            ["sample", "--temprature", "1", "gpt-tales"],
            "`minildm sample` has no flag --temprature: did you mean --temperature?",
        ),
        (["sample", "gpt-tales", "--top_pp=0.9"], "no flag --top_pp: did you mean --top-p?"),
        (["sample", "gpt-tales", "-count", "3"], "no flag -count: did you mean --count?"),
        (
            ["sample", "gpt-tales", "--seed", "x", "--promt", "y"],
            "no flag --promt: did you mean --prompt?",
        ),
        (
            ["evaluate", "gpt-tales", "--texts"],
            "`minildm evaluate` has no flag --texts: did you mean --count?",
        ),
        (["evaluate", "--json", "x", "gpt-tales"], "no flag --json: did you mean --out?"),
        (
            ["train", "gpt", "--stpes", "5"],
            "`minildm train gpt` has no flag --stpes: did you mean --train.steps?",
        ),
        (["train", "ldlm", "--n-denoiser-layer", "5"], "did you mean --model.n-denoiser-layers?"),
        (
            ["train", "gpt", "--wings", "2"],
            "no flag --wings: `minildm train gpt --help` explains those there are",
        ),
        (["demo", "--fig", "x.png"], "`minildm demo` has no flag --fig: did you mean --figure?"),
        (["doctor", "--wings"], "`minildm doctor` has no flag --wings"),
    ],
)
def test_a_flag_that_there_is_not_is_answered_with_the_likely_one(argv, said, sentence):
    assert said in sentence(*argv)


@pytest.mark.parametrize(
    "content, said",
    [
        (b"", "is empty: give one with text in it"),
        (b"caf\xe9\n\nmore", "is not UTF-8 (byte 3): convert it to UTF-8"),
        (
            b"one\n\n" + b"far too many words here " * 9 + b"\n\ntwo",
            "too few for one row of 32: lower --length or give more text",
        ),
    ],
)
def test_bad_corpus_files(content, said, sentence, tmp_path):
    (tmp_path / "text.txt").write_bytes(content)
    flags = ["--corpus", f"file:{tmp_path}/text.txt", "--length", "32", "--out", f"{tmp_path}/run"]
    assert said in sentence("train", "gpt", *flags)
    assert "cannot be read (No such file or directory)" in sentence(
        "train", "gpt", "--corpus", f"file:{tmp_path}/none"
    )
    assert not (tmp_path / "run").exists()


def test_fewer_rows_than_a_batch(sentence, tmp_path):
    flags = [*TINY, "--train.batch", "64", "--documents", "9", "--out", f"{tmp_path}/run"]
    assert "the corpus has 9 rows, fewer than a batch of 64" in sentence("train", "gpt", *flags)


def test_requests_that_no_model_can_fulfil(gpt_run, masked_run, ldlm_run, sentence):
    gpt, masked, ldlm = str(gpt_run), str(masked_run), str(ldlm_run)
    prompt = "once at the castle there lived"
    assert "the prompt has 7 tokens but the text only 5" in sentence(
        "sample", gpt, "--prompt", prompt, "--length", "5"
    )
    assert "the word 'dragon' is not in the vocabulary" in sentence(
        "sample", gpt, "--prompt", "a dragon"
    )
    assert "cannot write 0 texts" in sentence("sample", gpt, "--count", "0")
    assert "cannot sample in 0 steps" in sentence("sample", ldlm, "--steps", "0")
    assert "cannot sample in -3 steps" in sentence("sample", ldlm, "--steps", "-3")
    assert "a GPT has no number of steps to choose: leave out steps" in sentence(
        "sample", gpt, "--steps", "8"
    )
    assert "a masked model has no solver 'heun'" in sentence("sample", masked, "--solver", "heun")
    assert "an LDLM has no solver 'margin'" in sentence("sample", ldlm, "--solver", "margin")
    assert "the prompt has 7 tokens but the text only 5" in sentence(
        "sample", masked, "--prompt", prompt, "--length", "5"
    )
    assert "the prompt has 7 tokens but the text only 5" in sentence(
        "sample", ldlm, "--prompt", prompt, "--length", "5"
    )
    assert "the temperature -1.0 has no meaning" in sentence("sample", gpt, "--temperature", "-1")
    for mass in ("0", "1.5"):
        assert f"a top_p of {float(mass)} has no" in sentence("sample", gpt, "--top-p", mass)
    assert "has no nucleus to draw from" in sentence("sample", ldlm, "--top-p", "0.9")
    assert "the temperature nan has no meaning" in sentence("sample", gpt, "--temperature", "nan")
    assert "give at least 1 of each" in sentence("evaluate", gpt, "--seeds", "0")
    assert "is no GPT" in sentence("train", "ldlm", *TINY, "--frozen", ldlm)


@pytest.fixture
def copy(gpt_run, tmp_path):
    """A checkpoint that may be damaged."""
    return shutil.copytree(gpt_run / "step_0000006", tmp_path / "copy")


def test_truncated_and_corrupted_weights(copy, sentence):
    weights = copy / "ema.safetensors"
    whole = weights.read_bytes()
    for content in (whole[: len(whole) // 2], b"\xff" * 64 + whole[64:], b""):
        weights.write_bytes(content)
        assert "ema.safetensors is truncated or damaged" in sentence("sample", str(copy))
    weights.unlink()
    assert "there is no file" in sentence("sample", str(copy))


def edit(copy, change) -> None:
    card = json.loads((copy / "card.json").read_text())
    change(card)
    (copy / "card.json").write_text(json.dumps(card))


def test_cards_that_do_not_fit(copy, sentence):
    edit(copy, lambda card: card["config"]["model"].update(d_model=32))
    assert "does not fit the configuration" in sentence("sample", str(copy))
    edit(copy, lambda card: card["config"]["model"].update(d_model=16, vocab_size=99))
    assert "has a vocabulary of 99 but its tokenizer one of" in sentence("sample", str(copy))
    edit(copy, lambda card: card["tokenizer"]["words"].append("dragon"))
    assert "has a vocabulary of 99" in sentence("sample", str(copy))
    edit(copy, lambda card: card.pop("tokenizer"))
    assert "is damaged or not one of this version ('tokenizer')" in sentence("sample", str(copy))
    (copy / "card.json").write_text("{")
    assert "card.json is damaged" in sentence("sample", str(copy))


def test_sizes_of_a_damaged_card_are_not_called_flags(copy, sentence):
    edit(copy, lambda card: card["config"]["model"].update(d_model=0))
    said = sentence("sample", str(copy))
    assert (
        f"the card of {copy} is damaged or not one of this version (model.d-model must be at least 1"
        in said
    )
    assert "--model" not in said


def test_a_checkpoint_of_another_model(copy, ldlm_run, sentence):
    shutil.copy(next(ldlm_run.glob("step_*")) / "ema.safetensors", copy)
    assert "is a checkpoint of another model" in sentence("sample", str(copy))


def test_a_folder_without_a_checkpoint(tmp_path, sentence):
    assert "holds no checkpoint: name the folder of a run" in sentence("sample", str(tmp_path))


def test_no_network_for_the_hub(tmp_path):
    environment = os.environ | {
        "HF_HUB_OFFLINE": "1",
        "HF_HOME": str(tmp_path / "empty"),
        "MINILDM_CACHE": str(tmp_path),
    }
    command = [
        sys.executable,
        "-m",
        "minildm",
        "train",
        "ldlm",
        "--frozen",
        "hub:gpt2",
        "--out",
        str(tmp_path / "run"),
    ]
    done = subprocess.run(command, env=environment, capture_output=True, text=True)
    assert done.returncode == 2, done.stderr
    assert (
        "minildm: the model gpt2 cannot be fetched" in done.stderr
        and "Traceback" not in done.stderr
    )
    assert (
        done.stderr.strip().endswith("connect to the network or name a folder")
        and not (tmp_path / "run").exists()
    )
