"""Guidance: probabilities against enumeration, and guided end points against Bayes' rule where the distribution is known."""

import itertools

import pytest
import torch

from minildm.control.bridges import Mixture
from minildm.dynamics.records import Trajectory
from minildm.models.base import Generation
from minildm.models.guidance import (
    LEAST_SIGNAL,
    contains,
    is_met,
    posterior_mean_guidance,
    reweight,
)
from minildm.sampling.rejection import rejection_sampling
from minildm.transport.codebook import Codebook
from minildm.transport.mixtures import posterior, responsibilities
from minildm.transport.schedules import Linear, Tangent
from tests.models.small import agrees

WORDS, D, WIDTH = 4, 3, 0.3  # words, channels, variance of a code


def noise(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def chances(log_p: torch.Tensor):
    """Yields (words of a text, its probability in each row) for all texts of independent words."""
    for text in itertools.product(range(log_p.shape[-1]), repeat=log_p.shape[1]):
        yield text, sum(log_p[:, i, w] for i, w in enumerate(text)).exp()


@pytest.mark.parametrize("n", [1, 2, 4])
def test_says_is_the_sum_over_all_texts_with_the_word(n):
    log_p = 2 * noise(5, n, WORDS)
    log_p = log_p.log_softmax(-1)
    for word in range(WORDS):
        total = sum(chance for text, chance in chances(log_p) if word in text)
        assert torch.allclose(contains(word)(log_p), -total.log())


def test_a_text_meets_a_target_or_does_not():
    tokens = torch.tensor([[2, 0, 3], [1, 1, 1]])
    assert is_met(contains(3), tokens, WORDS).tolist() == [True, False]
    both_ends = agrees(torch.tensor([[2, 1, 3]]), torch.tensor([[True, False, True]]))
    assert is_met(both_ends, tokens, WORDS).tolist() == [True, False]


def test_rejection_keeps_the_distribution_given_the_target():
    """Uniform pairs of words: 7/16 say word 1, num_tries make it 1 - (9/16)^num_tries, and which of the 7 it is stays uniform."""
    rng, asked = torch.Generator().manual_seed(0), []

    def write(rows):
        asked.append(len(rows))
        tokens = torch.randint(WORDS, (len(rows), 2), generator=rng)
        states, denoised, sure = tokens[None].float().repeat(3, 1, 1, 1)
        return Generation(
            tokens, 3, 0.5, Trajectory(torch.zeros(1), states, denoised, tokens[None].clone(), sure)
        )

    for num_tries in (1, 2, 4):
        asked.clear()
        made = rejection_sampling(write, 20_000, contains(1), num_tries, WORDS)
        said = (made.tokens == 1).any(1)
        assert said.float().mean() == pytest.approx(1 - (9 / 16) ** num_tries, abs=0.015)
        assert len(asked) == num_tries and (made.nfe, made.seconds) == (
            3 * num_tries,
            0.5 * num_tries,
        )
        pairs = (made.tokens[said] * torch.tensor([WORDS, 1])).sum(1).bincount(
            minlength=WORDS**2
        ) / said.sum()
        assert pairs[pairs > 0].tolist() == pytest.approx([1 / 7] * 7, abs=0.02)
        assert torch.equal(made.trajectory.tokens[0], made.tokens)
        assert torch.equal(made.trajectory.states[0], made.tokens.float())
    assert (
        rejection_sampling(
            lambda rows: Generation(torch.ones(len(rows), 2, dtype=torch.long), 1, 0.0),
            3,
            contains(1),
            9,
            WORDS,
        ).nfe
        == 1
    )


def test_certain_and_hopeless_targets_have_finite_slopes():
    for word, top in ((0, True), (1, False)):
        logits = torch.tensor([[[60.0, -60.0]] * 3], requires_grad=True)
        cost = contains(word)(logits.log_softmax(-1))
        cost.sum().backward()
        assert torch.isfinite(cost).all() and torch.isfinite(logits.grad).all()
        assert cost.item() == pytest.approx(0, abs=1e-5) if top else cost.item() > 10


@pytest.mark.parametrize(
    "target, fulfilled",
    [
        (contains(2), lambda text: 2 in text),
        (
            agrees(torch.tensor([[2, 0, 3]]), torch.tensor([[True, False, True]])),
            lambda text: text[0] == 2 and text[2] == 3,
        ),
    ],
)
def test_a_weight_is_what_a_word_does_for_a_target_by_enumeration(target, fulfilled):
    log_p = noise(3, 3, WORDS).log_softmax(-1)
    total, given = 0, torch.zeros(3, 3, WORDS, dtype=torch.float64)
    for text, chance in chances(log_p):
        if fulfilled(text):
            total = total + chance
            for i, w in enumerate(text):
                given[:, i, w] += chance / log_p[:, i, w].exp()
    found = reweight(target, log_p)
    possible = given > 0
    assert torch.allclose(found[possible], (given / total[:, None, None]).log()[possible])
    assert (found[~possible] < -20).all()


CODES = Codebook(1.5 * noise(WORDS, D, seed=7), torch.full((D,), WIDTH, dtype=torch.float64))
PRIOR = noise(WORDS, seed=8).log_softmax(0)
MIXTURE = Mixture(PRIOR, CODES.means, torch.full((WORDS,), WIDTH, dtype=torch.float64))


def exact(schedule, t):
    """What the best model would say, text of independent words: E[z_1 | z_t] and logits of the words behind it."""

    def predict(z):
        flat, times = z.flatten(0, 1), t.repeat_interleave(z.shape[1])
        denoised, logits = (
            posterior(schedule, MIXTURE, flat, times)[0],
            responsibilities(schedule, MIXTURE, flat, times)[0].log(),
        )
        return denoised.view_as(z), logits.view(*z.shape[:2], WORDS)

    return predict


def ends(schedule, z, t, word):
    """E[z_1 | z_t, w] by conditioning one Gaussian: m + cov(z_1, z_t) / var(z_t) (z_t - a m)."""
    a, b = (x(t)[:, None, None] for x in (schedule.a, schedule.b))
    m = CODES.means[word]
    return m + a * WIDTH / (a**2 * WIDTH + b**2) * (z - a * m)


@pytest.mark.parametrize("schedule", [Linear(), Tangent(3.0)], ids=str)
@pytest.mark.parametrize("word", range(WORDS))
def test_the_guided_end_of_one_position_is_the_mean_under_bayes_rule(schedule, word):
    """With the exact distribution, z_hat - b^2/a grad Phi = E[z_1 | z_t, the word is w], at all times where a is not close to 0."""
    t, z = torch.linspace(0.1, 0.95, 8, dtype=torch.float64), noise(8, 1, D)
    assert schedule.a(t).min() > LEAST_SIGNAL
    target = agrees(torch.tensor([[word]]), torch.tensor([[True]]))
    guided, logits = posterior_mean_guidance(exact(schedule, t), target, 1.0, schedule, z, t)
    assert torch.allclose(guided, ends(schedule, z, t, word), atol=1e-9)
    assert (
        torch.allclose(logits, exact(schedule, t)(z)[1])
        and not guided.requires_grad
        and not logits.requires_grad
    )


def test_a_word_anywhere_guides_two_positions_as_bayes_rule_does():
    """E[z_1 | z_t, w somewhere]: the mean over all pairs of words with w, each with its posterior probability."""
    schedule, t, z, word = (
        Linear(),
        torch.linspace(0.2, 0.8, 5, dtype=torch.float64),
        noise(5, 2, D),
        2,
    )
    log_p = exact(schedule, t)(z)[1].log_softmax(-1)
    total = mean = 0
    for text, chance in chances(log_p):
        if word in text:
            pair = [ends(schedule, z[:, i : i + 1], t, w) for i, w in enumerate(text)]
            mean = mean + chance[:, None, None] * torch.cat(pair, dim=1)
            total = total + chance
    guided = posterior_mean_guidance(exact(schedule, t), contains(word), 1.0, schedule, z, t)[0]
    assert torch.allclose(guided, mean / total[:, None, None], atol=1e-9)


def test_the_guidance_scale_scales_the_shift():
    schedule, t, z = Linear(), torch.full((3,), 0.4, dtype=torch.float64), noise(3, 2, D)
    denoised = exact(schedule, t)(z)[0]
    shifts = [
        posterior_mean_guidance(exact(schedule, t), contains(1), scale, schedule, z, t)[0]
        - denoised
        for scale in (0.0, 1.0, 2.5)
    ]
    assert (
        not shifts[0].any()
        and torch.allclose(shifts[2], 2.5 * shifts[1])
        and shifts[1].abs().max() > 0.01
    )


def test_each_position_is_guided_by_its_own_time():
    schedule, z = Linear(), noise(3, 2, D)
    t = torch.tensor([[0.2, 0.9], [0.5, 0.5], [0.0, 1.0]], dtype=torch.float64)

    def predict(z):
        return z, z @ CODES.means.T

    push = torch.autograd.functional.jacobian(
        lambda z: contains(1)((z @ CODES.means.T).log_softmax(-1)).sum(), z
    )
    guided = posterior_mean_guidance(predict, contains(1), 1.0, schedule, z, t)[0]
    assert torch.allclose(guided, z - ((1 - t) ** 2 / t.clamp(min=LEAST_SIGNAL))[..., None] * push)
    assert torch.equal(guided[2, 1], z[2, 1])
