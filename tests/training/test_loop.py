"""The training loop: its averages, its parts, and how it stops at a loss that is not finite."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from filelock import FileLock
from safetensors.torch import load_file

from minildm.errors import UserError
from minildm.models.base import Losses
from minildm.models.gpt import GPT, GPTConfig
from minildm.training.checkpoint import steps_saved
from minildm.training.config import TrainConfig
from minildm.training.distributed import step_generator
from minildm.training.ema import EMA
from minildm.training.loop import Trainer
from minildm.training.metrics import MetricsLog, read_metrics

from . import tiny


def test_a_folder_in_which_another_process_trains_is_refused(tmp_path):
    with (
        FileLock(tmp_path / "lock"),
        pytest.raises(UserError, match=r"another process trains in .*: wait for it, or choose"),
    ):
        tiny.make_trainer("gpt", tmp_path).fit(quiet=True)
    assert not (tmp_path / "metrics.jsonl").exists()
    tiny.make_trainer("gpt", tmp_path).fit(quiet=True)


def test_a_line_of_the_metrics_has_the_mean_losses_of_all_parts(tmp_path):
    trainer = tiny.make_trainer("gpt", tmp_path, steps=1, accumulate=2)
    parts = [
        trainer.model(part, step=0, rng=torch.Generator()).total.item()
        for part in trainer.batches.at(0).chunk(2)
    ]
    trainer.fit(quiet=True)
    line = read_metrics(tmp_path / "metrics.jsonl")[0]
    assert line["cross_entropy"] == pytest.approx(sum(parts) / 2, abs=1e-4) and parts[
        0
    ] != pytest.approx(parts[1], abs=1e-3)


def test_noise_is_a_function_of_seed_step_and_part():
    def draws(*key):
        return torch.randn(4, generator=step_generator(*key, torch.device("cpu"))).tolist()

    assert draws(1, 2, 3) == draws(1, 2, 3)
    keys = [(s, k, p) for s in range(3) for k in range(3) for p in range(3)]
    assert len({tuple(draws(*key)) for key in keys}) == len(keys)


def test_ema_is_the_warm_started_moving_mean():
    model = torch.nn.Linear(1, 1, bias=False)
    model.register_buffer("count", torch.tensor(0))
    torch.nn.init.constant_(model.weight, 1.0)
    ema, mean = EMA(model, decay=0.9), 1.0
    for step in range(200):
        torch.nn.init.constant_(model.weight, float(step))
        model.count.fill_(step)
        ema.update(model, step)
        decay = min(0.9, (1 + step) / (10 + step))
        mean = decay * mean + (1 - decay) * step
        assert ema.weights["weight"].item() == pytest.approx(mean, rel=1e-5)
        assert ema.weights["count"] == step
    assert mean == pytest.approx(199 - 9, abs=0.1)  # a mean of decay 0.9 is 9 steps behind a line


def test_parts_add_up_to_the_whole_batch(tmp_path):
    """With as many words in each part, the mean of the parts' means is the mean."""
    table = np.random.default_rng(0).integers(4, tiny.VOCAB_SIZE, (16, tiny.LENGTH))
    trained = []
    for parts in (1, 4):
        config = TrainConfig(steps=3, batch=8, accumulate=parts, warmup=1)
        trainer = Trainer(
            tiny.tiny_gpt().double(), table, config, tmp_path / str(parts), {"config": {}}
        )
        trainer.fit(quiet=True)
        trained.append(trainer.model.state_dict())
    assert all(torch.allclose(trained[0][k], trained[1][k], atol=1e-9) for k in trained[0])


@pytest.mark.parametrize("model_type", ["gpt", "masked", "ldlm"])
def test_training_lowers_the_loss(model_type, tmp_path):
    trainer = tiny.make_trainer(model_type, tmp_path, steps=60, batch=16, lr=5e-3)
    before = tiny.score(trainer.model, 0)["score"]
    trainer.fit(quiet=True)
    assert tiny.score(trainer.model, 0)["score"] < 0.8 * before


@pytest.mark.parametrize("model_type", ["gpt", "masked", "ldlm"])
def test_bf16_autocast_trains_float32_weights(model_type, tmp_path):
    trainer = tiny.make_trainer(model_type, tmp_path, steps=2, bf16=True)
    before = {k: v.clone() for k, v in trainer.model.named_parameters()}
    trainer.fit(quiet=True)
    trained = dict(trainer.model.named_parameters())
    assert all(p.dtype == torch.float32 for p in trained.values())
    assert all(torch.isfinite(p).all() for p in trained.values())
    assert any(not torch.equal(before[k], p) for k, p in trained.items())


