"""The model cards of the zoo agree with the presets, the flags and the README."""

import json
import shlex

import pytest

from minildm.cli.flags import parse
from minildm.models.registry import read_config
from minildm.training.checkpoint import config_card
from minildm.training.presets import PRESETS

from .repository import ROOT

ZOO = ROOT / "minildm" / "zoo"
CARDS = {path.stem: json.loads(path.read_text()) for path in sorted(ZOO.glob("*.json"))}


def agrees(config: dict, asked: dict) -> bool:
    """What a card says of its training is what is asked for, but for when it was looked at and saved."""
    return all(config[k] == asked[k] for k in config if not k.endswith("_every"))


@pytest.mark.parametrize("name", CARDS)
def test_presets_train_the_models_of_the_zoo(name):
    config, run = CARDS[name]["config"], PRESETS[name]
    assert read_config(type(run.model), config["model"]) == run.model
    assert config["corpus"] == config_card(run.corpus)
    assert agrees(config["train"], config_card(run.train))


@pytest.mark.parametrize("name", CARDS)
def test_the_command_of_a_card_is_still_understood(name):
    card = CARDS[name]
    program, command, *flags = shlex.split(card["command"])
    assert (program, command) == ("minildm", "train")
    model_type, asked = parse(flags)
    assert model_type == card["model_type"]
    assert asked.documents == card["config"]["corpus"]["documents"]
    assert agrees(card["config"]["train"], config_card(asked.train))


@pytest.mark.parametrize("name", [name for name, card in CARDS.items() if "mean" in card["scores"]])
def test_the_readme_shows_the_scores_of_the_cards(name):
    text, scores = (ROOT / "README.md").read_text(), CARDS[name]["scores"]
    for figure in ("grammatical", "consistent"):
        mean, spread = (100 * scores[row][figure] for row in ("mean", "spread"))
        assert f"{mean:.1f}% ± {spread:.1f}" in text
