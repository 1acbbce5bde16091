"""`minildm train`: what a run leaves behind, resuming, and the pairing of corpora with frozen models."""

import json
import shutil

import pytest
import torch

from minildm.cli import main
from minildm.cli.flags import parse
from minildm.training.checkpoint import read_card, read_tensors, steps_saved
from minildm.training.presets import KINDS, PRESETS, SIZES
from minildm.training.zoo import load

from .conftest import TINY


def test_a_run_leaves_checkpoints_a_journal_and_a_full_card(gpt_run):
    assert [p.name for p in steps_saved(gpt_run)] == ["step_0000003", "step_0000006"]
    lines = [json.loads(line) for line in (gpt_run / "journal.jsonl").read_text().splitlines()]
    assert [line["step"] for line in lines if line["kind"] == "step"] == [1, 2, 3, 4, 5, 6]
    assert lines[-1]["kind"] == "evaluation" and lines[-1]["text"] and lines[-1]["nats_per_token"] > 0
    card = read_card(gpt_run / "step_0000006")
    assert card["kind"] == "gpt" and card["command"].startswith("minildm train gpt ")
    assert card["config"]["corpus"] == {"name": "tales", "vocabulary": 512, "pack": False, "documents": 60}
    assert card["config"]["model"]["vocabulary"] == card["corpus"]["vocabulary"] == load(gpt_run).tokenizer.size
    assert {"versions", "commit", "hardware"} <= card.keys()


def test_an_ldlm_run_names_its_frozen_model_and_keeps_its_scale(ldlm_run, gpt_run):
    card = read_card(steps_saved(ldlm_run)[-1])
    assert card["frozen"] == {"name": str(gpt_run), "fingerprint": load(ldlm_run).model.frozen.fingerprint()}
    assert card["config"]["model"]["hidden"] == 16
    tensors = read_tensors(steps_saved(ldlm_run)[-1] / "average.safetensors")
    assert tensors["frozen.whiten"].shape == (16, 16) and not any(name.startswith("frozen.network") for name in tensors)


def test_it_resumes_and_ends_with_the_same_weights(gpt_run, folder, capsys):
    stopped = folder / "stopped"
    shutil.copytree(gpt_run, stopped)
    shutil.rmtree(stopped / "step_0000006")
    flags = [*TINY, "--train.steps", "6", "--train.save-every", "3", "--out", str(stopped)]
    main(["train", "gpt", *flags])
    assert f"resumed {stopped} at step 3 of 6" in capsys.readouterr().out
    for name in ("model", "average", "optimizer"):
        one, two = (read_tensors(run / "step_0000006" / f"{name}.safetensors") for run in (gpt_run, stopped))
        assert all(torch.equal(one[k], two[k]) for k in one)


def test_a_folder_of_another_run_is_refused(gpt_run, sentence):
    said = sentence("train", "gpt", *TINY, "--train.steps", "7", "--out", str(gpt_run))
    assert "was trained with another configuration (train): repeat its flags or choose another --out" in said


@pytest.fixture
def prose(tmp_path):
    """A small text in other words than those of Tales."""
    path = tmp_path / "prose.txt"
    path.write_text("\n\n".join(f"Paragraph {i} says that {i} times {i} makes {i * i}." for i in range(200)))
    return f"file:{path}"


def test_a_corpus_in_other_words_than_the_frozen_model(prose, gpt_run, sentence, tmp_path):
    said = sentence("train", "ldlm", *TINY, "--corpus", prose, "--frozen", str(gpt_run), "--out", str(tmp_path / "run"))
    assert f"the frozen model {gpt_run} knows only the words of Tales" in said
    assert "train a GPT on that corpus and give its run as --frozen" in said
    assert not (tmp_path / "run").exists()


def test_an_ldlm_on_prose_takes_the_tokens_of_the_gpt_trained_on_it(prose, tmp_path, folder, capsys):
    common = [*TINY, "--train.steps", "3", "--corpus", prose, "--pack", "--length", "16", "--vocabulary", "280"]
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


@pytest.mark.parametrize("name", PRESETS)
def test_flags_start_from_the_preset(name):
    kind = PRESETS[name].kind
    assert parse([kind, "--preset", name])[1].train == PRESETS[name].train
    flags = parse([kind, "--preset", name, "--train.lr", "0.5", "--length", "32"])[1]
    assert flags.train.lr == 0.5 and flags.length == 32 and flags.out == f"runs/{name}"
    assert flags.model.width == PRESETS[name].model.width and flags.train.steps == PRESETS[name].train.steps


@pytest.mark.parametrize("kind", KINDS)
def test_base_is_the_published_size(kind):
    model = parse([kind, "--size", "base"])[1].model
    assert (model.width, model.heads) == (768, 12)
    if kind == "ldlm":
        assert (model.denoiser_layers, model.encoder_layers, model.decoder_layers, model.token_layers) == (12, 6, 6, 3)
        assert model.latent == 768 and SIZES[kind]["base"].model.frozen == "hub:gpt2"
