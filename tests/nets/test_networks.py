"""Networks: Perceiver, stack, diffusion transformer and frozen encoder."""

import pytest
import torch

from minildm.nets.frozen import FrozenEncoder
from minildm.nets.layers import init_weights
from minildm.nets.perceiver import Perceiver
from minildm.nets.transformer import DiffusionTransformer, Stack


def randn(*shape, seed: int = 0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def perceiver(spacing_in: float = 1.0, spacing_out: float = 1.0) -> Perceiver:
    torch.manual_seed(0)
    return Perceiver(6, 3, d_model=16, n_heads=2, n_layers=2, spacing=(spacing_in, spacing_out))


@torch.no_grad()
@pytest.mark.parametrize("spacing", [0.5, 1.0, 1.5, 4.0])
def test_a_perceiver_maps_any_length_to_any_length(spacing):
    for n, m in ((8, 8), (8, 2), (3, 11), (1, 1)):
        y = perceiver(1.0, spacing)(randn(2, n, 6), m)
        assert y.shape == (2, m, 3) and torch.isfinite(y).all()


@torch.no_grad()
def test_outputs_of_a_perceiver_differ_by_position_alone():
    y = perceiver()(randn(1, 8, 6), 4)
    assert (y[0, 1:] - y[0, :-1]).abs().max() > 1e-4  # one query, yet unequal outputs
    for other in (perceiver(1.0, 2.0), perceiver(2.0, 1.0)):
        assert not torch.allclose(other(randn(1, 8, 6), 4), y, atol=1e-4)


@torch.no_grad()
def test_a_stack_is_causal_when_asked_and_stops_at_a_depth():
    torch.manual_seed(0)
    stack = Stack(16, 2, 3)
    x = randn(1, 6, 16)
    changed = torch.cat((x[:, :4], randn(1, 2, 16, seed=1)), dim=1)
    assert torch.allclose(
        stack(x, causal=True)[:, :4], stack(changed, causal=True)[:, :4], atol=1e-6
    )
    assert not torch.allclose(stack(x)[:, :4], stack(changed)[:, :4], atol=1e-4)
    assert torch.equal(stack(x, depth=0), x)
    assert torch.equal(stack.norm(stack(x, depth=3)), stack(x))
    assert not torch.allclose(stack(x, depth=2), stack(x, depth=3), atol=1e-4)


@torch.no_grad()
@pytest.mark.parametrize("causal", [False, True])
def test_a_row_of_a_stack_with_a_reach_depends_on_rows_within_it_alone(causal):
    torch.manual_seed(0)
    stack = Stack(16, 2, 2)
    x = randn(1, 20, 16)
    for source in range(20):
        changed = x.clone()
        changed[:, source] += 1
        moved = (stack(changed, causal, reach=3) - stack(x, causal, reach=3)).abs().amax((0, 2))
        near = torch.zeros(20, dtype=torch.bool)
        near[max(source - 6, 0) : source + 7] = True  # two blocks of reach 3
        if causal:
            near[:source] = False
        assert torch.equal(moved > 1e-6, near)


@torch.no_grad()
def test_what_a_perceiver_with_a_reach_makes_of_a_text_does_not_depend_on_its_length():
    torch.manual_seed(0)
    local = Perceiver(6, 3, d_model=16, n_heads=2, n_layers=2, reach=4)
    x = randn(1, 64, 6)
    assert torch.allclose(local(x[:, :32], 32)[:, :24], local(x, 64)[:, :24], atol=1e-6)
    assert torch.allclose(local(x[:, 20:], 44)[:, 8:], local(x, 64)[:, 28:], atol=1e-5)


@torch.no_grad()
def test_a_denoiser_takes_one_time_for_a_text_or_one_for_each_latent():
    torch.manual_seed(0)
    network = DiffusionTransformer(latent=4, d_model=16, n_heads=2, n_layers=2)
    z = randn(3, 7, 4)
    t = torch.tensor([0.1, 0.5, 0.9])
    assert torch.allclose(network(z, t, z), network(z, t[:, None].expand(3, 7), z), atol=1e-6)
    own = t[:, None].repeat(1, 7)
    own[:, 6] = 1.0
    assert not torch.allclose(network(z, t, z), network(z, own, z), atol=1e-4)


def denoiser(spacing: float = 1.0) -> DiffusionTransformer:
    torch.manual_seed(0)
    return DiffusionTransformer(latent=4, d_model=16, n_heads=2, n_layers=2, spacing=spacing)


def inputs(n: int = 5):
    return randn(3, n, 4), torch.tensor([0.1, 0.5, 0.9]), randn(3, n, 4, seed=1)


def test_a_diffusion_transformer_starts_at_zero_with_blocks_that_do_nothing():
    model = denoiser()
    init_weights(model, 2)
    model.zero()
    z, t, c = inputs()
    assert torch.equal(model(z, t, c), torch.zeros(3, 5, 4))
    x = randn(3, 5, 16)
    angles = torch.zeros(2, 5, 4)
    assert all(torch.equal(block(x, angles, randn(3, 1, 16)), x) for block in model.blocks)


@torch.no_grad()
def test_a_diffusion_transformer_uses_time_condition_and_position():
    model = denoiser()
    z, t, c = inputs()
    y = model(z, t, c)
    assert not torch.allclose(y, model(z, t + 0.05, c), atol=1e-4)
    assert not torch.allclose(y, model(z, t, 0 * c), atol=1e-4)
    assert not torch.allclose(y, denoiser(0.25)(z, t, c), atol=1e-4)
    assert not torch.allclose(y.flip(1), model(z.flip(1), t, c.flip(1)), atol=1e-4)
    assert model(*inputs(11)).shape == (3, 11, 4)


def test_checkpointing_gives_the_same_gradients():
    grads = []
    for flag in (False, True):
        model = denoiser().train()
        model.checkpointing = flag
        z, t, c = inputs()
        model(z.requires_grad_(), t, c).square().sum().backward()
        grads.append([z.grad, *(p.grad for p in model.parameters())])
    assert all(torch.equal(a, b) for a, b in zip(*grads))


def test_frozen_states_are_standardized_and_padding_has_none():
    torch.manual_seed(0)
    network = torch.nn.Embedding(10, 4)
    torch.nn.init.normal_(network.weight, mean=3.0, std=2.0)
    frozen = FrozenEncoder(network, lambda net, tokens: net(tokens), 4)
    tokens = torch.tensor([[1, 5, 6, 7, 2, 0], [1, 8, 2, 0, 0, 0]])
    frozen.calibrate(tokens)
    h = frozen(tokens)
    assert torch.equal(h[tokens == 0], torch.zeros(4, 4))
    assert torch.allclose(h[tokens != 0].mean(0), torch.zeros(4), atol=1e-6)
    assert torch.allclose(h[tokens != 0].std(0), torch.ones(4), atol=1e-6)
    assert not h.requires_grad and not any(p.requires_grad for p in frozen.parameters())
    assert not frozen.train().training and not frozen.network.training


def test_a_fingerprint_tells_networks_apart():
    torch.manual_seed(0)
    network = torch.nn.Embedding(10, 4)
    frozen = FrozenEncoder(network, lambda net, tokens: net(tokens), 4)
    before = frozen.fingerprint()
    assert before == frozen.fingerprint() and len(before) == 16
    with torch.no_grad():
        network.weight[3, 2] += 1e-6
    assert frozen.fingerprint() != before
