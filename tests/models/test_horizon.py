"""The policy with a receding horizon: what its rows read, and that it trains."""

import pytest
import torch

from minildm.models.horizon import HorizonConfig, HorizonPolicy
from minildm.nets.horizon import Blocks, HorizonNetworkConfig
from minildm.training.config import TrainConfig
from minildm.training.optim import make_optimizer
from minildm.transport.codebook import Codebook

WORDS = 12
N = 16


@pytest.fixture
def policy() -> HorizonPolicy:
    rng = torch.Generator().manual_seed(0)
    torch.manual_seed(0)
    book = Codebook(torch.randn(WORDS, 6, generator=rng), torch.full((6,), 0.05))
    network = HorizonNetworkConfig(6, WORDS, d_model=16, n_heads=2, n_layers=2)
    config = HorizonConfig(vocab_size=WORDS, seq_len=N, network=network, longest=8)
    return HorizonPolicy(config, book, torch.full((WORDS,), 1 / WORDS)).eval()


def noisy(seed: int = 0) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """States, times and tokens of two texts."""
    rng = torch.Generator().manual_seed(seed)
    z = torch.randn(2, N, 6, generator=rng)
    return z, torch.rand(2, N, generator=rng), torch.randint(WORDS, (2, N), generator=rng)


def blocks(size: int) -> Blocks:
    place = torch.arange(N)
    part = place // size
    return Blocks(place, part * size, part[:, None] == part)


def readers(policy: HorizonPolicy, change, size: int = 4) -> list[int]:
    """The rows whose logits a change of the inputs reaches."""
    z, t, tokens = noisy()
    before, _ = policy.logits(z, t, blocks(size), tokens)
    change(z, tokens)
    after, _ = policy.logits(z, t, blocks(size), tokens)
    return ((after - before).abs().amax((0, 2)) > 1e-6).nonzero()[:, 0].tolist()


def test_a_noisy_row_is_read_in_its_block_alone(policy):
    def change(z, tokens):
        z[:, 5] += 1

    assert readers(policy, change) == [4, 5, 6, 7]


def test_a_finished_token_is_read_by_later_blocks_alone(policy):
    def change(z, tokens):
        tokens[:, 5] = (tokens[:, 5] + 1) % WORDS

    assert readers(policy, change) == list(range(8, N))


def test_next_tokens_read_what_stands_before(policy):
    z, t, tokens = noisy()
    before = policy.logits(z, t, blocks(4), tokens)[1]
    tokens[:, 9] = (tokens[:, 9] + 1) % WORDS
    after = policy.logits(z, t, blocks(4), tokens)[1]
    changed = (after - before).abs().amax((0, 2)) > 1e-6
    assert changed.nonzero()[:, 0].tolist() == list(range(9, N))


def test_blocks_side_by_side_are_blocks_one_by_one(policy):
    z, t, tokens = noisy()
    all_at_once, _ = policy.logits(z, t, blocks(4), tokens)
    for start in range(0, N, 4):
        rows = slice(start, start + 4)
        before = tokens[:, :start] if start else None
        alone, _ = policy.logits(
            z[:, rows], t[:, rows], Blocks.one(start, start + 4, z.device), before
        )
        assert torch.allclose(alone, all_at_once[:, rows], atol=1e-5)


def test_a_longer_text_before_does_not_matter_to_near_heads(policy):
    """Positions enter by differences alone."""
    z, t, _ = noisy()
    place = torch.arange(4)
    shifted = Blocks(place + 9, torch.zeros(4, dtype=torch.long), torch.ones(4, 4).bool())
    here, _ = policy.logits(z[:, :4], t[:, :4], Blocks.one(0, 4, z.device))
    there, _ = policy.logits(z[:, :4], t[:, :4], shifted)
    assert torch.allclose(here, there, atol=1e-5)


def test_losses_fall(policy):
    policy.train()
    optimizer = make_optimizer(policy, TrainConfig(lr=1e-2))
    rng = torch.Generator().manual_seed(0)
    tokens = torch.arange(N).remainder(5).repeat(16, 1) + 4
    found = []
    for step in range(120):
        losses = policy.losses(tokens, step=step, rng=rng)
        optimizer.zero_grad()
        losses.total.backward()
        optimizer.step()
        found.append(float(losses.terms["flight"].detach()))
    assert sum(found[-20:]) < 0.3 * sum(found[:20])


def test_some_texts_are_cut_and_some_are_whole(policy):
    rng = torch.Generator().manual_seed(0)
    tokens = noisy()[2]
    names = {name for _ in range(20) for name in policy.losses(tokens, step=0, rng=rng).terms}
    assert names == {"flight", "next"}
    levels = policy.whole(400, N, rng)
    assert (levels[:, 0] == 1).all()
    some = ((levels[:, 1:] == 1).any(1) & (levels[:, 1:] < 1).any(1)).float().mean()
    assert 0.1 < some < 0.7
