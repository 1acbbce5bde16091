"""`minildm train`: what a run leaves behind, resuming, second rounds, and the flags of presets."""

import json
import shutil

import pytest
import torch

from minildm import pretrained
from minildm.cli import main
from minildm.cli.flags import parse
from minildm.models.registry import type_of
from minildm.pretrained import load
from minildm.training.checkpoint import read_card, read_tensors, steps_saved
from minildm.training.presets import PRESETS

from .conftest import TINY


def test_a_run_leaves_checkpoints_metrics_and_a_full_card(gpt_run):
    assert [p.name for p in steps_saved(gpt_run)] == ["step_0000003", "step_0000006"]
    lines = [json.loads(line) for line in (gpt_run / "metrics.jsonl").read_text().splitlines()]
    assert [line["step"] for line in lines if line["kind"] == "step"] == [1, 2, 3, 4, 5, 6]
    assert (
        lines[-1]["kind"] == "evaluation" and lines[-1]["text"] and lines[-1]["nats_per_token"] > 0
    )
    card = read_card(gpt_run / "step_0000006")
    assert card["model_type"] == "gpt" and card["command"].startswith("minildm train gpt ")
    assert card["config"]["corpus"] == {
        "name": "tales",
        "vocab_size": 512,
        "pack": False,
        "documents": 60,
    }
    assert (
        card["config"]["model"]["vocab_size"]
        == card["corpus"]["vocabulary"]
        == load(gpt_run).tokenizer.size
    )
    assert {"versions", "commit", "hardware"} <= card.keys()


def test_an_ldlm_run_names_its_frozen_model_and_keeps_its_scale(ldlm_run, gpt_run):
    card = read_card(steps_saved(ldlm_run)[-1])
    assert card["frozen"] == {
        "name": str(gpt_run),
        "fingerprint": load(ldlm_run).model.frozen.fingerprint(),
    }
    assert card["config"]["model"]["hidden"] == 16
    tensors = read_tensors(steps_saved(ldlm_run)[-1] / "ema.safetensors")
    assert tensors["frozen.whiten"].shape == (16, 16) and not any(
        name.startswith("frozen.network") for name in tensors
    )


def test_a_manta_run_carries_the_vae_that_it_stands_on(manta_run, vae_run):
    card, beneath = (read_card(steps_saved(run)[-1]) for run in (manta_run, vae_run))
    assert (
        card["model_type"] == "manta"
        and card["config"]["model"]["space"] == beneath["config"]["model"]
    )
    tensors, space = (
        read_tensors(pretrained.chosen(run) / "ema.safetensors") for run in (manta_run, vae_run)
    )
    assert all(torch.equal(tensors[f"space.{name}"], value) for name, value in space.items())
    lines = [json.loads(line) for line in (manta_run / "metrics.jsonl").read_text().splitlines()]
    assert {"tokens", "error", "grammatical", "text"} <= lines[-1].keys() and lines[-1][
        "tokens"
    ] > 0


@pytest.mark.parametrize("model_type", ["gpt", "vae", "manta"])
def test_it_resumes_and_ends_with_the_same_weights(
    model_type, gpt_run, vae_run, manta_run, folder, capsys
):
    run, stopped = (
        {"gpt": gpt_run, "vae": vae_run, "manta": manta_run}[model_type],
        folder / f"stopped-{model_type}",
    )
    shutil.copytree(run, stopped)
    shutil.rmtree(stopped / "step_0000006")
    own = ["--model.n-layers", "1", "--vae", str(vae_run)] if model_type == "manta" else []
    main(
        [
            "train",
            model_type,
            *TINY,
            "--train.steps",
            "6",
            "--train.save-every",
            "3",
            *own,
            "--out",
            str(stopped),
        ]
    )
    assert f"resumed {stopped} at step 3 of 6" in capsys.readouterr().out
    for name in ("model", "ema", "optimizer"):
        one, two = (
            read_tensors(place / "step_0000006" / f"{name}.safetensors") for place in (run, stopped)
        )
        assert all(torch.equal(one[k], two[k]) for k in one)


