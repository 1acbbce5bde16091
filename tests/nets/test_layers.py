"""Layers: rotary positions are relative, the two forms of attention agree, a cache changes nothing."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from minildm.nets.cache import Cache
from minildm.nets.layers import (
    Attention,
    FeedForward,
    RMSNorm,
    ShortConvolution,
    attend,
    init_weights,
    rotary_angles,
    rotate,
    time_features,
)


def randn(*shape, seed: int = 0, dtype=torch.float32):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=dtype)


def at(x, position: float):
    """A vector turned to a position."""
    return rotate(x[None], rotary_angles(torch.tensor([position]), x.shape[-1]).double())[0]


@settings(deadline=None)
@given(st.floats(0, 50), st.floats(0, 50), st.floats(0, 50))
def test_rotary_products_depend_on_the_difference_of_positions_alone(p, q, shift):
    x = randn(8, seed=1, dtype=torch.float64)
    y = randn(8, seed=2, dtype=torch.float64)
    assert torch.allclose(at(x, p) @ at(y, q), at(x, p + shift) @ at(y, q + shift), atol=1e-4)


@settings(deadline=None)
@given(st.floats(0, 1000))
def test_rotation_keeps_the_norm_of_each_pair(p):
    x = randn(8, dtype=torch.float64)
    pairs = x.reshape(2, 4)
    turned = at(x, p).reshape(2, 4)
    assert torch.allclose(turned.norm(dim=0), pairs.norm(dim=0), atol=1e-6)


def test_rotation_by_its_formula():
    angles = rotary_angles(torch.tensor([0.0, 0.5, 3.0]), 4)
    theta = torch.tensor([[0.0, 0.0], [0.5, 0.005], [3.0, 0.03]])  # p 10000^(-2k/4)
    assert torch.allclose(angles, torch.stack((theta.cos(), theta.sin())), atol=1e-6)
    x = torch.tensor([[1.0, 2.0, 3.0, 4.0]]).expand(3, 4)
    y = rotate(x, angles)
    assert torch.equal(y[0], x[0])
    assert y[2, 0] == pytest.approx(1 * math.cos(3) - 3 * math.sin(3), abs=1e-6)
    assert y[2, 3] == pytest.approx(2 * math.sin(0.03) + 4 * math.cos(0.03), abs=1e-6)


def test_whole_positions_are_fractional_ones():
    assert torch.equal(rotary_angles(torch.arange(4), 8), rotary_angles(torch.arange(4).float(), 8))


@pytest.mark.parametrize("causal", [False, True])
def test_attention_written_out_equals_the_fused_kernel(causal):
    """Training on a CPU takes the formula, everything else the kernel: equal values and equal gradients."""
    ours = [randn(2, 3, 5, 4, seed=i).requires_grad_() for i in range(3)]
    theirs = [x.detach().clone().requires_grad_() for x in ours]
    y = attend(*ours, causal)
    z = torch.nn.functional.scaled_dot_product_attention(*theirs, is_causal=causal)
    assert torch.allclose(y, z, atol=1e-6)
    with torch.no_grad():
        assert torch.allclose(attend(*ours, causal), y, atol=1e-6)
    weight = randn(*y.shape, seed=9)
    (y * weight).sum().backward()
    (z * weight).sum().backward()
    assert all(torch.allclose(a.grad, b.grad, atol=1e-6) for a, b in zip(ours, theirs))


def test_attention_to_more_positions_than_queries():
    q = randn(1, 2, 3, 4)
    k = randn(1, 2, 7, 4, seed=1)
    v = randn(1, 2, 7, 4, seed=2)
    weights = (q @ k.transpose(-1, -2) / 2).softmax(-1)
    assert torch.allclose(attend(q, k, v), weights @ v, atol=1e-6)


@torch.no_grad()
@pytest.mark.parametrize("norm", [False, True])
@pytest.mark.parametrize("prompt", [1, 4])
def test_a_cache_changes_nothing(norm, prompt):
    torch.manual_seed(0)
    attention = Attention(8, 2, norm=norm)
    x = randn(2, 9, 8)
    angles = rotary_angles(torch.arange(9), 4)
    whole = attention(x, angles, causal=True)
    cache = Cache(9)
    parts = [attention(x[:, :prompt], angles[:, :prompt], causal=True, cache=cache)]
    for i in range(prompt, 9):
        parts.append(attention(x[:, i : i + 1], angles[:, i : i + 1], causal=True, cache=cache))
    assert torch.allclose(torch.cat(parts, dim=1), whole, atol=1e-6)


def test_a_cache_keeps_as_many_rows_as_asked():
    cache = Cache(6)
    rows = torch.arange(12.0).view(6, 2)
    assert torch.equal(cache.extend(rows[:2])[0], rows[:2]) and cache.filled == 2
    cache.keep = 1
    assert torch.equal(cache.extend(rows[2:5])[0], rows[:5]) and cache.filled == 3
    assert torch.equal(cache.extend(rows[4:5])[0], rows[[0, 1, 2, 4]]) and cache.filled == 4


@torch.no_grad()
def test_a_context_is_read_beside_the_stream():
    torch.manual_seed(0)
    attention = Attention(8, 2, context=True)
    x = randn(1, 3, 8)
    context = randn(1, 5, 8, seed=1)
    angles = rotary_angles(torch.arange(3), 4)
    context_angles = rotary_angles(torch.arange(5), 4)
    alone = attention(x, angles)
    both = attention(x, angles, (context, context_angles))
    assert alone.shape == both.shape == (1, 3, 8) and not torch.allclose(alone, both)
    shuffled = torch.randperm(5, generator=torch.Generator().manual_seed(0))
    again = attention(x, angles, (context[:, shuffled], context_angles[:, shuffled]))
    assert torch.allclose(again, both, atol=1e-6)  # a context is a set of (content, position)


def test_rms_norm_by_its_formula():
    x = randn(3, 8)
    norm = RMSNorm(8)
    torch.nn.init.constant_(norm.weight, 2.0)
    assert torch.allclose(norm(x), 2 * x / x.square().mean(-1, keepdim=True).sqrt(), atol=1e-5)
    assert norm(x.bfloat16()).dtype == torch.bfloat16


def test_time_features_tell_near_times_apart():
    t = torch.linspace(0, 1, 21)  # 0.05 apart
    features = time_features(t, 32)
    assert features.shape == (21, 32) and features.abs().max() <= 1
    distance = torch.cdist(features, features) + 100 * torch.eye(21)
    assert distance.min() > 0.3
    near = (time_features(t, 32) - time_features(t + 1e-5, 32)).norm(dim=-1)
    assert near.max() < 0.05  # and yet they are continuous


def test_ends_of_branches_start_smaller():
    torch.manual_seed(0)
    layer = torch.nn.ModuleDict({"feed_forward": FeedForward(64), "attention": Attention(64, 4)})
    init_weights(layer, n_layers=8)
    assert layer["feed_forward"][0].weight.std().item() == pytest.approx(0.02, rel=0.05)
    for end in (layer["feed_forward"][2], layer["attention"].out):
        assert end.weight.std().item() == pytest.approx(0.02 / 4, rel=0.05)


@pytest.mark.parametrize("before, after", [(3, 0), (3, 3), (1, 2)])
def test_a_short_convolution_mixes_neighbors_by_its_formula(before, after):
    layer = ShortConvolution(5, before, after)
    x = torch.randn(2, 9, 5)
    assert torch.equal(layer(x), x)
    with torch.no_grad():
        layer.kernel.normal_()
    y = layer(x)
    for i in range(9):
        near = [(k, i + k) for k in range(-before, after + 1) if 0 <= i + k < 9]
        assert torch.allclose(
            y[:, i], sum(layer.kernel[before + k] * x[:, j] for k, j in near), atol=1e-6
        )


def test_a_short_convolution_over_rows_at_equal_positions_takes_the_neighbors_that_a_row_reads():
    layer = ShortConvolution(5, 1, 1)
    x = torch.randn(2, 6, 5)
    positions = torch.tensor([0, 1, 2, 0, 1, 2])
    with torch.no_grad():
        layer.kernel.normal_()
    mask = torch.rand(2, 6, 6) < 0.5
    y = layer(x, mask, positions)
    for b in range(2):
        for i in range(6):
            near = [(int(positions[j] - positions[i]), j) for j in range(6) if mask[b, i, j]]
            wanted = sum(
                (layer.kernel[1 + k] * x[b, j] for k, j in near if abs(k) < 2), torch.zeros(5)
            )
            assert torch.allclose(y[b, i], wanted, atol=1e-6)
    plain = torch.ones(2, 3, 3, dtype=torch.bool)
    assert torch.allclose(layer(x[:, :3], plain, torch.arange(3)), layer(x[:, :3]), atol=1e-6)


@pytest.mark.parametrize("causal", [True, False])
def test_a_bias_is_added_to_the_scores_on_both_ways_through_attention(causal):
    q, k, v = (torch.randn(2, 3, 5, 8) for _ in range(3))
    hidden = (torch.rand(2, 1, 5, 5) < 0.3) & (torch.eye(5) == 0)
    bias = torch.randn(2, 1, 5, 5).masked_fill(hidden, -torch.inf)
    scores = q @ k.mT / 8**0.5 + bias
    wanted = (
        scores.masked_fill(torch.ones(5, 5).triu(1).bool() & causal, -torch.inf).softmax(-1) @ v
    )
    with torch.no_grad():
        assert torch.allclose(attend(q, k, v, causal, bias), wanted, atol=1e-5)
    trained = attend(*(x.bfloat16().requires_grad_() for x in (q, k, v)), causal, bias)
    assert torch.allclose(trained.float(), wanted, atol=0.05)
