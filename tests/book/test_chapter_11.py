"""The boxed equations of chapter 11, both sides evaluated."""

import math
import re

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from minildm.nets.layers import FeedForward, RMSNorm, rotary_angles, rotate
from minildm.nets.operators import (
    KERNELS,
    AttentionOperator,
    SliceOperator,
    make_operator,
    quadrature_weights,
)

from .draws import randn
from .notebooks import CHAPTERS, load, prose

WIDTH, HEADS, HEAD = 16, 2, 8


def operator(name: str) -> nn.Module:
    torch.manual_seed(0)
    return make_operator(name, WIDTH, HEADS).double().requires_grad_(False)


def plain(*shape: int, seed: int = 0) -> Tensor:
    return randn(*shape, seed=seed).softmax(-1)


@pytest.mark.parametrize("length", [1.0, 5.0])
def test_errors_of_two_rules(length):
    """(11.3): what is left of the errors of midpoints and left ends after the formula is of higher order."""

    def f(p):
        return torch.exp(p / 3) * torch.sin(p)

    def slope(p):
        return torch.exp(p / 3) * (torch.sin(p) / 3 + torch.cos(p))

    ends = torch.tensor([0.0, length], dtype=torch.float64)
    whole = (
        torch.exp(ends / 3) * (torch.sin(ends) / 3 - torch.cos(ends)) * 9 / 10
    )  # an antiderivative
    exact, left = (whole[1] - whole[0]) / length, []
    for n in (50, 100):
        h = length / n
        at = h * torch.arange(n, dtype=torch.float64)
        middle = f(at + h / 2).mean() - exact + h**2 / (24 * length) * slope(ends).diff()
        left.append(
            (
                abs(float(middle)),
                abs(float(f(at).mean() - exact + h / (2 * length) * f(ends).diff())),
            )
        )
    assert left[0][0] / left[1][0] == pytest.approx(
        16, rel=0.05
    )  # the next term of midpoints is h^4
    assert left[0][1] / left[1][1] == pytest.approx(4, rel=0.05)  # that of left ends h^2


