"""Manta-LM: its aim against closed forms, its losses by hand, its times, and what its policy remembers."""

import pytest
import torch
import torch.nn.functional as F

from minildm.control.bridges import Mixture
from minildm.control.feedback import rollout, transport
from minildm.control.linear_quadratic import pinned_control, soft_terminal_control
from minildm.errors import UserError
from minildm.models.guidance import contains, posterior_mean_guidance
from minildm.models.manta import MantaLM
from minildm.models.manta_config import MantaLMConfig
from minildm.models.vae import VAEConfig
from minildm.sampling.policy import MantaPolicy
from minildm.transport.diffusion import straight_step
from minildm.transport.mixtures import posterior
from minildm.transport.paths import interpolate
from minildm.transport.schedules import Linear

from .small import rng
from .tiny_manta import LATENT, WORDS, N, manta, texts, trained


def states(batch: int = 3, n: int = N, seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    """States and times of all positions, one of them arrived and one not yet on its way."""
    z, t = (
        torch.randn(batch, n, LATENT, generator=rng(seed)),
        torch.rand(batch, n, generator=rng(seed + 1)),
    )
    t[0, 0], t[-1, -1] = 1.0, 0.0
    return z, t


@torch.no_grad()
def test_where_the_text_says_nothing_it_aims_at_the_posterior_mean_of_a_mixture():
    """A text of one position, and a network that adds nothing: words as Gaussians with the prior's weights."""
    model = manta()
    model.policy.scores = lambda x, belief, *_: torch.zeros(*belief.shape)
    book, z, t = (
        model.space.codebook(),
        torch.randn(50, 1, LATENT, generator=rng()),
        torch.linspace(0, 0.98, 50)[:, None],
    )
    assert torch.allclose(book.variances, book.variances[0])
    law = Mixture(model.prior.log_softmax(0), book.means, book.variances[0].expand(WORDS))
    clean = model.predict(z, t, torch.zeros_like(z))[0]
    assert torch.allclose(clean[:, 0], posterior(Linear(), law, z[:, 0], t[:, 0])[0], atol=1e-4)


@torch.no_grad()
def test_the_aim_is_the_mean_of_the_pinned_ends_of_its_words():
    model, (z, t) = manta(), states()
    clean, logits = model.predict(z, t, torch.zeros_like(z))
    book, p = model.space.codebook(), logits.softmax(-1)
    each = torch.stack(
        [book.endpoint(F.one_hot(torch.full((3, N), w), WORDS).float(), z, t) for w in range(WORDS)]
    )
    assert torch.allclose(clean, (p.permute(2, 0, 1)[..., None] * each).sum(0), atol=1e-5)
    cold, same = model.predict(z, t, torch.zeros_like(z), temperature=0.0)
    best = book.endpoint(F.one_hot(logits.argmax(-1), WORDS).float(), z, t)
    assert torch.equal(same, logits) and torch.allclose(cold, best, atol=1e-4)
    warm = model.predict(z, t, torch.zeros_like(z), temperature=0.5)[0]
    assert torch.allclose(warm, book.endpoint((2 * logits).softmax(-1), z, t), atol=1e-5)


@torch.no_grad()
def test_a_drawn_end_is_that_of_one_word_of_the_law():
    model, (z, t) = manta(), states()
    logits, book = model.predict(z, t, torch.zeros_like(z))[1], model.space.codebook()
    many = [model.predict(z, t, torch.zeros_like(z), 0.7, seed)[0] for seed in range(400)]
    ends = torch.stack(
        [book.endpoint(F.one_hot(torch.full((3, N), w), WORDS).float(), z, t) for w in range(WORDS)]
    )
    gaps = torch.stack([(ends - clean).square().mean(-1) for clean in many])
    under_way = t < 1
    assert gaps.amin(1)[:, under_way].max() < 1e-10
    counts = F.one_hot(gaps.argmin(1), WORDS).double().mean(0)
    p = (logits / 0.7).softmax(-1).double()
    assert ((counts - p).abs() < 5 * (p * (1 - p) / 400).sqrt() + 0.01)[under_way].all()


@torch.no_grad()
@pytest.mark.parametrize("steps", [1, 2, 5])
def test_drawn_ends_carry_noise_to_the_law_of_words_in_any_number_of_steps(steps):
    """One position and a network that adds nothing: the law of its word is the prior; aims that are means miss it."""
    model, count = manta(), 4000
    model.policy.scores = lambda x, belief, *_: torch.zeros(*belief.shape)
    model.prior.copy_(torch.randn(WORDS, generator=rng(8)))
    times = torch.linspace(0, 1, steps + 1)[:, None, None, None].expand(-1, count, 1, 1)
    found = {}
    for name, seed in (("drawn", 5), ("mean", None)):
        loop = MantaPolicy(model, temperature=1.0, seed=seed)
        z = torch.randn(count, 1, LATENT, generator=rng(3))
        end = rollout(transport, loop, z, times, straight_step(1.0), rng(4)).path.states[-1]
        words = model.space.codebook().evidence(end, torch.full((count, 1), 0.999)).argmax(-1)
        law = F.one_hot(words.flatten(), WORDS).double().mean(0)
        found[name] = 0.5 * (law - model.prior.softmax(-1)).abs().sum().item()
    assert found["drawn"] < 0.04 < 3 * found["drawn"] < found["mean"]


@torch.no_grad()
@pytest.mark.parametrize("head", ["tokens", "denoised"])
def test_who_has_arrived_stays(head):
    model, (z, t) = manta(head=head), states()
    t[:, 2] = 1.0
    clean, logits = model.predict(z, t, torch.zeros_like(z))
    assert (
        clean[:, 2].equal(z[:, 2])
        and clean[0, 0].equal(z[0, 0])
        and not torch.allclose(clean[:, 3], z[:, 3])
    )
    assert (logits is None) == (head == "denoised")
    assert torch.equal(MantaPolicy(model)(z, t[..., None])[:, 2], torch.zeros(3, LATENT))


@torch.no_grad()
def test_the_laws_are_those_of_chapter_03():
    (z, t), y = states(), torch.randn(3, N, LATENT, generator=rng(5))
    t[0, 1] = 0.999
    time = t[..., None]
    assert torch.allclose(manta().control(y, z, time), pinned_control(y, z, time, 0.02))
    assert torch.allclose(
        manta(terminal="soft", terminal_weight=7.0).control(y, z, time),
        soft_terminal_control(y, z, time, 7.0),
    )
    assert torch.allclose(manta().control(y, z, time)[0, 1], (y - z)[0, 1] / 0.02)


def test_losses_by_hand():
    for head in ("tokens", "denoised"):
        model, tokens = manta(head=head), texts(5)
        found, again = model.losses(tokens, step=0, rng=rng(4)), rng(4)
        z0, z1 = model.couple(tokens, again)
        t, window = model.draw_times(5, N, 0, again)
        assert window is None
        zt = t[..., None] * z1 + (1 - t[..., None]) * z0
        clean, logits = model.predict(zt, t, torch.zeros_like(zt))
        moving, error = (t > 0) & (t < 1), (clean - z1).square().mean(-1)
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
def test_windows_side_by_side_are_the_windows_of_the_path_one_at_a_time(head, kernel):
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
    t, window = model.draw_times(40, N, 0, again)
    assert ((t == 0).all(1)).float().mean().item() == pytest.approx(0.3, abs=0.25) and len(
        window.unique()
    ) > 4
    zt, total = t[..., None] * z1 + (1 - t[..., None]) * z0, torch.zeros(())
    for now in window.unique():
        time = torch.where(window < now, 1.0, t).where(window <= now, 0.0)
        clean, logits = model.predict(
            z1.where(time[..., None] == 1, zt), time, torch.zeros_like(zt)
        )
        each = (
            (clean - z1).square().mean(-1)
            if head == "denoised"
            else F.cross_entropy(logits.mT, tokens, reduction="none")
        )
        total += each[window == now].sum()
    assert (
        torch.allclose(found.terms[head], total / tokens.numel(), rtol=1e-4)
        and found.metrics["moving"] == 1
    )


@torch.no_grad()
def test_known_words_are_shown_to_all_windows_and_are_no_targets():
    model, tokens = manta(blocks=True, max_offset=4.0, observed_fraction=1.0), texts(200)
    t, window = model.draw_times(200, N, 0, rng(4))
    known = window == -torch.inf
    assert torch.equal(known, t == 1) and 0.3 < known.float().mean() < 0.7
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


def test_known_words_come_in_spans_of_four_whose_time_is_one():
    t, _ = manta(max_offset=0.0, observed_fraction=1.0).draw_times(4000, N, 0, rng())
    known = t == 1
    assert torch.equal(known[:, :4], known[:, :1].expand(-1, 4)) and torch.equal(
        known[:, 4:], known[:, 4:5].expand(-1, 4)
    )
    assert known[:, 0].float().mean().item() == pytest.approx(0.5, abs=4 * 0.5 / 4000**0.5)
    others = t.masked_fill(known, -1).amax(1, keepdim=True)
    assert torch.equal(t[~known], others.expand(-1, N)[~known])


def test_the_law_of_time_sees_positions_under_way_and_bends_the_draws():
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


def test_the_policy_remembers_its_last_aim_until_time_goes_back():
    model, seen = manta(self_condition=True), []
    predict = model.predict
    model.predict = lambda z, t, c, *how: seen.append(c) or predict(z, t, c, *how)
    loop, z = MantaPolicy(model), states()[0]
    with torch.no_grad():
        for time in (0.2, 0.5, 0.3):
            loop(z, torch.full((3, N, 1), time))
    assert not seen[0].any() and torch.equal(seen[1], loop.seen[0]) and not seen[2].any()
    silent = manta()
    silent.predict = model.predict
    loop = MantaPolicy(silent)
    with torch.no_grad():
        for time in (0.2, 0.5):
            loop(z, torch.full((3, N, 1), time))
    assert not seen[-1].any()


@torch.no_grad()
@pytest.mark.parametrize("head", ["tokens", "denoised"])
def test_a_wish_bends_the_aim_of_those_on_their_way(head):
    model, (z, t) = manta(head=head), states()
    t[:, 2] = 1.0
    c, time = torch.zeros_like(z), t[..., None]

    def look(z):
        clean, logits = model.predict(z, t, c)
        return clean, model.space.decode(clean) if logits is None else logits

    bent = posterior_mean_guidance(look, contains(5), 2.0, Linear(), z, t)[0].where(time < 1, z)
    loop = MantaPolicy(model, target=contains(5), scale=2.0)
    assert torch.allclose(loop(z, time), model.control(bent, z, time), atol=1e-5) and torch.equal(
        loop.seen[0], bent
    )
    assert torch.equal(bent[:, 2], z[:, 2]) and not torch.allclose(
        bent, look(z)[0].where(time < 1, z), atol=1e-4
    )


def test_spaces_and_couplings_that_a_policy_cannot_have():
    with pytest.raises(UserError, match="train its VAE with --model"):
        MantaLM(MantaLMConfig(WORDS, N, space=VAEConfig(WORDS, N, n_encoder_layers=1)))
    for wrong in ({"kernel": "spectral"}, {"kernel": "slice"}, {"self_condition": True}):
        with pytest.raises(UserError, match="no-blocks"):
            MantaLM(MantaLMConfig(WORDS, N, blocks=True, space=VAEConfig(WORDS, N), **wrong))
    with pytest.raises(UserError, match="noise that does not depend on the text"):
        MantaLM(MantaLMConfig(WORDS, N, coupling="optimal", space=VAEConfig(WORDS, N)))


def test_states_on_the_path_are_those_of_the_straight_path():
    model = manta()
    z0, z1 = model.couple(texts(3), rng())
    assert torch.allclose(
        interpolate(model.schedule, z1, z0, torch.full((3, N), 0.25)), 0.25 * z1 + 0.75 * z0
    )
