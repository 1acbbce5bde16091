"""Disturbed texts: three equal paths without a disturbance, and what each path keeps with one."""

import pytest
import torch

from minildm import UserError
from minildm.control.feedback import Disturbance
from minildm.dynamics.records import Trajectory
from minildm.evaluation.disturbances import (
    Push,
    agreement,
    displacement,
    disturbed,
    last_tokens,
    other_tokens,
    outcome,
    undisturbed,
)
from minildm.evaluation.set_back import set_back
from minildm.evaluation.writer import Writer
from minildm.models.generation import GenerationConfig
from minildm.models.gpt import GPT, GPTConfig
from minildm.models.masked import MaskedDiffusion, MaskedDiffusionConfig
from minildm.sampling import Sampler
from minildm.text.tokenizers import WordTokenizer
from minildm.tokens import BOS, EOS, MASK, PAD
from minildm.transport.horizon import noise_level_after
from minildm.transport.schedules import Cosine, Linear, Tangent
from tests.models.small import ldlm
from tests.models.tiny_manta import manta

SIZES = {"vocab_size": 12, "seq_len": 8, "d_model": 16, "n_heads": 2, "n_layers": 1}
KINDS = ("gpt", "masked", "ldlm", "manta")


def made(kind: str):
    torch.manual_seed(0)
    return {
        "gpt": lambda: GPT(GPTConfig(**SIZES)),
        "masked": lambda: MaskedDiffusion(MaskedDiffusionConfig(**SIZES)),
        "ldlm": ldlm,
        "manta": manta,
    }[kind]().eval()


def sampler(model, **how) -> Sampler:
    """A sampler with those of the options that the model has."""
    how = {"solver": "ancestral", **how} if model.capabilities.latent else how
    how = {name: x for name, x in how.items() if name in model.capabilities.options}
    return Sampler(model, GenerationConfig(**how))


