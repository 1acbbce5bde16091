"""The public API: what `import minildm` offers, and the example of the README."""

import contextlib
import io
import re
from pathlib import Path

import pytest
import torch

import minildm as ml
from minildm.cli import main
from minildm.models.registry import MODEL_TYPES, type_of
from minildm.training.presets import PRESETS

ROOT = Path(__file__).parent.parent


def test_every_public_name_is_there():
    assert set(ml.__all__) <= set(dir(ml))
    for name in ml.__all__:
        assert getattr(ml, name).__name__ == name


def test_the_model_classes_of_all_presets_and_their_sizes_are_public():
    for entry in (MODEL_TYPES[type_of(run.model)] for run in PRESETS.values()):
        for public in (entry.model, entry.config):
            assert getattr(ml, public.__name__) is public


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


def test_a_run_of_python_is_the_run_of_its_flags(tmp_path, monkeypatch):
    monkeypatch.setenv("MINILDM_CACHE", str(tmp_path / "cache"))
    run = ml.Run(
        ml.GPTConfig(d_model=16, n_heads=2, n_layers=1),
        ml.TrainConfig(steps=2, batch=4),
        ml.CorpusConfig(documents=60),
    )
    trained = ml.train(run, tmp_path / "python", quiet=True)
    flags = "--model.d-model 16 --model.n-heads 2 --model.n-layers 1 --documents 60"
    main(
        f"train gpt {flags} --train.steps 2 --train.batch 4 --train.no-bf16 --train.lr 0.001 "
        "--train.warmup 100 --train.ema 0.999 --train.eval-every 500 --train.save-every 500 "
        f"--quiet --out {tmp_path}/flags".split()
    )
    same = ml.load(tmp_path / "flags")
    assert trained.card["config"] == same.card["config"]
    for one, two in zip(trained.model.parameters(), same.model.parameters(), strict=True):
        assert torch.equal(one, two)
    assert trained.card["command"] == f"minildm.train({run}, {str(tmp_path / 'python')!r})"
    ml.train(run, tmp_path / "python", quiet=True)  # it goes on from the end
    card = ml.evaluate(tmp_path / "python", 2, 1, config=ml.GenerationConfig(temperature=0.5))
    assert card["rows"][0]["temperature"] == 0.5 and card["held_out"]["nats_per_token"] > 0


def test_mistakes_are_refused_before_long_work(tmp_path, monkeypatch):
    monkeypatch.setenv("MINILDM_CACHE", str(tmp_path / "cache"))
    for run, said in (
        (ml.Run(ml.GPTConfig(d_model=6), ml.TrainConfig()), "cannot be cut into 4 heads"),
        (ml.Run(ml.LDLMConfig(frozen="zoo:none"), ml.TrainConfig()), "none"),
    ):
        with pytest.raises(ml.UserError, match=said):
            ml.train(run, tmp_path / "run")
    with pytest.raises(ml.UserError, match="no solver 'ddim'"):
        ml.evaluate("masked-tales", config=ml.GenerationConfig(solver="ddim"))
    assert not list(tmp_path.iterdir())


@pytest.mark.slow
def test_the_example_of_the_readme_runs(tmp_path, monkeypatch):
    example = re.search(r"```python\n(.*?)```", (ROOT / "README.md").read_text(), re.S)[1]
    assert len(example.splitlines()) <= 12
    monkeypatch.chdir(tmp_path)
    said = io.StringIO()
    with contextlib.redirect_stdout(said):
        exec(example, {})
    assert "once at the castle" in said.getvalue() and (tmp_path / "runs").is_dir()
