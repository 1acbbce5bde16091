"""The boxed equations of chapter 09, both sides evaluated."""

import itertools
import math

import numpy as np
import pytest
import torch
from torch import Tensor

from minildm.dynamics.records import Trajectory
from minildm.models.gpt import GPT, GPTConfig
from minildm.models.masked import MaskedDiffusion, MaskedDiffusionConfig
from minildm.sampling.relaxed import relaxed_tokens
from minildm.studies.ch09_adjoint_profiles import profile, terminal_cost
from minildm.studies.ch09_parallel_commits import (
    Distribution,
    committed,
    staircase,
    total_correlation,
)
from minildm.studies.ch09_singularity import energy, jump_cost
from minildm.tokens import BOS, MASK

SIZES = {"vocab_size": 9, "seq_len": 7, "d_model": 16, "n_heads": 2, "n_layers": 1}


def random_distribution(n: int, vocabulary: int = 3, seed: int = 0) -> Distribution:
    """All texts of n words, with random probabilities."""
    probs = np.random.default_rng(seed).dirichlet(np.full(vocabulary**n, 0.3))
    return Distribution(np.array(list(itertools.product(range(vocabulary), repeat=n))), probs)


def marginal(distribution: Distribution, w: np.ndarray, places) -> float:
    """Probability of the words of w at some places."""
    return float(
        distribution.probs[(distribution.rows[:, list(places)] == w[list(places)]).all(1)].sum()
    )


def subsets(places):
    return itertools.chain.from_iterable(
        itertools.combinations(places, k) for k in range(len(places) + 1)
    )


def integral(n: int, nats) -> float:
    """The right side of (09.8): the integral over t of t^|B| (1 - t)^(n - |B| - 1) is a beta function."""
    return sum(
        math.gamma(len(B) + 1) * math.gamma(n - len(B)) / math.gamma(n + 1) * nats(i, B)
        for B in subsets(range(n))
        for i in range(n)
        if i not in B
    )


def test_the_bound_of_masked_diffusion():
    """(09.8): an equality for the conditionals of one distribution; for others above that of (09.6), by enumeration."""
    distribution = random_distribution(4)
    blur = np.random.default_rng(1).uniform(0.2, 1, (4, 16))
    for w in distribution.rows[::17]:

        def true(i, B, w=w):
            return -math.log(marginal(distribution, w, [*B, i]) / marginal(distribution, w, B))

        assert integral(4, true) == pytest.approx(
            -math.log(marginal(distribution, w, range(4))), rel=1e-9
        )

        def other(i, B, true=true):  # conditionals that belong to no joint distribution
            return true(i, B) - math.log(blur[i, sum(2**j for j in B)])

        orders = list(itertools.permutations(range(4)))
        q = sum(
            math.exp(-sum(other(order[k], tuple(sorted(order[:k]))) for k in range(4)))
            for order in orders
        ) / len(orders)
        assert -math.log(q) < integral(4, other)


@pytest.mark.parametrize("n", [2, 4])
def test_the_time_in_the_bound_can_be_integrated_out(n):
    """(09.8): it is the sum over m of the mean nats of a hidden word where a random set of m words is hidden."""
    distribution = random_distribution(n, seed=n)
    for w in distribution.rows[::3]:

        def nats(i, B, w=w):
            return -math.log(marginal(distribution, w, [*B, i]) / marginal(distribution, w, B))

        by_size = [
            np.mean(
                [
                    nats(i, B)
                    for B in itertools.combinations(range(n), n - m)
                    for i in range(n)
                    if i not in B
                ]
            )
            for m in range(1, n + 1)
        ]
        assert integral(n, nats) == pytest.approx(sum(by_size), rel=1e-9)


def test_the_cost_of_blocks():
    """(09.11): divergence of the product of marginals, and the sum of total correlations."""
    distribution = random_distribution(5)
    for blocks in ([[0, 3], [1], [2, 4]], [[4, 2, 1, 0, 3]], [[1], [0], [4], [2], [3]]):
        q = committed(distribution, blocks)
        divergence = float((distribution.probs * np.log(distribution.probs / q)).sum())
        before = [list(itertools.chain(*blocks[:k])) for k in range(len(blocks))]
        block_costs = [
            total_correlation(distribution, block, given) for block, given in zip(blocks, before)
        ]
        assert divergence == pytest.approx(sum(block_costs), abs=1e-9)
        assert divergence == pytest.approx(0, abs=1e-9) or len(blocks) < 5


def hidden_entropy(distribution: Distribution, t: float) -> float:
    """g(t), by enumeration of what is visible."""
    n = distribution.rows.shape[1]

    def entropy(i, B):
        return total_correlation(distribution, [i, i], B)  # a word drawn twice: H(w_i | w_B)

    return (
        sum(
            t ** len(B) * (1 - t) ** (n - 1 - len(B)) * entropy(i, B)
            for i in range(n)
            for B in subsets([j for j in range(n) if j != i])
        )
        / n
    )