def rng(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@pytest.mark.parametrize("kind", KINDS)
def test_a_disturbance_of_size_zero_gives_one_path_three_times(kind):
    """With the default solvers, of which those of latents draw noise in every step."""
    paths = disturbed(sampler(made(kind), steps=8), 5, Push(size=0.0))
    for path in (paths.closed, paths.replayed):
        assert torch.equal(path.states, paths.plan.states) and torch.equal(
            path.tokens, paths.plan.tokens
        )


@pytest.mark.parametrize("kind", KINDS)
def test_texts_that_are_left_alone_go_by_the_plan(kind):
    plan, alone = (
        disturbed(sampler(made(kind), steps=8), 5, seed=3).plan,
        undisturbed(sampler(made(kind), steps=8), 5, seed=3),
    )
    for one in ("times", "states", "tokens", "confidence"):
        assert torch.equal(getattr(plan, one), getattr(alone, one))


@pytest.mark.parametrize("kind", KINDS)
def test_a_writer_hands_the_explorer_its_paths(kind):
    tokenizer = WordTokenizer([f"w{i}" for i in range(8)])
    writer = Writer(made(kind), tokenizer, torch.full((6, 8), 5), count=3)
    assert "ancestral" in writer.solvers and writer.stepped == (kind != "gpt")
    assert (writer.log_snr is None) == (kind in ("gpt", "masked")) and len(writer.cloud) == 6
    asked = {
        "prompt": "w2 w3",
        "solver": "ancestral",
        "steps": 8,
        "seed": 1,
        "moment": 0.5,
        "direction": 0,
    }
    (alone,), _ = writer.paths(**asked, size=0)
    (plan, closed, replayed), at = writer.paths(**asked, size=1)
    assert torch.equal(plan.states, alone.states) and 0 < at < 8
    for path in (plan, closed, replayed):
        assert path.states.shape == plan.states.shape
    assert writer.pieces(plan.tokens[-1, 0, :3].tolist()) == ["<bos>", "w2", "w3"]
    with pytest.raises(UserError, match="the word 'wolf' is not in the vocabulary"):
        writer.paths(**asked | {"prompt": "wolf"}, size=0)


@pytest.mark.parametrize("kind", KINDS)
def test_paths_have_one_past_and_carry_words(kind):
    paths = disturbed(sampler(made(kind), steps=8), 5, Push(size=2.0, moment=0.4))
    for path in (paths.plan, paths.closed, paths.replayed):
        assert path.tokens.shape == path.confidence.shape == path.states.shape[:2] + (8,)
        assert ((path.confidence >= 0) & (path.confidence <= 1.00001)).all()
        assert torch.equal(path.states[: paths.at], paths.plan.states[: paths.at])
        assert kind in ("gpt", "masked") or path.denoised.shape == path.states.shape
    assert torch.equal(paths.closed.states[paths.at], paths.replayed.states[paths.at])
    assert not torch.equal(paths.closed.states[paths.at], paths.plan.states[paths.at])


@pytest.mark.parametrize("kind", ["ldlm", "manta"])
def test_a_replay_under_euler_keeps_exactly_the_displacement(kind):
    paths = disturbed(sampler(made(kind), steps=8, solver="euler", offset=0.0), 4, Push(size=1.5))
    moved = (paths.replayed.states - paths.plan.states)[paths.at :]
    assert torch.allclose(moved, moved[:1].expand_as(moved), atol=1e-5)
    assert torch.allclose(moved[0].square().mean((1, 2)).sqrt(), torch.full((4,), 1.5), atol=1e-5)


def test_with_an_offset_only_positions_under_way_are_pushed_and_the_replay_keeps_it():
    paths = disturbed(sampler(manta(), steps=8, solver="euler", offset=2.0), 4)
    t, moved = paths.plan.times[paths.at], paths.replayed.states - paths.plan.states
    under_way = ((t > 0) & (t < 1)).expand_as(moved[0])
    assert under_way.any() and not under_way.all()
    assert (moved[paths.at][~under_way] == 0).all()
    assert moved[paths.at][under_way].square().mean().sqrt().item() == pytest.approx(1.0, abs=1e-5)
    assert torch.allclose(moved[-1], moved[paths.at], atol=1e-5)


def test_the_closed_loop_shrinks_a_disturbance_as_the_time_that_is_left_while_the_end_stays():
    """(1 - t)/(1 - s), as for the pinned point of chapter 03, for a policy whose z_hat does not depend on the state."""
    model, fixed = manta(), torch.randn(8, 6, generator=rng(1))
    model.predict = lambda z, t, c, *_: (fixed.expand_as(z).where(t[..., None] < 1, z), None)
    paths = disturbed(sampler(model, steps=8, solver="euler", offset=0.0), 3)
    moved = (paths.closed.states - paths.plan.states)[paths.at :]
    t = paths.plan.times[paths.at :]
    assert torch.allclose(moved, moved[0] * (1 - t) / (1 - t[0]), atol=1e-5)
    assert torch.allclose(paths.closed.denoised[paths.at], fixed.expand(3, 8, 6), atol=1e-4)


@pytest.mark.parametrize("kind", ["gpt", "masked"])
def test_a_replay_of_words_differs_in_exactly_the_words_that_were_replaced(kind):
    for size in (1, 2):
        paths = disturbed(sampler(made(kind), steps=8), 40, Push(size=size, moment=0.6))
        differ = (paths.replayed.tokens[-1] != paths.plan.tokens[-1]).sum(1)
        written = (paths.plan.tokens[paths.at] >= 4).sum(1)
        assert torch.equal(differ, written.clamp(max=size)) and differ.max() == size


def test_the_closed_loop_of_a_gpt_changes_nothing_before_its_word():
    paths = disturbed(sampler(made("gpt")), 40, Push(moment=0.6))
    words, plan = paths.closed.tokens[-1], paths.plan.tokens[-1]
    assert torch.equal(
        (words != plan)[:, : paths.at + 1].sum(1), (paths.replayed.tokens[-1] != plan).sum(1)
    )
    assert (words != plan)[:, paths.at + 1 :].any()


@pytest.mark.parametrize("kind", KINDS)
def test_a_path_that_is_not_recorded_ends_in_the_same_words(kind):
    model = made(kind)
    recorded, short = (
        disturbed(sampler(model, steps=8), 3, record=record) for record in (True, False)
    )
    assert short.closed.tokens is None and torch.equal(
        last_tokens(model, short.closed), last_tokens(model, recorded.closed)
    )


def test_a_displacement_is_of_its_size_in_each_text():
    push = displacement(torch.zeros(50, 4, 3), torch.tensor(0.5), 0.7, rng())
    assert torch.allclose(push.square().mean((1, 2)).sqrt(), torch.full((50,), 0.7))
    assert (displacement(torch.zeros(2, 4, 3), torch.ones(2, 4, 1), 0.7, rng()) == 0).all()


def test_other_words_are_words_alike_likely_and_specials_stay():
    tokens = torch.tensor([[BOS, 7, EOS, PAD, MASK]]).repeat(4000, 1)
    after = tokens + other_tokens(tokens, 3, 10, rng())
    assert torch.equal(after[:, [0, 2, 3, 4]], tokens[:, [0, 2, 3, 4]])
    counts = after[:, 1].bincount(minlength=10)
    assert (
        counts[7] == 0
        and counts[:4].sum() == 0
        and (counts[[4, 5, 6, 8, 9]] - 800).abs().max() < 120
    )


def test_agreement_counts_words_and_leaves_padding_out():
    plan = torch.tensor([[1, 5, 6, 2, 0, 0]])
    assert agreement(torch.tensor([[1, 5, 7, 2, 0, 0]]), plan).tolist() == [0.75]
    assert agreement(torch.tensor([[1, 5, 6, 8, 2, 0]]), plan).tolist() == pytest.approx([0.6])


def test_outcome_measures_the_rest_of_the_displacement():
    plan, push = torch.zeros(3, 2, 4, 1), torch.ones(3, 2, 4, 1)
    push[0], push[2] = 0, 0.25
    words = torch.tensor([[[1, 4, 5, 2]] * 2] * 3)
    paths = [
        Trajectory(torch.linspace(0, 1, 3), states, None, words) for states in (plan, push, push)
    ]
    tokenizer = WordTokenizer(["a", "b"])
    found = outcome(manta(), Disturbance(*paths, 1, (push, push)), tokenizer)
    assert found["closed"]["left"] == 0.25 and found["replayed"]["agreement"] == 1.0


@pytest.mark.parametrize("schedule", [Linear(), Cosine(), Tangent(3.0)])
def test_the_time_after_a_push_has_the_noise_of_the_pushed_state(schedule):
    """z_t + size xi, scaled by a(t')/a(t), has the coefficients of z_t': a(t') of z_1, and noise of std b(t')."""
    t = torch.tensor([0.2, 0.5, 0.9], dtype=torch.float64)
    s = noise_level_after(schedule, t, 0.8)
    scale = schedule.a(s) / schedule.a(t)
    assert (s < t).all() and torch.allclose(
        scale * (schedule.b(t) ** 2 + 0.64).sqrt(), schedule.b(s)
    )
    assert torch.allclose(noise_level_after(schedule, t, 0.0), t)


@pytest.mark.parametrize(("kind", "offset"), [("ldlm", None), ("manta", 0.0), ("manta", 2.0)])
def test_a_loop_that_is_set_back_by_nothing_goes_on_as_the_plan(kind, offset):
    how = {"steps": 8, "solver": "euler", "offset": offset}
    model = made(kind)
    if kind == "ldlm":  # without its last z_hat, which the loop that starts anew has not seen
        denoise = model.denoise
        model.denoise = lambda z, t, c: denoise(z, t, torch.zeros_like(c))
    paths = disturbed(sampler(model, **how), 3, Push(size=0.0))
    assert torch.equal(set_back(sampler(model, **how), paths, 0.0), paths.plan.tokens[-1])
