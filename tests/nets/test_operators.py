"""Integral operators: one definition, quadratures that converge, padding of measure zero, and what each kernel can read."""

import math
from itertools import pairwise

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from minildm import UserError
from minildm.nets.layers import rotary_angles, rotate
from minildm.nets.operators import (
    KERNELS,
    AttentionOperator,
    SliceOperator,
    SpectralOperator,
    make_operator,
    quadrature_weights,
)

D_MODEL = 24
HEADS = 3
kernel = pytest.mark.parametrize("name", KERNELS)


def randn(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def operator(name: str) -> torch.nn.Module:
    """An operator in double precision, with gains that are not one."""
    torch.manual_seed(3)
    made = make_operator(name, D_MODEL, HEADS).double()
    for norm in getattr(made, "norms", ()):
        torch.nn.init.uniform_(norm.weight, 0.5, 2.0)
    return made.requires_grad_(False)


def some_weights(n: int, batch: int = 2, seed: int = 5) -> Tensor:
    return randn(batch, n, seed=seed).softmax(1)


def test_weights_sum_to_one_over_words():
    keep = torch.tensor([[1, 1, 0, 0], [1, 1, 1, 1]])
    assert torch.equal(quadrature_weights(keep), torch.tensor([[0.5, 0.5, 0, 0], [0.25] * 4]))
    assert torch.allclose(
        quadrature_weights(torch.tensor([[1.0, 3.0]])), torch.tensor([[0.25, 0.75]])
    )


@kernel
def test_equal_weights_are_no_weights(name):
    x = randn(2, 7, D_MODEL)
    positions = torch.arange(7)
    given = operator(name)(x, positions, torch.full((2, 7), 1 / 7, dtype=torch.float64))
    assert torch.allclose(given, operator(name)(x, positions), atol=1e-9)


@kernel
@pytest.mark.parametrize("count", [1, 5, 40])
def test_padding_has_measure_zero(name, count):
    """(11.9): what stands at positions of weight zero changes nothing, however many there are."""
    made = operator(name)
    words = randn(2, 9, D_MODEL)
    alone = made(words, torch.arange(9))
    for size in (1.0, 100.0):
        padded = torch.cat((words, size * randn(2, count, D_MODEL, seed=1)), dim=1)
        keep = (torch.arange(9 + count) < 9).expand(2, -1)
        out = made(padded, torch.arange(9 + count), quadrature_weights(keep))[:, :9]
        assert (out - alone).abs().max() < 1e-6


@kernel
def test_texts_of_different_length_do_not_meet(name):
    made = operator(name)
    short = randn(1, 4, D_MODEL)
    long = randn(1, 9, D_MODEL, seed=1)
    both = torch.cat((F.pad(short, (0, 0, 0, 5), value=7.0), long))
    out = made(
        both, torch.arange(9), quadrature_weights(torch.arange(9) < torch.tensor([[4], [9]]))
    )
    assert (out[:1, :4] - made(short, torch.arange(4))).abs().max() < 1e-6
    assert (out[1:] - made(long, torch.arange(9))).abs().max() < 1e-6


@pytest.mark.parametrize("name", ["attention", "spectral", "slice"])
def test_only_the_measure_matters(name):
    """(11.10): a point may be split into two that share its weight, in any two parts, at its own place."""
    made = operator(name)
    x = randn(2, 6, D_MODEL)
    positions = randn(6, seed=2)
    w = some_weights(6)
    whole = made(x, positions, w)
    for part in (0.5, 0.1, 0.0):
        halves = torch.cat((w[:, :2], part * w[:, 2:3], w[:, 3:], (1 - part) * w[:, 2:3]), dim=1)
        split = made(torch.cat((x, x[:, 2:3]), 1), torch.cat((positions, positions[2:3])), halves)
        assert torch.allclose(split[:, :6], whole, atol=1e-6) and torch.allclose(
            split[:, 6], whole[:, 2], atol=1e-6
        )


def test_a_point_that_is_split_is_another_point_to_a_causal_kernel():
    made = operator("causal")
    x = randn(2, 6, D_MODEL)
    positions = randn(6, seed=2)
    w = some_weights(6)
    halves = torch.cat((w[:, :2], w[:, 2:3] / 2, w[:, 3:], w[:, 2:3] / 2), dim=1)
    split = made(torch.cat((x, x[:, 2:3]), 1), torch.cat((positions, positions[2:3])), halves)
    assert (split[:, 6] - split[:, 2]).abs().max() > 0.01


@kernel
@pytest.mark.parametrize("moved", [True, False])
def test_what_a_permutation_does(name, moved):
    """(11.11): with their positions, points may be stored in any order, but not for a causal kernel; slices use none."""
    made = operator(name)
    x = randn(2, 8, D_MODEL)
    positions = torch.arange(8.0)
    w = some_weights(8)
    order = torch.tensor([3, 0, 7, 1, 6, 2, 5, 4])
    out = made(x[:, order], positions[order] if moved else positions, w[:, order])
    gap = (out - made(x, positions, w)[:, order]).abs().max()
    equivariant = {"attention": moved, "spectral": moved, "slice": True, "causal": False}[name]
    assert gap < 1e-6 if equivariant else gap > 0.01


def test_attention_is_the_sum_that_defines_it():
    """(11.4): weights, a kernel that is written out, and values; the kernel has mean one under the weights."""
    made = operator("attention")
    x = randn(1, 6, D_MODEL)
    positions = 3 * randn(6, seed=4)
    w = some_weights(6, batch=1)
    d = D_MODEL // HEADS
    q, k = made.query_key(x).view(6, 2, HEADS, d).unbind(1)
    v = made.value(x).view(6, HEADS, d)
    angles = rotary_angles(positions, d)
    heads = []
    for h in range(HEADS):
        left = rotate(made.norms[0](q[:, h]), angles)
        right = rotate(made.norms[1](k[:, h]), angles)
        similar = (left @ right.T / math.sqrt(d)).exp()
        kappa = similar / (similar * w).sum(1, keepdim=True)
        assert torch.allclose((w * kappa).sum(1), torch.ones(6, dtype=torch.float64))
        heads.append(
            torch.stack([sum(w[0, j] * kappa[i, j] * v[j, h] for j in range(6)) for i in range(6)])
        )
    assert torch.allclose(made(x, positions, w)[0], made.out(torch.cat(heads, dim=-1)), atol=1e-9)


def sampled(points: Tensor) -> Tensor:
    """One smooth function on [0, 8] at some points, (1, n, width)."""
    rates = torch.linspace(0.2, 1.1, D_MODEL, dtype=torch.float64)
    phases = torch.arange(D_MODEL, dtype=torch.float64)
    return torch.sin(points[:, None] * rates + phases)[None]


RULES = {  # name -> points and weights of n intervals on [0, 8], and the order of the rule
    "left ends": (lambda n: (8 * torch.arange(n).double() / n, torch.ones(1, n)), 1),
    "midpoints": (lambda n: (8 * (torch.arange(n).double() + 0.5) / n, torch.ones(1, n)), 2),
    "trapezoids": (
        lambda n: (
            8 * torch.arange(n + 1).double() / n,
            1 - 0.5 * (torch.arange(n + 1) % n == 0)[None].float(),
        ),
        2,
    ),
}


@pytest.mark.parametrize("name", ["attention", "spectral", "slice"])
@pytest.mark.parametrize("rule", RULES)
def test_twice_the_points_of_the_same_function(name, rule):
    """(11.7): the error against a fine grid falls with the order of the rule, at a point that all grids share."""
    made, (make, order) = operator(name), RULES[rule]

    def at_the_middle(n: int) -> Tensor:
        points, measure = make(n)
        points = torch.cat((points, torch.tensor([4.0])))
        measure = F.pad(measure, (0, 1))  # a reader of weight zero
        return made(sampled(points), points, quadrature_weights(measure).double())[0, -1]

    exact = at_the_middle(6000) if order > 1 else None
    fine, _ = RULES["midpoints"][0](6000)
    if exact is None:
        points = torch.cat((fine, torch.tensor([4.0])))
        exact = made(
            sampled(points), points, quadrature_weights(F.pad(torch.ones(1, 6000), (0, 1))).double()
        )[0, -1]
    errors = [(at_the_middle(n) - exact).norm().item() for n in (32, 64, 128)]
    for coarse, finer in pairwise(errors):
        assert math.log2(coarse / finer) == pytest.approx(order, abs=0.25), errors


@kernel
def test_only_differences_of_positions_count(name):
    """(11.14): all positions moved by the same distance; the waves need a whole period, or no network between."""
    made = operator(name)
    x = randn(1, 7, D_MODEL)
    if name == "spectral":
        made.second.zero_()
    assert torch.allclose(made(x, torch.arange(7) + 3.25), made(x, torch.arange(7)), atol=1e-5)


def test_waves_repeat_after_a_period():
    made = operator("spectral")
    x = randn(1, 7, D_MODEL)
    assert torch.allclose(made(x, torch.arange(7) + 64), made(x, torch.arange(7)), atol=1e-4)
    assert not torch.allclose(made(x, torch.arange(7) + 3), made(x, torch.arange(7)), atol=1e-3)


@pytest.mark.parametrize(("n", "modes"), [(16, 8), (32, 5), (10, 5)])
def test_waves_are_those_of_the_fast_transform(n, modes):
    """(11.18): on a full uniform grid, the same network between rfft and irfft, waves beyond `modes` cut."""
    torch.manual_seed(0)
    made = (
        SpectralOperator(D_MODEL, HEADS, modes=modes, period=float(n))
        .double()
        .requires_grad_(False)
    )
    x = randn(2, n, D_MODEL)
    values = made.value(x).view(2, n, HEADS, -1).transpose(1, 2)
    c = torch.fft.rfft(values, dim=2, norm="forward")[:, :, :modes]
    both = torch.cat((c.real, c.imag), dim=-1)
    both = both + F.softshrink(F.gelu(both @ made.first) @ made.second, made.threshold)
    mixed = torch.complex(*both.chunk(2, dim=-1))
    y = torch.fft.irfft(F.pad(mixed, (0, 0, 0, n // 2 + 1 - modes)), n=n, dim=2, norm="forward")
    assert torch.allclose(
        made(x, torch.arange(n)), made.out(y.transpose(1, 2).flatten(2)), atol=1e-5
    )


def test_waves_without_a_network_are_a_kernel_of_distance():
    """(11.19): the kernel that is left is a sum of cosines of the distance."""
    made = operator("spectral")
    x = randn(2, 9, D_MODEL)
    w = some_weights(9)
    made.second.zero_()
    positions = 5 * randn(9, seed=8)
    angle = 2 * math.pi / made.period * (positions[:, None] - positions)
    kappa = 1 + 2 * sum(torch.cos(m * angle) for m in range(1, len(made.waves)))
    wanted = made.out(torch.einsum("ij,bj,bjc->bic", kappa, w, made.value(x)))
    assert torch.allclose(made(x, positions, w), wanted, atol=1e-4)


@pytest.mark.parametrize("slices", [1, 2, 5])
def test_slices_have_low_rank(slices):
    """(11.21): what a head writes at all positions lies in a space of as many dimensions as there are slices."""
    torch.manual_seed(0)
    made = SliceOperator(D_MODEL, HEADS, slices).double().requires_grad_(False)
    values = randn(1, HEADS, 20, 8, seed=1)
    x = randn(1, 20, D_MODEL)
    w = some_weights(20, batch=1)
    mixed = made.integral(values, x, torch.arange(20), w)[0]
    assert (torch.linalg.matrix_rank(mixed, rtol=1e-9) == min(slices, 8)).all()
    full = operator("attention").integral(values, x, torch.arange(20), w)[0]
    assert (torch.linalg.matrix_rank(full, rtol=1e-9) == 8).all()


@kernel
def test_no_derivative_from_later_positions(name):
    """(11.23): d out_i / d z_j is zero for j > i in a causal kernel, and in no other."""
    made = operator(name)
    x = randn(1, 6, D_MODEL)
    slopes = torch.autograd.functional.jacobian(lambda z: made(z, torch.arange(6)), x)[0, :, :, 0]
    size = slopes.norm(dim=(1, 3))  # (i, j)
    above = size[torch.ones(6, 6).triu(1).bool()]
    assert (above == 0).all() if name == "causal" else (above > 1e-6).all()
    assert (size[torch.ones(6, 6).tril().bool()] > 1e-6).all()


def test_a_causal_kernel_weighs_what_came_before():
    made = operator("causal")
    x = randn(2, 6, D_MODEL)
    w = some_weights(6)
    out = made(x, torch.arange(6), w)
    for i in range(6):
        first = made(x[:, : i + 1], torch.arange(i + 1), quadrature_weights(w[:, : i + 1]).double())
        assert torch.allclose(out[:, i], first[:, -1], atol=1e-6)


def test_sharp_kernels_are_bounded():
    """(11.15): with gains of one no score is beyond sqrt(d), so no word of n takes more than its bound."""
    torch.manual_seed(0)
    made = AttentionOperator(D_MODEL, HEADS).double().requires_grad_(False)
    n = 50
    d = D_MODEL // HEADS
    values = torch.eye(n, dtype=torch.float64).expand(1, HEADS, n, n)
    rows = made.integral(
        values, 100 * randn(1, n, D_MODEL), torch.arange(n), quadrature_weights(torch.ones(1, n))
    )
    assert torch.allclose(rows.sum(-1), torch.ones((), dtype=torch.float64))
    assert rows.max() <= 1 / (1 + (n - 1) * math.exp(-2 * math.sqrt(d)))


def test_a_kernel_of_no_name_in_the_table_is_refused():
    with pytest.raises(UserError, match="attention, spectral, slice, causal"):
        make_operator("wavelet", 8, 2)
    assert {name: type(make_operator(name, 8, 2)) for name in KERNELS} == KERNELS
