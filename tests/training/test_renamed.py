"""What was saved under the names of version 0.1 is still read: cards, weights, presets and runs."""

import json
import re
from dataclasses import fields
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from minildm import pretrained
from minildm.errors import UserError
from minildm.models.registry import MODEL_TYPES, build, read_config
from minildm.training.checkpoint import config_card, read_tensors
from minildm.training.presets import PRESETS, find_run
from minildm.training.renamed import current_card, current_model, current_weights

RENAMED_WEIGHTS = "average.safetensors"
RENAMED_GPT = "gpt-brief"
RENAMED_MANTA = "manta-brief-windows"
OLD_CARDS = json.loads(Path(__file__).with_name("old_cards.json").read_text())
OLD_NAMES = (  # names of tensors today -> as they were
    (r"(^|\.)in_proj\.", r"\1enter."),
    (r"(^|\.)out_proj\.", r"\1leave."),
    (r"(^|\.)encoder_out_proj\.", r"\1leave_encoder."),
    (r"(^|\.)conv\.kernel$", r"\1mix.taps"),
    (r"(^|\.)policy\.token_embedding\.", r"\1policy.words."),
    (r"(^|\.)policy\.gap_embedding$", r"\1policy.gap"),
    (r"(^|\.)log_std$", r"\1log_width"),
)


def as_before(name: str) -> str:
    for new, old in OLD_NAMES:
        name = re.sub(new, old, name)
    return name


@pytest.mark.parametrize("name", OLD_CARDS)
def test_an_old_card_says_what_the_preset_says_today(name):
    card, run = current_card(OLD_CARDS[name]), PRESETS[current_model(name)]
    assert card["config"]["corpus"] == config_card(run.corpus)
    config = read_config(MODEL_TYPES[card["model_type"]].config, card["config"]["model"])
    assert config == run.model
    if "frozen" in card:
        assert card["frozen"]["name"] == "zoo:gpt-cpu"


@pytest.mark.parametrize("name", OLD_CARDS)
def test_a_card_of_today_stays_as_it_is(name):
    card = current_card(OLD_CARDS[name])
    assert current_card(card) == card


@pytest.mark.parametrize("name", ["gpt-cpu", "masked-cpu", "ldlm-cpu", "vae-tales", "manta-cpu"])
def test_the_zoo_has_weights_under_their_old_names(name):
    kept = load_file(pretrained.ZOO / f"{name}.safetensors")
    today = pretrained.load(name).model.state_dict()
    assert kept.keys() - today.keys()
    assert all(torch.equal(today[k].to(x.dtype), x) for k, x in current_weights(kept).items())


TALES = [name.removesuffix("-tales") for name in OLD_CARDS if name.endswith("-tales")]


@pytest.mark.parametrize("model_type", TALES)
def test_a_run_of_before_loads(model_type, tmp_path):
    """Each weight finds its place: an untrained model, saved under old names, is the same again."""
    name = f"{model_type}-tales"
    card = {**OLD_CARDS[name], "tokenizer": {"kind": "words", "words": ["w"] * 261}}
    card["tokenizer"]["words"] = [f"w{i}" for i in range(261)]
    card.pop("frozen", None)
    run = PRESETS[name]
    torch.manual_seed(3)
    model = build(model_type, run.model)
    old = {as_before(k): v.contiguous() for k, v in model.state_dict().items()}
    assert old.keys() != model.state_dict().keys()
    folder = tmp_path / "step_0000001"
    folder.mkdir()
    save_file(old, folder / RENAMED_WEIGHTS)
    (folder / "card.json").write_text(json.dumps(card))
    loaded = pretrained.load(folder)
    assert loaded.card["model_type"] == model_type
    for key, value in loaded.model.state_dict().items():
        assert torch.equal(value, model.state_dict()[key]), key
    assert read_tensors(folder / RENAMED_WEIGHTS).keys() == model.state_dict().keys()


def test_old_names_of_models_and_presets_are_understood():
    assert current_model(f"zoo:{RENAMED_GPT}") == "zoo:gpt-cpu"
    assert current_model(RENAMED_MANTA) == "manta-cpu-blocks"
    assert pretrained.load(f"zoo:{RENAMED_GPT}").card["name"] == "gpt-cpu"
    assert find_run("gpt", RENAMED_GPT) is PRESETS["gpt-cpu"]


def test_a_field_that_there_never_was_is_damage(tmp_path):
    card = {**OLD_CARDS[RENAMED_GPT], "tokenizer": {"kind": "words", "words": ["a"]}}
    card["config"] = {**card["config"], "model": {**card["config"]["model"], "depth": 3}}
    (tmp_path / "card.json").write_text(json.dumps(card))
    save_file({"x": torch.zeros(1)}, tmp_path / RENAMED_WEIGHTS)
    with pytest.raises(UserError, match="damaged or not one of this version"):
        pretrained.load(tmp_path)


def test_no_field_of_today_is_called_as_another_one_was():
    names = {field.name for entry in MODEL_TYPES.values() for field in fields(entry.config)} - {
        "generation"
    }
    assert all(
        current_card({"config": {"model": {n: 0}}})["config"]["model"] == {n: 0} for n in names
    )