def test_another_round_starts_with_the_weights_of_the_first(gpt_run, folder, capsys):
    second = folder / "second"
    flags = [
        *TINY,
        "--train.steps",
        "2",
        "--train.save-every",
        "1",
        "--train.warmup",
        "0",
        "--weights",
        str(gpt_run),
    ]
    main(
        [
            "train",
            "gpt",
            *flags,
            "--train.lr",
            "1e-30",
            "--train.weight-decay",
            "0",
            "--out",
            str(second),
        ]
    )
    assert "resumed" not in capsys.readouterr().out
    one = read_tensors(pretrained.chosen(gpt_run) / "ema.safetensors")
    two = read_tensors(second / "step_0000002" / "ema.safetensors")
    assert one.keys() == two.keys() and all(torch.allclose(one[k], two[k], atol=1e-6) for k in one)
    assert f"--weights {gpt_run}" in read_card(second / "step_0000002")["command"]


def test_a_second_round_may_add_what_is_silent_at_first(vae_run, folder):
    """A Manta-LM is given how many words it does not see in the second round only; its gaps then have vectors, zero at first."""
    blocks = [
        *TINY,
        "--vae",
        str(vae_run),
        "--model.n-layers",
        "1",
        "--model.blocks",
        "--train.steps",
        "1",
        "--train.warmup",
        "0",
    ]
    first, second = folder / "first_round", folder / "second_round"
    main(["train", "manta", *blocks, "--out", str(first)])
    main(
        [
            "train",
            "manta",
            *blocks,
            "--model.block-size",
            "3",
            "--weights",
            str(first),
            "--train.lr",
            "1e-30",
            "--train.weight-decay",
            "0",
            "--out",
            str(second),
        ]
    )
    one, two = (read_tensors(pretrained.chosen(run) / "ema.safetensors") for run in (first, second))
    assert (
        two.keys() - one.keys() == {"policy.gap_embedding"}
        and two["policy.gap_embedding"].abs().max() < 1e-20
    )
    assert all(
        torch.allclose(one[name], two[name], atol=1e-6)
        for name in one
        if name.startswith("policy.")
    )


def test_a_folder_of_another_run_is_refused_field_by_field(gpt_run, sentence):
    said = sentence(
        "train", "gpt", *TINY, "--train.steps", "5", "--train.lr", "0.5", "--out", str(gpt_run)
    )
    assert (
        "was trained with another configuration (train.steps was 6 and is 5; train.lr was 0.003 and is 0.5; "
        "train.save_every was 3 and is 500): repeat its flags and files or choose another --out"
    ) in said


def test_more_steps_go_on_and_say_what_becomes_of_the_learning_rate(gpt_run, folder, capsys):
    longer = folder / "more steps"
    shutil.copytree(gpt_run, longer)
    flags = ["gpt", *TINY, "--train.steps", "12", "--train.save-every", "3", "--out", str(longer)]
    main(["train", *flags])
    said = capsys.readouterr().out
    assert f"resumed {longer} at step 6 of 12\n" in said
    assert (
        "the training has 12 steps instead of 6, and its learning rate falls over all of them: at step 6 it is"
        in said
    )
    assert f"\n    minildm sample '{longer}'\n    minildm evaluate '{longer}'\n" in said
    assert [p.name for p in steps_saved(longer)][-1] == "step_0000012"
    main(["train", *flags])
    assert "instead of" not in capsys.readouterr().out


@pytest.mark.parametrize("name", PRESETS)
def test_flags_start_from_the_preset(name):
    model_type = type_of(PRESETS[name].model)
    assert parse([model_type, "--preset", name])[1].train == PRESETS[name].train
    flags = parse([model_type, "--preset", name, "--train.lr", "0.5", "--length", "32"])[1]
    assert flags.train.lr == 0.5 and flags.length == 32 and flags.out == f"runs/{name}"
    assert (
        flags.model.d_model == PRESETS[name].model.d_model
        and flags.train.steps == PRESETS[name].train.steps
    )


@pytest.mark.parametrize(
    "model_type", [name.removesuffix("-base") for name in PRESETS if name.endswith("-base")]
)
def test_base_is_the_published_size(model_type):
    model = parse([model_type, "--size", "base"])[1].model
    assert (model.d_model, model.n_heads) == (768, 12)
    if model_type == "ldlm":
        assert (
            model.n_denoiser_layers,
            model.n_encoder_layers,
            model.n_decoder_layers,
            model.n_token_layers,
        ) == (12, 6, 6, 3)
        assert model.latent == 768 and PRESETS["ldlm-base"].model.frozen == "hub:gpt2"
