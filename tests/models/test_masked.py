"""Masked diffusion: its bound, its reverse steps and its orders against distributions that are known exactly."""

import itertools
import math

import pytest
import torch

from minildm.dynamics.solvers import integrate
from minildm.errors import UserError
from minildm.models.confidence import margin, top_probability
from minildm.models.masked import MaskedDiffusion, MaskedDiffusionConfig
from minildm.sampling.config import Settings
from minildm.sampling.discrete import Unmasking, write
from minildm.sampling.process import Request
from minildm.tokens import BOS, MASK
from tests.sampling.draw import draw

CONFIG = MaskedDiffusionConfig(vocab_size=20, seq_len=12, d_model=16, n_heads=2, n_layers=2)
FIRST = 4  # the first word of the two-word distributions below


def rng(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def model(seed: int = 0) -> MaskedDiffusion:
    """A masked model with larger weights and open kernels, so that its opinions differ."""
    torch.manual_seed(seed)
    masked = MaskedDiffusion(CONFIG).eval()
    with torch.no_grad():
        masked.embedding.weight *= 2
        masked.conv.kernel += 0.5 * torch.randn(masked.conv.kernel.shape)
    return masked


@torch.no_grad()
def test_the_bound_is_the_mean_over_all_orders_of_reading():
    """-log p(w) <= the mean over orders of sum_k -log p(w_k | words before in that order), which is the integral over time.

    Measured within 4 standard errors of 20,000 draws, at times that are stratified.
    """
    masked, tokens = model(), torch.tensor([[5, 9, 17, 7]])
    orders = list(itertools.permutations(range(4)))
    total = 0.0
    for order in orders:
        seen = torch.full_like(tokens, MASK)
        for i in order:
            total -= masked.logits(seen)[0, i].log_softmax(-1)[tokens[0, i]].item()
            seen[0, i] = tokens[0, i]
    draws = torch.cat([masked.bound(tokens.expand(500, -1), rng(seed)) for seed in range(40)])
    assert draws.mean().item() == pytest.approx(
        total / len(orders), abs=4 * draws.std().item() / math.sqrt(len(draws))
    )


@torch.no_grad()
def test_losses_are_the_bound_a_position():
    masked, tokens = model(), torch.randint(4, 20, (8, 12), generator=rng())
    loss = masked.losses(tokens, step=3, rng=rng(1))
    assert loss.total == pytest.approx(masked.bound(tokens, rng(1)).mean().item() / 12)


@torch.no_grad()
def test_words_are_visible_with_probability_t_and_no_mask_is_behind_a_mask():
    masked, tokens = model(), torch.full((4000, 12), 5)
    t = torch.linspace(0, 1, 5).repeat_interleave(800)
    hidden = masked.hide(tokens, t, rng()).float().view(5, -1).mean(1)
    assert (
        torch.allclose(hidden, 1 - torch.linspace(0, 1, 5), atol=0.02)
        and hidden[0] == 1
        and hidden[-1] == 0
    )
    assert (masked.logits(torch.full((2, 12), MASK)).softmax(-1)[..., MASK] == 0).all()


def pair_probs() -> torch.Tensor:
    """A distribution of two words of two: often equal."""
    return torch.tensor([[0.4, 0.1], [0.05, 0.45]], dtype=torch.float64)


def oracle(tokens, t):
    """The exact conditional distributions of `pair_probs`, a row a mask, over a vocabulary of six."""
    joint, rows = pair_probs(), []
    for pair in tokens:
        for i, word in enumerate(pair):
            if word == MASK:
                other = pair[1 - i]
                probs = (
                    joint.sum(1 - i) if other == MASK else joint.select(1 - i, int(other) - FIRST)
                )
                rows.append(
                    torch.cat((torch.zeros(FIRST, dtype=torch.float64), probs / probs.sum()))
                )
    return torch.stack(rows) if rows else torch.zeros(0, 6, dtype=torch.float64)


class Oracle(MaskedDiffusion):
    """The exact predictor as a model of pairs of words."""

    def __init__(self):
        super().__init__(MaskedDiffusionConfig(6, 2, d_model=4, n_heads=1, n_layers=1))

    def logits(self, tokens):
        logits = torch.zeros(*tokens.shape, 6, dtype=torch.float64)
        logits[tokens == MASK] = oracle(tokens, None).log()
        return logits


def unmasking(steps: int, solver: str, count: int) -> Unmasking:
    """The sampler of `count` pairs by the exact predictor."""
    config = Settings(steps=steps, solver=solver, length=2, temperature=1.0)
    given = torch.zeros(count, 2, dtype=torch.long)
    request = Request(config, given, given.bool(), rng(steps))
    return Unmasking(Oracle(), request, torch.linspace(0, 1, steps + 1))


def written(steps: int, solver: str, count: int = 4000) -> torch.Tensor:
    """Fractions of the four pairs among texts written by the exact predictor."""
    policy = unmasking(steps, solver, count)
    start = torch.full((count, 2), MASK)
    tokens = integrate(policy, start, policy.times, write, record=False).states[-1] - FIRST
    return torch.bincount(tokens[:, 0] * 2 + tokens[:, 1], minlength=4).view(2, 2) / count


def test_one_step_writes_the_product_of_marginals_and_many_write_the_joint():
    """With the exact predictor the only error left is that of words revealed together: one step loses their dependence."""
    joint = pair_probs()
    product = joint.sum(1)[:, None] * joint.sum(0)
    spread = 4 * (0.25 / 4000) ** 0.5
    assert (written(1, "ancestral") - product).abs().max() < spread
    at_once = 1 / 32  # two words meet in one of 32 steps
    assert (
        written(32, "ancestral") - ((1 - at_once) * joint + at_once * product)
    ).abs().max() < spread


def test_one_word_a_step_writes_the_joint_if_the_order_depends_on_probabilities_and_not_on_draws():
    """Margins choose the place before its word. Confidence chooses among drawn words, so probable words win: of (a, b) drawn
    from the product, b = 1 goes first with its .55, else a with its .5, which gives the joint below."""
    spread = 4 * (0.25 / 4000) ** 0.5
    assert (written(2, "margin") - pair_probs()).abs().max() < spread
    biased = torch.tensor(
        [[0.45 * 0.5 * 0.8, 0.45 * 0.5 * 0.2 + 0.1], [0.45 * 0.5 * 0.1, 0.45 * 0.5 * 0.9 + 0.45]]
    )
    assert (written(2, "confidence") - biased).abs().max() < spread


@pytest.mark.parametrize("steps", [1, 3, 7, 12, 30])
@pytest.mark.parametrize("solver", MaskedDiffusion.capabilities.solvers)
def test_reveals_are_for_good_and_the_last_step_leaves_no_mask(solver, steps):
    path = draw(model(), 6, rng=rng(), steps=steps, solver=solver, record=True).trajectory
    hidden = path.tokens == MASK
    assert hidden[0].all() and not hidden[-1].any() and path.tokens.shape == (steps + 1, 6, 12)
    assert (hidden[1:] <= hidden[:-1]).all()
    shown = ~hidden[:-1]
    assert (path.tokens[1:][shown] == path.tokens[:-1][shown]).all()
    assert (
        path.confidence[1:][shown] == path.confidence[:-1][shown]
    ).all()  # that of the moment of revealing
    assert ((path.confidence > 0) & (path.confidence <= 1)).all()
    if solver != "ancestral":
        assert hidden.sum(2).float().sub(12 * (1 - path.times)[:, None]).abs().max() <= 0.5


@torch.no_grad()
def test_recorded_confidence_is_the_probability_of_the_revealed_word():
    masked = model()
    path = draw(masked, 3, rng=rng(), steps=5, record=True).trajectory
    for k in range(5):
        new = (path.tokens[k] == MASK) & (path.tokens[k + 1] != MASK)
        probs = (
            masked.logits(path.tokens[k])
            .softmax(-1)
            .gather(-1, path.tokens[k + 1][..., None])
            .squeeze(-1)
        )
        assert torch.allclose(path.confidence[k + 1][new], probs[new], atol=1e-6)


def test_the_surest_go_first():
    probs = torch.tensor([[0.5, 0.3, 0.2], [0.45, 0.05, 0.5], [0.6, 0.4, 0.0]], dtype=torch.float64)
    words = torch.tensor([0, 2, 1])
    assert torch.equal(
        top_probability(probs, words), torch.tensor([0.5, 0.5, 0.4], dtype=torch.float64)
    )
    assert torch.allclose(margin(probs, words), torch.tensor([0.2, 0.05, 0.2], dtype=torch.float64))
    policy = unmasking(3, "confidence", 1)
    masked = torch.ones(1, 3, dtype=torch.bool)
    policy.masks = torch.tensor([[3]])
    first = policy.surest(masked, torch.tensor([0.9, 0.8, 1.0]), torch.tensor(1 / 3))
    assert first.tolist() == [[False, False, True]]


def test_prompts_and_gaps():
    masked = model()
    prompt = torch.tensor([[BOS, 5, 9, 7]])
    for solver in MaskedDiffusion.capabilities.solvers:
        assert (
            draw(masked, 3, rng=rng(), steps=4, solver=solver, prompt=prompt).tokens[:, :4]
            == prompt
        ).all()
    text, gap = (
        torch.randint(4, 20, (3, 12), generator=rng(2)),
        torch.zeros(3, 12, dtype=torch.bool),
    )
    gap[:, 4:7] = True
    filled = draw(masked, 3, rng=rng(), steps=4, prompt=text, observed=~gap, temperature=0.0).tokens
    assert torch.equal(filled[~gap], text[~gap]) and (filled[gap] != MASK).all()


def test_texts_are_a_function_of_the_seed_and_evaluations_are_counted():
    masked = model()
    first, again, other = (draw(masked, 4, rng=rng(seed), steps=6) for seed in (0, 0, 1))
    assert torch.equal(first.tokens, again.tokens) and not torch.equal(first.tokens, other.tokens)
    assert first.nfe == 6 and first.trajectory is None and first.tokens.shape == (4, 12)


def test_requests_that_cannot_be_fulfilled():
    for wrong, said in (
        (dict(solver="heun"), "a masked model has no solver 'heun'"),
        (dict(steps=0), "in 0 steps"),
        (dict(length=1), "length of 1"),
        (dict(prompt=torch.ones(1, 12, dtype=torch.long)), "12 tokens"),
    ):
        with pytest.raises(UserError, match=said):
            draw(model(), 2, rng=rng(), **wrong)