@pytest.mark.parametrize("there", [True, False])
def test_bfloat16_is_used_where_the_processor_has_it(there, tmp_path, monkeypatch):
    """Emulated, it would take several times as long as float32."""
    monkeypatch.setattr("minildm.training.config.has_bfloat16", lambda device: there)
    seen = []
    trainer = tiny.make_trainer("gpt", tmp_path, steps=1, bf16=True)
    head = trainer.model.stack.blocks[0].feed_forward
    head.register_forward_hook(lambda module, given, found: seen.append(found.dtype))
    trainer.fit(quiet=True)
    assert seen[0] == (torch.bfloat16 if there else torch.float32)
    assert trainer.card["config"]["train"]["bf16"]


@pytest.mark.slow
@pytest.mark.parametrize("model_type", ["gpt", "masked", "ldlm"])
def test_compiled_and_plain_training_agree(model_type, tmp_path):
    """In a child, since the compiler cannot trace the shape checks of tests."""
    command = [sys.executable, tiny.__file__, "compiled", model_type, str(tmp_path / "compiled")]
    subprocess.run(
        command, env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}, check=True
    )
    tiny.make_trainer(model_type, tmp_path / "plain", steps=3).fit(quiet=True)
    ours, theirs = (
        load_file(tmp_path / name / "step_0000003" / "model.safetensors")
        for name in ("compiled", "plain")
    )
    assert ours.keys() == theirs.keys() and all(
        torch.allclose(ours[k], theirs[k], atol=1e-6) for k in ours
    )


class Spoiled(GPT):
    """A GPT with a second term that is not finite from step 2 on, or whose gradient is not."""

    factor = torch.nan

    def losses(self, tokens, *, step, rng) -> Losses:
        terms = super().losses(tokens, step=step, rng=rng).terms
        extra = (
            (terms["cross_entropy"] * 0).sqrt()
            if self.factor == 0
            else terms["cross_entropy"] * self.factor
        )
        return Losses({**terms, "spoiled": extra} if step >= 2 else terms)


@pytest.mark.parametrize(
    "factor, sentence",
    [
        (torch.nan, "the loss term spoiled is nan"),
        (torch.inf, "the loss term spoiled is inf"),
        (0, "the norm of the gradient is nan"),
    ],
)
def test_what_is_not_finite_is_named_before_it_reaches_the_weights(factor, sentence, tmp_path):
    config = TrainConfig(steps=5, batch=4, accumulate=2, save_every=1)
    model = Spoiled(GPTConfig(tiny.VOCAB_SIZE, tiny.LENGTH, 16, 2, 1))
    model.factor = factor
    trainer = Trainer(model, tiny.rows(), config, tmp_path, {"config": {}})
    with pytest.raises(
        UserError, match=rf"{sentence} at step 2: the batch is in .*bad_batch\.safetensors"
    ):
        trainer.fit(quiet=True)
    assert torch.equal(
        load_file(tmp_path / "bad_batch.safetensors")["tokens"], trainer.batches.at(2)
    )
    assert [p.name for p in steps_saved(tmp_path)] == ["step_0000001", "step_0000002"]
    assert all(torch.isfinite(p).all() for p in model.parameters())


def test_evaluation_uses_the_averaged_weights_and_leaves_no_trace(tmp_path):
    trainer = tiny.make_trainer("ldlm", tmp_path, steps=4)
    trainer.fit(quiet=True)
    own = {k: v.clone() for k, v in trainer.model.state_dict().items()}

    def keep_weights(model, step):
        assert not model.training and step == 4
        assert torch.equal(model.encoder.query, trainer.ema.weights["encoder.query"])
        return tiny.score(model, step)

    trainer.evaluate(keep_weights)
    assert trainer.model.training and not trainer.model.frozen.training
    assert all(torch.equal(own[k], v) for k, v in trainer.model.state_dict().items())


def test_metrics_are_cut_back_to_the_step_it_resumes_from(tmp_path):
    path = tmp_path / "metrics.jsonl"
    log = MetricsLog(tmp_path)
    for step in range(1, 6):
        log.write(step=step, loss=0.5)
    with path.open("a") as file:
        file.write('{"step": 6, "lo')  # cut off by a crash
    assert [line["step"] for line in read_metrics(path)] == [1, 2, 3, 4, 5]
    MetricsLog(tmp_path, 3).write(step=4, loss=0.25)
    assert [(line["step"], line["loss"]) for line in read_metrics(path)] == [
        (1, 0.5),
        (2, 0.5),
        (3, 0.5),
        (4, 0.25),
    ]


@pytest.mark.parametrize("model_type", ["gpt", "masked", "ldlm"])
def test_checkpointing_trades_memory_for_time_only(model_type, tmp_path):
    plain, sparing = (
        tiny.make_trainer(model_type, tmp_path / str(flag), checkpointing=flag)
        for flag in (False, True)
    )
    for trainer in (plain, sparing):
        trainer.fit(quiet=True)
    marked = [
        part.checkpointing for part in sparing.model.modules() if hasattr(part, "checkpointing")
    ]
    assert marked and all(marked)
    for name, weight in plain.ema.weights.items():
        assert torch.allclose(weight, sparing.ema.weights[name], atol=1e-6), name
