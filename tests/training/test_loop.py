"""The training loop: its learning rate, its averages, its parts, and how it stops at a loss that is not finite."""

import math
import os
import re
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
from minildm.training.config import TrainConfig, learning_rate
from minildm.training.distributed import step_generator
from minildm.training.ema import EMA
from minildm.training.loop import Trainer
from minildm.training.metrics import MetricsLog, read_metrics
from minildm.training.optim import Muon, make_optimizer, orthogonal_factor

from . import tiny


def test_learning_rate_rises_linearly_then_falls_as_a_cosine():
    c = TrainConfig(steps=1000, warmup=100, lr=2.0, final_lr=0.1)
    table = {0: 0.02, 49: 1.0, 99: 2.0, 100: 2.0, 550: 2.0 * 0.55, 1000: 0.2}
    for step, rate in table.items():
        assert learning_rate(step, c) == pytest.approx(rate)
    x = (300 - 100) / 900
    assert learning_rate(300, c) == pytest.approx(2 * (0.1 + 0.9 * (1 + math.cos(math.pi * x)) / 2))


def test_learning_rate_without_warmup_and_with_nothing_but_warmup():
    assert learning_rate(0, TrainConfig(steps=10, warmup=0, lr=1.0)) == 1.0
    assert [learning_rate(s, TrainConfig(steps=4, warmup=4, lr=1.0)) for s in range(4)] == [
        0.25,
        0.5,
        0.75,
        1.0,
    ]


@pytest.mark.parametrize(
    "name", ["steps", "batch", "accumulate", "log_every", "eval_every", "save_every"]
)
def test_zero_or_negative_counts_are_refused(name):
    for value in (0, -3):
        with pytest.raises(
            UserError, match=f"--{name.replace('_', '-')} must be at least 1, not {value}"
        ):
            TrainConfig(**{name: value})


@pytest.mark.parametrize(
    "change, said",
    [
        ({"lr": 0.0}, "--lr must be above 0, not 0.0"),
        ({"lr": math.nan}, "--lr must be above 0, not nan"),
        ({"clip": 0.0}, "--clip must be above 0"),
        ({"ema": 1.0}, "--ema must be from 0 to below 1, not 1.0"),
        ({"beta2": 1.5}, "--beta2 must be from 0 to below 1"),
        ({"warmup": -5}, "--warmup must be at least 0, not -5"),
        ({"weight_decay": -1.0}, "--weight-decay must be at least 0"),
        ({"final_lr": -0.1}, "--final-lr must be at least 0"),
        ({"seed": -1}, "--seed must be from 0 to 2147483647, not -1"),
        ({"seed": 2**31}, "--seed must be from 0 to 2147483647"),
    ],
)
def test_numbers_that_train_nothing_are_refused(change, said):
    with pytest.raises(UserError, match=re.escape(said)):
        TrainConfig(**change)


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


def weights(optimizer) -> list[set[int]]:
    return [{id(p) for p in group["params"]} for group in optimizer.param_groups]


@pytest.mark.parametrize("kind", ["muon", "adamw"])
def test_every_trained_weight_has_one_optimizer_and_only_matrices_decay(kind):
    model = tiny.tiny_ldlm(tiny.RECIPES["ldlm"])
    optimizer = make_optimizer(model, TrainConfig(weight_decay=0.3, optimizer=kind))
    trained = {
        id(p): (name, p) for name, p in model.named_parameters() if not name.startswith("frozen.")
    }
    groups = weights(optimizer)
    assert sum(map(len, groups)) == len(trained) and set().union(*groups) == set(trained)
    for group, ids in zip(optimizer.param_groups, groups):
        assert all((group["weight_decay"] > 0) == (trained[i][1].dim() >= 2) for i in ids)
    orthogonal = groups[2:]
    assert len(orthogonal) == (kind == "muon")
    for i in set().union(*orthogonal):
        assert trained[i][1].dim() == 2 and ".blocks." in trained[i][0]


def test_a_step_of_muon_turns_all_directions_alike():
    """The update of a matrix has singular values near 0.2 lr sqrt(width), whatever those of the gradient."""
    model = tiny.tiny_gpt()
    optimizer = make_optimizer(model, TrainConfig(weight_decay=0.0, lr=1.0))
    matrix = optimizer.parts[1].param_groups[0]["params"][0]
    before = matrix.detach().clone()
    scales = torch.logspace(0, -2, min(matrix.shape))
    matrix.grad = torch.diag(scales).new_zeros(matrix.shape)
    matrix.grad[range(len(scales)), range(len(scales))] = scales
    optimizer.parts[1].step()
    moved = torch.linalg.svdvals(matrix - before) / (0.2 * max(matrix.shape) ** 0.5)
    assert 0.5 < moved.min() and moved.max() < 1.3  # the iteration is tuned for speed, not for ones


def test_stacked_matrices_move_as_torch_moves_each():
    """Our Muon and torch's, from the same weights with the same gradients, through decay and momentum."""
    shapes, rng = [(8, 8), (16, 8), (8, 16), (8, 8), (16, 8)], torch.Generator().manual_seed(0)
    start = [torch.randn(shape, generator=rng) for shape in shapes]
    ours, theirs = ([torch.nn.Parameter(x.clone()) for x in start] for _ in range(2))
    muon = Muon(ours, lr=0.1, weight_decay=0.3)
    peer = torch.optim.Muon(theirs, lr=0.1, weight_decay=0.3, adjust_lr_fn="match_rms_adamw")
    for step in range(3):
        for p, q in zip(ours, theirs):
            p.grad = (
                torch.randn(p.shape, generator=rng) if step or p.shape != (8, 16) else None
            )  # one joins later
            q.grad = None if p.grad is None else p.grad.clone()
        muon.step()
        peer.step()
    for p, q, x in zip(ours, theirs, start):
        assert (
            torch.allclose(p, q, atol=2e-3) and (p - x).abs().max() > 0.1
        )  # bfloat16 rounds to 0.4% of 0.1 * 0.2 * 4


