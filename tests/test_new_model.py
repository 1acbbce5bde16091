"""A model type is one file and one line of the registry: then it trains, draws texts, and is measured."""

import json
import math

import pytest
import torch

import minildm as ml
from minildm.cli import main
from minildm.models.registry import MODEL_TYPES, ModelType

from .toy_model import Neighbors, NeighborsConfig

TRAIN = ml.TrainConfig(steps=30, batch=8, lr=0.3, warmup=2)


@pytest.fixture
def neighbors(monkeypatch, tmp_path):
    """A trained model of a type that the package does not have."""
    monkeypatch.setenv("MINILDM_CACHE", str(tmp_path / "cache"))
    monkeypatch.setitem(MODEL_TYPES, "neighbors", ModelType(Neighbors, NeighborsConfig))
    run = ml.Run(NeighborsConfig(reach=1), TRAIN, ml.CorpusConfig(documents=60))
    return ml.train(run, tmp_path / "run", quiet=True), tmp_path / "run"


def test_it_trains_draws_and_is_measured(neighbors, capsys):
    loaded, run = neighbors
    assert type(loaded.model) is Neighbors and loaded.model.config.reach == 1
    lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    assert lines[-1]["nats_per_token"] < math.log(265)  # untrained it is more, padding included
    texts = ml.sample(loaded, "once", 2, steps=4, seed=0)
    assert texts.nfe == 4 and all(text.startswith("once") for text in texts.texts)
    assert torch.equal(texts.tokens, ml.sample(loaded, "once", 2, steps=4, seed=0).tokens)
    card = ml.evaluate(run, count=2, seeds=1, config=ml.GenerationConfig(steps=3))
    assert card["rows"][0]["model_type"] == "neighbors" and card["held_out"]["excess"] > 0
    main(["sample", str(run), "--solver", "confidence", "--steps", "3"])
    assert capsys.readouterr().out


def test_its_flags_have_its_sizes_and_its_mistakes_are_refused(neighbors, capsys):
    with pytest.raises(SystemExit):
        main(["train", "neighbors", "--help"])
    said = " ".join(capsys.readouterr().out.split())
    assert "Train a model of neighbors on a corpus." in said and "--model.reach INT" in said
    assert "neighbors on each side that a token depends on" in said
    assert "--model.vocab-size" not in said
    with pytest.raises(SystemExit):
        main(["train", "neighbors", "--preset", "neighbors-tales"])
    assert "no preset 'neighbors-tales' of a neighbors" in capsys.readouterr().err
