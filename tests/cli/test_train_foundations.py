"""`minildm train` on other corpora, and the pairing of a model with the VAE or GPT that it stands on."""

import json

import pytest

from minildm.cli import main
from minildm.pretrained import load

from .conftest import TINY


def test_a_start_that_does_not_fit_is_refused(gpt_run, vae_run, prose, sentence, tmp_path):
    flags = [*TINY, "--weights", str(gpt_run), "--out", str(tmp_path / "run")]
    assert "is a checkpoint of another model" in sentence(
        "train", "gpt", *flags, "--model.n-layers", "2"
    )
    assert "does not fit the configuration" in sentence(
        "train", "gpt", *flags, "--model.d-model", "32"
    )
    said = sentence("train", "gpt", *flags, "--corpus", prose)
    assert (
        f"{gpt_run} and the corpus {prose} have different words: start from a model of that corpus"
        in said
    )
    assert not (tmp_path / "run").exists()


def test_a_manta_on_what_is_no_space_for_it(gpt_run, prose, vae_run, sentence, tmp_path):
    out = ["--out", str(tmp_path / "run")]
    assert "is no VAE, so it has no latent space" in sentence(
        "train", "manta", *TINY, "--vae", str(gpt_run), *out
    )
    said = sentence("train", "manta", *TINY, "--corpus", prose, "--vae", str(vae_run), *out)
    assert (
        f"the VAE {vae_run} knows only the words of Tales" in said
        and "train a VAE on that corpus and give its run" in said
    )
    main(
        [
            "train",
            "vae",
            *TINY,
            "--train.steps",
            "1",
            "--model.n-encoder-layers",
            "1",
            "--out",
            str(tmp_path / "mixed"),
        ]
    )
    said = sentence("train", "manta", *TINY, "--vae", str(tmp_path / "mixed"), *out)
    assert "train its VAE with --model.n-encoder-layers 0" in said
    said = sentence(
        "train", "manta", *TINY, "--vae", str(vae_run), "--model.coupling", "optimal", *out
    )
    assert "take --model.head denoised" in said and not (tmp_path / "run").exists()


@pytest.fixture
def prose(tmp_path):
    """A small text in other words than those of Tales."""
    path = tmp_path / "prose.txt"
    path.write_text(
        "\n\n".join(f"Paragraph {i} says that {i} times {i} makes {i * i}." for i in range(200))
    )
    return f"file:{path}"


def test_a_run_whose_corpus_has_changed_is_not_resumed(prose, sentence, tmp_path):
    flags = ["gpt", *TINY, "--corpus", prose, "--out", str(tmp_path / "run")]
    main(["train", *flags])
    path = tmp_path / "prose.txt"
    path.write_text(path.read_text().replace("makes", "gives"))
    said = sentence("train", *flags)
    assert (
        "another configuration (the contents of corpus are others; the contents of tokenizer are others)"
        in said
    )


def test_a_corpus_in_other_words_than_the_frozen_model(prose, gpt_run, sentence, tmp_path):
    said = sentence(
        "train",
        "ldlm",
        *TINY,
        "--corpus",
        prose,
        "--frozen",
        str(gpt_run),
        "--out",
        str(tmp_path / "run"),
    )
    assert f"the frozen model {gpt_run} knows only the words of Tales" in said
    assert "train a GPT on that corpus and give its run as --frozen" in said
    assert not (tmp_path / "run").exists()


def test_an_ldlm_on_prose_takes_the_tokens_of_the_gpt_trained_on_it(
    prose, tmp_path, folder, capsys
):
    common = [
        *TINY,
        "--train.steps",
        "3",
        "--corpus",
        prose,
        "--pack",
        "--length",
        "16",
        "--vocab-size",
        "280",
    ]
    main(["train", "gpt", *common, "--out", f"{tmp_path}/gpt"])
    main(["train", "ldlm", *common, "--frozen", f"{tmp_path}/gpt", "--out", f"{tmp_path}/ldlm"])
    gpt, ldlm = load(f"{tmp_path}/gpt"), load(f"{tmp_path}/ldlm")
    assert ldlm.tokenizer.card() == gpt.tokenizer.card() and ldlm.missing is None
    main(["evaluate", f"{tmp_path}/ldlm", "--count", "4", "--seeds", "1", "--steps", "2"])
    card = json.loads((tmp_path / "ldlm" / "scorecard.json").read_text())
    assert "grammatical" not in card["mean"] and 0 <= card["held_out"]["token_accuracy"] <= 1
    main(["evaluate", f"{tmp_path}/gpt", "--count", "4", "--seeds", "1"])
    card = json.loads((tmp_path / "gpt" / "scorecard.json").read_text())
    assert 1 < card["held_out"]["perplexity"] < 10 * 280