def test_orthogonal_factor_of_tall_and_wide_matrices():
    """U S' V^T with S' near one: X^T Q is symmetric and positive, and the singular values of Q are near one."""
    for shape in ((3, 6, 16), (3, 16, 6), (3, 6, 6)):
        x = torch.randn(shape, generator=torch.Generator().manual_seed(1))
        q = orthogonal_factor(x).float()
        assert 0.4 < torch.linalg.svdvals(q).min() and torch.linalg.svdvals(q).max() < 1.3
        both = (x.mT if shape[1] > shape[2] else x) @ (q if shape[1] > shape[2] else q.mT)
        assert (
            torch.allclose(both, both.mT, atol=0.05 * both.abs().max().item())
            and torch.linalg.eigvalsh(both).min() > 0
        )


def test_noise_is_a_function_of_seed_step_and_part():
    def draws(*key):
        return torch.randn(4, generator=step_generator(*key, torch.device("cpu"))).tolist()

    assert draws(1, 2, 3) == draws(1, 2, 3)
    keys = [(s, k, p) for s in range(3) for k in range(3) for p in range(3)]
    assert len({tuple(draws(*key)) for key in keys}) == len(keys)


def test_average_is_the_warm_started_moving_mean():
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
    assert mean == pytest.approx(199 - 9, abs=0.1)  # a mean of decay 0.9 lags 9 steps behind a line


def test_parts_add_up_to_the_whole_batch(tmp_path):
    """With as many words in each part, the mean of the parts' means is the mean."""
    table = np.random.default_rng(0).integers(4, tiny.VOCABULARY, (16, tiny.LENGTH))
    trained = []
    for parts in (1, 4):
        config = TrainConfig(steps=3, batch=8, accumulate=parts, warmup=1)
        trainer = Trainer(
            tiny.tiny_gpt().double(), table, config, tmp_path / str(parts), {"config": {}}
        )
        trainer.fit(quiet=True)
        trained.append(trainer.model.state_dict())
    assert all(torch.allclose(trained[0][k], trained[1][k], atol=1e-9) for k in trained[0])


@pytest.mark.parametrize("kind", ["gpt", "masked", "ldlm"])
def test_training_lowers_the_loss(kind, tmp_path):
    trainer = tiny.make_trainer(kind, tmp_path, steps=60, batch=16, lr=5e-3)
    before = tiny.score(trainer.model, 0)["score"]
    trainer.fit(quiet=True)
    assert tiny.score(trainer.model, 0)["score"] < 0.8 * before


@pytest.mark.parametrize("kind", ["gpt", "masked", "ldlm"])
def test_bf16_autocast_trains_float32_weights(kind, tmp_path):
    trainer = tiny.make_trainer(kind, tmp_path, steps=2, bf16=True)
    before = {k: v.clone() for k, v in trainer.model.named_parameters()}
    trainer.fit(quiet=True)
    trained = dict(trainer.model.named_parameters())
    assert all(p.dtype == torch.float32 for p in trained.values())
    assert all(torch.isfinite(p).all() for p in trained.values())
    assert any(not torch.equal(before[k], p) for k, p in trained.items())


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["gpt", "masked", "ldlm"])
def test_compiled_and_plain_training_agree(kind, tmp_path):
    """In a child, since the compiler cannot trace the shape checks of tests."""
    command = [sys.executable, tiny.__file__, "compiled", kind, str(tmp_path / "compiled")]
    subprocess.run(
        command, env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}, check=True
    )
    tiny.make_trainer(kind, tmp_path / "plain", steps=3).fit(quiet=True)
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
    model = Spoiled(GPTConfig(tiny.VOCABULARY, tiny.LENGTH, 16, 2, 1))
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


def test_evaluation_sees_the_averaged_weights_and_leaves_no_trace(tmp_path):
    trainer = tiny.make_trainer("ldlm", tmp_path, steps=4)
    trainer.fit(quiet=True)
    own = {k: v.clone() for k, v in trainer.model.state_dict().items()}

    def look(model, step):
        assert not model.training and step == 4
        assert torch.equal(model.encoder.query, trainer.ema.weights["encoder.query"])
        return tiny.score(model, step)

    trainer.evaluate(look)
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


@pytest.mark.parametrize("kind", ["gpt", "masked", "ldlm"])
def test_checkpointing_trades_memory_for_time_only(kind, tmp_path):
    plain, sparing = (
        tiny.make_trainer(kind, tmp_path / str(flag), checkpointing=flag) for flag in (False, True)
    )
    for trainer in (plain, sparing):
        trainer.fit(quiet=True)
    marked = [
        part.checkpointing for part in sparing.model.modules() if hasattr(part, "checkpointing")
    ]
    assert marked and all(marked)
    for name, weight in plain.ema.weights.items():
        assert torch.allclose(weight, sparing.ema.weights[name], atol=1e-6), name
