"""The public API: what `import minildm` offers, and the example of the README."""

import contextlib
import io
import re
from pathlib import Path

import pytest
import torch

import minildm as ml
from minildm.api import as_flags
from minildm.models.registry import MODEL_TYPES

ROOT = Path(__file__).parent.parent


def test_every_public_name_is_there():
    assert set(ml.__all__) <= set(dir(ml))
    for name in ml.__all__:
        assert getattr(ml, name).__name__ == name


def test_every_model_class_is_public():
    for entry in MODEL_TYPES.values():
        assert getattr(ml, entry.model.__name__) is entry.model


def test_an_unknown_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="no attribute 'generate'"):
        _ = ml.generate


@pytest.fixture(scope="module")
def gpt():
    return ml.load("gpt-tales")


def test_a_seed_gives_the_same_texts_and_they_begin_with_the_prompt(gpt):
    first, again = (ml.sample(gpt, "once at the castle", 2, seed=3) for _ in range(2))
    assert first.texts == again.texts and torch.equal(first.tokens, again.tokens)
    assert all(text.startswith("once at the castle") for text in first.texts)
    assert first.tokens.shape == (2, 64) and first.nfe >= 8
    assert ml.sample(gpt, "once at the castle", 2, seed=4).texts != first.texts


def test_the_prompt_is_adapted_to_the_vocabulary(gpt):
    assert ml.sample(gpt, "Once at the castle", 1).texts[0].startswith("once at the castle")
    with pytest.raises(ml.UserError, match="dragon"):
        ml.sample(gpt, "once at the dragon", 1)


def test_steps_win_over_those_of_the_configuration():
    model = ml.load("masked-tales")
    config = ml.GenerationConfig(steps=16, solver="confidence")
    assert ml.sample(model, config=config).nfe == 16
    assert ml.sample(model, steps=4, config=config).nfe == 4


def test_what_a_model_cannot_do_is_refused(gpt):
    with pytest.raises(ml.UserError):
        ml.sample(gpt, steps=4)
    with pytest.raises(ml.UserError):
        ml.sample(ml.load("vae-tales"))


def test_options_are_flags():
    options = {"train.steps": 5, "train.lr": 1e-3, "quiet": True, "train.bf16": False, "top_p": 0.9}
    flags = "--train.steps 5 --train.lr 0.001 --quiet --train.no-bf16 --top-p 0.9"
    assert as_flags(options) == flags.split()
    with pytest.raises(ml.UserError, match="option steps is None"):
        as_flags({"steps": None})


def test_a_mistyped_option_is_named(tmp_path):
    with pytest.raises(ml.UserError, match=r"--train\.stepz"):
        ml.train("gpt", out=tmp_path, options={"train.stepz": 5})
    with pytest.raises(ml.UserError, match="--solvr"):
        ml.evaluate("gpt-tales", options={"solvr": "ddim"})


@pytest.mark.slow
def test_the_example_of_the_readme_runs(tmp_path, monkeypatch):
    example = re.search(r"```python\n(.*?)```", (ROOT / "README.md").read_text(), re.S)[1]
    assert len(example.splitlines()) <= 12
    monkeypatch.chdir(tmp_path)
    said = io.StringIO()
    with contextlib.redirect_stdout(said):
        exec(example, {})
    assert "once at the castle" in said.getvalue() and (tmp_path / "runs").is_dir()
