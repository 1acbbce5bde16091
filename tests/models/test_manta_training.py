"""How a Manta-LM is trained: its losses by hand, its noise levels, its pairs of noise and text."""

import pytest
import torch
import torch.nn.functional as F

from minildm.transport.paths import interpolate

from .small import rng
from .tiny_manta import LATENT, N, manta, texts, trained


def test_losses_by_hand():
    for head in ("tokens", "denoised"):
        model, tokens = manta(head=head), texts(5)
        found, again = model.losses(tokens, step=0, rng=rng(4)), rng(4)
        z0, z1 = model.couple(tokens, again)
        t, block = model.draw_times(5, N, 0, again)
        assert block is None
        zt = t[..., None] * z1 + (1 - t[..., None]) * z0
        denoised, logits = model.predict(zt, t, torch.zeros_like(zt))
        moving, error = (t > 0) & (t < 1), (denoised - z1).square().mean(-1)
        wanted = (
            error
            if head == "denoised"
            else -logits.log_softmax(-1).gather(-1, tokens[..., None])[..., 0]
        )
        assert found.terms.keys() == {head} and torch.allclose(
            found.terms[head], wanted[moving].mean()
        )
        assert (
            torch.allclose(found.metrics["error"], error[moving].mean())
            and found.metrics["moving"] == moving.float().mean()
        )


@torch.no_grad()
@pytest.mark.parametrize(
    "head, kernel", [("tokens", "attention"), ("denoised", "attention"), ("tokens", "causal")]
)
def test_blocks_side_by_side_are_the_blocks_of_the_path_one_at_a_time(head, kernel):
    model, tokens, again = (
        manta(
            head=head,
            kernel=kernel,
            blocks=True,
            max_offset=N - 1.0,
            observed_fraction=0.0,
            next_token_fraction=0.3,
        ),
        texts(40),
        rng(4),
    )
    found = model.losses(tokens, step=0, rng=rng(4))
    z0, z1 = model.couple(tokens, again)
    t, block = model.draw_times(40, N, 0, again)
    assert ((t == 0).all(1)).float().mean().item() == pytest.approx(0.3, abs=0.25) and len(
        block.unique()
    ) > 4
    zt, total = t[..., None] * z1 + (1 - t[..., None]) * z0, torch.zeros(())
    for now in block.unique():
        time = torch.where(block < now, 1.0, t).where(block <= now, 0.0)
        denoised, logits = model.predict(
            z1.where(time[..., None] == 1, zt), time, torch.zeros_like(zt)
        )
        each = (
            (denoised - z1).square().mean(-1)
            if head == "denoised"
            else F.cross_entropy(logits.mT, tokens, reduction="none")
        )
        total += each[block == now].sum()
    assert (
        torch.allclose(found.terms[head], total / tokens.numel(), rtol=1e-4)
        and found.metrics["moving"] == 1
    )


@torch.no_grad()
def test_observed_words_are_shown_to_all_blocks_and_are_no_targets():
    model, tokens = manta(blocks=True, max_offset=4.0, observed_fraction=1.0), texts(200)
    t, block = model.draw_times(200, N, 0, rng(4))
    observed = block == -torch.inf
    assert torch.equal(observed, t == 1) and 0.3 < observed.float().mean() < 0.7
    found, again = model.losses(tokens, step=0, rng=rng(3)), rng(3)
    model.couple(tokens, again)
    t, _ = model.draw_times(200, N, 0, again)
    assert found.metrics["moving"] == (t < 1).float().mean()


@pytest.mark.parametrize("head", ["tokens", "denoised"])
def test_all_is_trained_but_the_space(head):
    model = manta(head=head).train()
    assert model.training and not model.space.training
    model.losses(texts(16), step=0, rng=rng()).total.backward()
    silent = {
        name
        for name, p in model.named_parameters()
        if p.requires_grad and (p.grad is None or not p.grad.any())
    }
    assert not silent
    assert all(not p.requires_grad for p in model.space.parameters())


def test_times_in_training():
    count = 4000
    t, _ = manta(max_offset=3.0, fully_parallel_fraction=0.25, observed_fraction=0.0).draw_times(
        count, N, 0, rng()
    )
    assert t.shape == (count, N) and ((0 <= t) & (t <= 1)).all() and (t.diff(dim=1) <= 0).all()
    assert (t == t[:, :1]).all(1).float().mean().item() == pytest.approx(
        0.25, abs=4 * (0.25 * 0.75 / count) ** 0.5
    )
    level, _ = manta(max_offset=0.0, observed_fraction=0.0).draw_times(count, N, 0, rng())
    assert torch.equal(level, level[:, :1].expand(-1, N))
    assert torch.allclose(level[:, 0], (torch.arange(count) + 0.5) / count, atol=1 / count)


def test_observed_words_come_in_spans_of_four_whose_time_is_one():
    t, _ = manta(max_offset=0.0, observed_fraction=1.0).draw_times(4000, N, 0, rng())
    observed = t == 1
    assert torch.equal(observed[:, :4], observed[:, :1].expand(-1, 4)) and torch.equal(
        observed[:, 4:], observed[:, 4:5].expand(-1, 4)
    )
    assert observed[:, 0].float().mean().item() == pytest.approx(0.5, abs=4 * 0.5 / 4000**0.5)
    others = t.masked_fill(observed, -1).amax(1, keepdim=True)
    assert torch.equal(t[~observed], others.expand(-1, N)[~observed])


def test_the_time_distribution_observes_positions_under_way_and_moves_the_draws():
    model = manta().train()
    found = model.losses(texts(6), step=0, rng=rng())
    assert model.time.new_count.sum().item() == pytest.approx(
        found.metrics["moving"].item() * 6 * N
    )
    model.after_step(0)
    assert not model.time.new_count.any() and model.time.weight.any()
    model.eval().losses(texts(6), step=0, rng=rng())
    assert not model.time.new_count.any()
    flat = manta(max_offset=0.0, observed_fraction=0.0)
    before, _ = flat.draw_times(64, N, 0, rng())
    flat.time.cdf.copy_(torch.linspace(0, 1, 51).double() ** 2)
    assert torch.allclose(
        flat.draw_times(64, N, 0, rng())[0], flat.time.warp(before)
    ) and torch.allclose(flat.time.warp(before), before.sqrt(), atol=0.02)


def test_an_optimal_coupling_is_shorter_and_pairs_of_reflow_are_taken_as_they_are():
    tokens, length = texts(16), []
    for coupling in ("independent", "optimal"):
        z0, z1 = manta(head="denoised", coupling=coupling).couple(tokens, rng(2))
        length.append((z1 - z0).square().sum().item())
    assert length[1] < length[0]
    model = manta(head="denoised")
    model.pairs = lambda count, rng: (torch.zeros(count, N, LATENT), torch.ones(count, N, LATENT))
    z0, z1 = model.couple(tokens, rng())
    assert not z0.any() and (z1 == 1).all()


@pytest.mark.parametrize("head", ["tokens", "denoised"])
def test_a_moment_of_training_lowers_the_loss(head):
    model, fresh = trained(head), manta(head=head)
    before, after = (
        one.losses(texts(200, 99), step=0, rng=rng(9)).total.item() for one in (fresh, model)
    )
    assert after < 0.6 * before


def test_states_on_the_path_are_those_of_the_straight_path():
    model = manta()
    z0, z1 = model.couple(texts(3), rng())
    assert torch.allclose(
        interpolate(model.schedule, z1, z0, torch.full((3, N), 0.25)), 0.25 * z1 + 0.75 * z0
    )