def test_the_cost_of_steps():
    """(09.13): above the divergence of the mean over all blocks; I/S for two words; with the right slope in 1/S."""
    for n in (2, 3):
        distribution = random_distribution(n, seed=n)
        information = sum(
            total_correlation(distribution, [i, i])
            - total_correlation(distribution, [i, i], [j for j in range(n) if j != i])
            for i in range(n)
        )
        off = []
        for S in (1, 2, 4, 64):
            curve = [hidden_entropy(distribution, k / S) for k in range(S)]
            step_cost = staircase(curve, n, S) - distribution.entropy
            off.append(S * step_cost - information / 2)
            if S**n <= 64:
                mean = np.mean(
                    [
                        committed(
                            distribution, [[i for i in range(n) if steps[i] == k] for k in range(S)]
                        )
                        for steps in itertools.product(range(S), repeat=n)
                    ],
                    axis=0,
                )
                assert (
                    distribution.probs * np.log(distribution.probs / mean)
                ).sum() <= step_cost + 1e-9
        assert (
            abs(off[-1]) < (1e-9 if n == 2 else 0.03 * information)
            and abs(off[-1]) <= abs(off[0]) + 1e-9
        )


def test_a_jump_costs_without_bound():
    """(09.15): no path is cheaper than the straight one, which costs delta^2 / (2 tau)."""
    rng = torch.Generator().manual_seed(0)
    a, b = torch.randn(2, 5, 3, generator=rng, dtype=torch.float64)
    for tau in (1.0, 0.1, 1e-3):
        times = torch.linspace(0, tau, 21, dtype=torch.float64)
        line = torch.stack([a + (b - a) * t / tau for t in times])
        least = jump_cost((b - a).norm(dim=1), tau)
        assert torch.allclose(energy(Trajectory(times, line)), least)
        curved = line + torch.sin(math.pi * times / tau)[:, None, None] * torch.randn(
            5, 3, generator=rng, dtype=torch.float64
        )
        assert (energy(Trajectory(times, curved)) > least).all()


def small_models() -> list:
    torch.manual_seed(0)
    return [GPT(GPTConfig(**SIZES)), MaskedDiffusion(MaskedDiffusionConfig(**SIZES))]


def start_of(model) -> Tensor:
    tokens = torch.full((3, 7), MASK)
    if isinstance(model, GPT):
        tokens[:, 0] = BOS
    return tokens


@pytest.mark.parametrize("model", small_models(), ids=("gpt", "masked"))
def test_hard_choices_carry_no_adjoint(model):
    """(09.19): costates by vector-Jacobian products, and the projection of the last one on words written before."""
    chain = relaxed_tokens(model, start_of(model), 4, torch.Generator().manual_seed(1))
    path = chain.run()
    found = profile(chain, path, terminal_cost(torch.tensor([5, 6]), torch.tensor([2, 6])))
    last = found.costates[-1]
    assert (last != 0).any()
    for k in range(len(path.times) - 1):
        assert torch.equal(found.costates[k], (chain.arrival < path.times[k])[..., None] * last)
    assert (found.costates[0] == 0).all() and (found.through[:-1] == 0).all()


@pytest.mark.parametrize("c", [-3.0, 0.0, 2.5])
def test_texts_do_not_decide_a_gradient(c):
    """(09.22): values at the corners, and slopes along edges, for every c."""
    V, corners = (
        torch.randn(5, generator=torch.Generator().manual_seed(3), dtype=torch.float64),
        torch.eye(5).double(),
    )

    def extension(z):
        return V @ z + c * (z * (1 - z)).sum()

    assert torch.allclose(torch.stack([extension(e) for e in corners]), V)
    for a, b in itertools.permutations(range(5), 2):
        slope = (corners[a] - corners[b]) @ torch.func.grad(extension)(corners[b])
        assert float(slope) == pytest.approx(float(V[a] - V[b] + 2 * c))


@pytest.mark.parametrize("d", [1, 2, 3])
def test_the_variance_of_the_score_function(d):
    """(09.24): both variances by Gaussian quadrature, exact for these polynomials."""
    x, w = np.polynomial.hermite_e.hermegauss(8)
    xi = np.array(list(itertools.product(x, repeat=d)))
    weight = np.array([math.prod(p) for p in itertools.product(w / w.sum(), repeat=d)])
    m, sigma = np.linspace(-0.4, 0.9, d), 0.6
    cost = ((m + sigma * xi) ** 2).sum(1) / 2

    def total_variance(estimate):
        mean = weight @ estimate
        assert np.allclose(mean, m)
        return weight @ ((estimate - mean) ** 2).sum(1)

    ratio = total_variance((cost - weight @ cost)[:, None] * xi / sigma) / total_variance(
        m + sigma * xi
    )
    assert ratio == pytest.approx((d + 4) / 2 + (d + 1) / d * (m @ m) / sigma**2)


@pytest.mark.parametrize("model", small_models(), ids=("gpt", "masked"))
def test_written_words_stay(model):
    """(09.25): two runs with the same noise, one with a planted word; what differs among written words only grows."""
    right = start_of(model)
    right[:, :3] = torch.tensor([BOS, 5, 6])
    wrong = right.clone()
    wrong[:, 1] = 7
    chains = [
        relaxed_tokens(model, tokens, 5, torch.Generator().manual_seed(2))
        for tokens in (right, wrong)
    ]
    paths = [torch.stack([chain.decode(z) for z in chain.run().states]) for chain in chains]
    written = chains[0].arrival < chains[0].times[:, None, None]
    D = ((paths[0] != paths[1]) & written).sum(-1)
    assert (D.diff(dim=0) >= 0).all() and (D[-1] >= 1).all()
    assert (paths[1][:, :, 1] == 7).all()