def pieces(made: AttentionOperator, x: Tensor, positions: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Turned queries and keys, and values, of one text: (heads, n, head)."""
    q, k = made.query_key(x).view(-1, 2, HEADS, HEAD).permute(1, 2, 0, 3)
    angles = rotary_angles(positions, HEAD)
    q, k = (rotate(norm(y), angles) for norm, y in zip(made.norms, (q, k)))
    return q, k, made.value(x).view(-1, HEADS, HEAD).transpose(0, 1)


def test_an_operator_is_a_weighted_sum():
    """(11.4): attention as weights times kernel times values; the kernel's mean under the weights is one."""
    made, x, positions, w = (
        operator("attention"),
        randn(9, WIDTH),
        4 * randn(9, seed=1),
        plain(9, seed=2),
    )
    q, k, v = pieces(made, x, positions)
    kappa = (q @ k.mT / math.sqrt(HEAD)).exp()
    kappa = kappa / torch.einsum("l,hil->hi", w, kappa)[..., None]
    wanted = made.out(torch.einsum("j,hij,hjd->ihd", w, kappa, v).flatten(1))
    assert torch.allclose(made(x[None], positions, w[None])[0], wanted, atol=1e-6)
    assert torch.allclose(kappa @ w, torch.ones((), dtype=torch.float64))


@pytest.mark.parametrize("scale", [0.1, 1.0, 5.0])
def test_weights_enter_as_logarithms(scale):
    """(11.6): a ratio of two weighted sums, and a softmax of scores plus log w, zeros included."""
    scores, v, w = scale * randn(5, 7), randn(7, 3, seed=1), F.pad(plain(5, seed=2), (1, 1))
    ratio = (w * scores.exp()) @ v / (w * scores.exp()).sum(1, keepdim=True)
    assert torch.allclose(ratio, (scores + w.log()).softmax(1) @ v)
    assert torch.allclose((scores + math.log(1 / 7)).softmax(1) @ v, scores.softmax(1) @ v)


@pytest.mark.parametrize("name", KERNELS)
def test_padding_changes_nothing(name):
    """(11.9): the first n points with padding of any size behind them, and alone."""
    made, x = operator(name), randn(2, 6, WIDTH)
    for count in (1, 30):
        both = torch.cat((x, 1000 * randn(2, count, WIDTH, seed=1)), 1)
        w = quadrature_weights((torch.arange(6 + count) < 6).expand(2, -1))
        gap = made(both, torch.arange(6 + count), w)[:, :6] - made(x, torch.arange(6))
        assert gap.abs().max() < 1e-6


@pytest.mark.parametrize("name", ["attention", "spectral", "slice"])
def test_an_operator_knows_the_measure_alone(name):
    """(11.10): each point split at random into up to three, at its place, with its state, in any order."""
    made, x, positions, w = (
        operator(name),
        randn(1, 5, WIDTH),
        6 * randn(5, seed=1),
        plain(1, 5, seed=2),
    )
    whole = made(x, positions, w)
    copies = torch.tensor([0, 3, 1, 1, 4, 2, 0, 1, 2])
    parts = torch.rand(9, generator=torch.Generator().manual_seed(3), dtype=torch.float64)
    totals = torch.zeros(5, dtype=torch.float64).index_add(0, copies, parts)
    split = made(x[:, copies], positions[copies], (parts / totals[copies] * w[0, copies])[None])
    assert torch.allclose(split, whole[:, copies], atol=1e-5)


@pytest.mark.parametrize("name", ["attention", "spectral", "slice"])
def test_points_have_no_order(name):
    """(11.11): permuted points, positions and weights, against permuted outputs."""
    made, x, positions, w = (
        operator(name),
        randn(2, 7, WIDTH),
        randn(7, seed=1),
        plain(2, 7, seed=2),
    )
    for seed in range(3):
        order = torch.randperm(7, generator=torch.Generator().manual_seed(seed))
        assert torch.allclose(
            made(x[:, order], positions[order], w[:, order]),
            made(x, positions, w)[:, order],
            atol=1e-6,
        )


def test_rotary_scores_are_waves_in_the_distance():
    """(11.13): turned vectors, one turned by the difference, and the sum of cosines."""
    q, k = randn(2, 6)
    a, b = (torch.complex(y[:3], y[3:]) for y in (q, k))
    rates = 10_000.0 ** (-torch.arange(3, dtype=torch.float64) / 3)

    def turned(y, p):
        return rotate(y[None], rotary_angles(torch.tensor([p]), 6).double())[0]

    for p, other in ((0.0, 3.5), (2.25, -1.0), (30.0, 12.5)):
        product = float(turned(q, p) @ turned(k, other))
        assert product == pytest.approx(float(q @ turned(k, other - p)), abs=1e-4)
        waves = (a.abs() * b.abs() * torch.cos(rates * (p - other) + a.angle() - b.angle())).sum()
        assert product == pytest.approx(float(waves), abs=1e-4)


@pytest.mark.parametrize("n", [2, 30, 500])
def test_no_point_takes_more_than_its_bound(n):
    """(11.14): the bound, reached by one key along the query and all others against it, and its limit."""
    bound = 1 / (1 + (n - 1) * math.exp(-2 * math.sqrt(HEAD)))
    q = F.normalize(randn(HEAD), dim=0) * math.sqrt(HEAD)
    keys = torch.cat((q[None], -q.expand(n - 1, HEAD)))
    assert float((keys @ q / math.sqrt(HEAD)).softmax(0)[0]) == pytest.approx(bound)
    others = F.normalize(randn(n, HEAD, seed=1), dim=1) * math.sqrt(HEAD)
    assert (others @ q / math.sqrt(HEAD)).softmax(0).max() <= bound
    assert 1 / (1 + 1e12 * math.exp(-2 * math.sqrt(HEAD))) < 1e-9


def test_a_kernel_of_distance_is_a_product_for_each_wave():
    """(11.17): the sum over pairs, and analysis, product and synthesis, with matrices on channels."""
    n, M, period = 8, 3, 9.0
    p, w, v = 5 * randn(n), plain(n, seed=1), randn(n, 2, seed=2).to(torch.complex128)
    R = torch.complex(randn(2 * M + 1, 2, 2, seed=3), randn(2 * M + 1, 2, 2, seed=4))
    m = torch.arange(-M, M + 1, dtype=torch.float64)
    kappa = torch.einsum(
        "mab,ijm->ijab", R, torch.exp(2j * math.pi / period * (p[:, None, None] - p[:, None]) * m)
    )
    pairs = torch.einsum("j,ijab,jb->ia", w.to(v.dtype), kappa, v)
    waves = torch.exp(2j * math.pi / period * p[:, None] * m)
    c = torch.einsum("j,jm,jb->mb", w.to(v.dtype), waves.conj(), v)
    assert torch.allclose(pairs, torch.einsum("im,mab,mb->ia", waves, R, c))


def test_a_shared_network_is_a_peak_and_a_mirror():
    """(11.18): a real matrix on real and imaginary parts of all waves, and kernels of p - p_j and of p + p_j."""
    n, M, period = 10, 4, 11.0
    p, w, v, matrix = 5 * randn(n), plain(n, seed=1), randn(n, seed=2), randn(2, 2, seed=3)
    alpha = complex(matrix[0, 0] + matrix[1, 1], matrix[1, 0] - matrix[0, 1]) / 2
    beta = complex(matrix[0, 0] - matrix[1, 1], matrix[1, 0] + matrix[0, 1]) / 2
    m = torch.arange(M, dtype=torch.float64)
    waves = torch.exp(2j * math.pi / period * p[:, None] * m)
    c = (w * v).to(waves.dtype) @ waves.conj()
    mapped = torch.view_as_complex((torch.view_as_real(c) @ matrix.T).contiguous())
    assert torch.allclose(mapped, alpha * c + beta * c.conj())
    left = (waves @ (torch.where(m > 0, 2.0, 1.0) * mapped)).real

    def half_peak(r):
        return (
            torch.where(m > 0, 1.0, 0.5) * torch.exp(2j * math.pi / period * r[..., None] * m)
        ).sum(-1)

    kernel = (2 * alpha * half_peak(p[:, None] - p) + 2 * beta * half_peak(p[:, None] + p)).real
    assert torch.allclose(left, kernel @ (w * v))


@pytest.mark.parametrize("slices", [1, 3, 6])
def test_rank_is_at_most_the_number_of_slices(slices):
    """(11.20): the matrix of (11.19), and what the package's operator writes."""
    assignment, w, T = (
        randn(12, slices).softmax(1),
        plain(12, seed=1),
        randn(slices, slices, seed=2),
    )
    inside = w[:, None] * assignment
    K = assignment @ T @ (inside / inside.sum(0)).T
    v = randn(12, 4, seed=3)
    s = (inside.T @ v) / inside.sum(0)[:, None]
    assert (
        torch.allclose(K @ v, assignment @ (T @ s))
        and torch.linalg.matrix_rank(K, rtol=1e-10) == slices
    )
    torch.manual_seed(0)
    made = SliceOperator(WIDTH, HEADS, slices).double().requires_grad_(False)
    mixed = made.integral(randn(1, HEADS, 12, HEAD), randn(1, 12, WIDTH), torch.arange(12), None)[0]
    assert (torch.linalg.matrix_rank(mixed, rtol=1e-10) == slices).all()


class Stack(nn.Module):
    """Three layers of an operator and a network on each position."""

    def __init__(self, kernel: str):
        super().__init__()
        torch.manual_seed(0)
        self.mixers = nn.ModuleList(make_operator(kernel, WIDTH, HEADS) for _ in range(3))
        self.networks, self.norm = (
            nn.ModuleList(FeedForward(WIDTH) for _ in range(3)),
            RMSNorm(WIDTH),
        )

    def forward(self, z):
        for mix, network in zip(self.mixers, self.networks):
            z = z + mix(self.norm(z), torch.arange(z.shape[1]))
            z = z + network(self.norm(z))
        return z


@pytest.mark.parametrize("kernel", KERNELS)
def test_later_words_are_not_heard(kernel):
    """(11.22): derivatives of a stack of three layers, above and below the diagonal."""
    slopes = torch.autograd.functional.jacobian(Stack(kernel).double(), randn(1, 5, WIDTH))[
        0, :, :, 0
    ].norm(dim=(1, 3))
    above, rest = slopes[torch.ones(5, 5).triu(1).bool()], slopes[torch.ones(5, 5).tril().bool()]
    assert (rest > 1e-6).all() and (
        bool((above == 0).all()) if kernel == "causal" else bool((above > 1e-6).all())
    )


def test_functions_of_the_distance_are_used():
    """What (11.18) is written with is defined once and used: no other sum of waves is introduced beside it."""
    text = next(prose(load(path)) for path in CHAPTERS if path.name.startswith("11"))
    names = re.findall(r"\b(D(?:\^\+)?)\(", text)
    assert set(names) == {"D^+"} and len(names) == 3
