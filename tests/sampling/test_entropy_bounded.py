"""Entropy-bounded decoding: which runs are safe, and texts equal to those of a full reading."""

import math
from itertools import pairwise

import pytest
import torch

from minildm.dynamics.solvers import integrate
from minildm.errors import UserError
from minildm.models.generation import GenerationConfig, MantaGeneration
from minildm.models.guidance import contains, reweight
from minildm.sampling.config import complete
from minildm.sampling.entropy_bounded import PLAUSIBLE, EntropyBoundedPolicy, safe_run
from minildm.sampling.process import Request
from tests.models.small import rng
from tests.models.tiny_manta import LATENT, WORDS, N, manta, texts
from tests.sampling.draw import draw


def writer(**changes):
    return manta(
        blocks=True,
        block_size=3,
        generation=MantaGeneration(solver="entropy_bounded", temperature=1.0),
        **changes,
    )


ALL = torch.ones(1, N, dtype=torch.bool)


def bounded(model, bound, steps, moving=ALL, record=True, **guidance):
    """The policy of texts whose `moving` positions are drawn at temperature 1."""
    config = GenerationConfig(steps=steps, entropy_bound=bound, temperature=1.0, **guidance)
    given = torch.zeros(moving.shape, dtype=torch.long)
    settings = complete(config, model)
    request = Request(settings, given, ~moving, rng(), record=record)
    return EntropyBoundedPolicy(model, request, 0)


@torch.no_grad()
def states(policy, z, moving=ALL):
    """The latents on the path of a policy."""
    arrived = 1.0 - moving.expand(len(z), -1)[..., None].float()
    evaluations = torch.arange(policy.steps + 1.0)
    start = torch.cat((z, arrived), -1)
    return integrate(policy, start, evaluations, "euler", record=policy.record).states[..., :-1]


def test_safe_runs_by_hand():
    entropy = torch.tensor([[0.5, 0.1, 0.2, 0.0, 9.0, 0.0]]).expand(2, -1)
    waiting = torch.tensor([[True] * 6, [False, True, False, True, True, True]])
    for bound, wanted in (
        (0.0, (1, 2)),
        (0.11, (2, 4)),
        (0.31, (4, 4)),
        (0.81, (6, 4)),
        (100.0, (6, 4)),
    ):
        assert safe_run(entropy, waiting, bound).flatten().tolist() == list(wanted)
    assert safe_run(entropy, torch.zeros(2, 6, dtype=torch.bool), 1.0).flatten().tolist() == [0, 0]


@pytest.mark.parametrize("seed", range(5))
def test_what_a_run_costs_is_within_the_bound(seed):
    """KL(joint | product of its marginals) <= sum H - max H, with equality where one word contains all of the others."""
    joint = torch.rand(3, 4, 5, generator=rng(seed), dtype=torch.float64) ** 6
    joint /= joint.sum()
    marginals = [joint.sum((1, 2)), joint.sum((0, 2)), joint.sum((0, 1))]
    entropy = torch.stack([-(p * p.log()).sum() for p in marginals])
    product = torch.einsum("i,j,k->ijk", *marginals)
    assert (joint * (joint / product).log()).sum() <= entropy.sum() - entropy.max()
    tied = torch.eye(4, dtype=torch.float64) / 4
    cost = (tied[tied > 0] * (tied[tied > 0] * 16).log()).sum()
    assert cost.item() == pytest.approx(
        2 * torch.tensor(4.0).log().item() - torch.tensor(4.0).log().item()
    )


@pytest.mark.parametrize("masked", [False, True])
def test_words_arrive_one_by_one_as_for_a_writer_that_reads_all_of_the_text(masked):
    model, given = writer(), texts(5)
    mask = (torch.arange(N) % 4 > 0).expand(5, -1)
    asked = {"prompt": given, "observed": ~mask} if masked else {}
    written = draw(model, 5, rng=rng(), steps=3 * N, entropy_bound=0.0, temperature=0.0, **asked)
    g = rng()
    z, t = torch.randn(5, N, LATENT, generator=g), torch.zeros(5, N)
    if masked:
        z, t = torch.where(mask[..., None], z, model.space.encode(given, g)), (~mask).float()
    for i in range(N):
        if t[0, i] < 1:
            z[:, i], t[:, i] = model.predict(z, t, torch.zeros_like(z), 1e-3)[0][:, i], 1.0
    words = model.space.decode_tokens(z)[0]
    assert torch.equal(written.tokens, torch.where(mask, words, given) if masked else words)
    assert written.nfe == (int(mask[0].sum()) if masked else N)


def test_a_run_is_no_longer_than_was_trained():
    arrived = []
    model = writer()
    loop = bounded(model, 1e9, 9)
    for a, b in pairwise(states(loop, torch.randn(4, N, LATENT, generator=rng()))):
        arrived.append((a != b).any(-1).sum(1).unique().tolist())
    assert arrived == [[3], [3], [N - 6]] + [[0]] * 6 and loop.nfe == 3


@pytest.mark.parametrize("steps", [1, 2, 5, N, 40])
def test_the_evaluations_suffice(steps):
    model = writer()
    moving = torch.rand(6, N, generator=rng(1)) < 0.7
    loop = bounded(model, 0.0, steps, moving)
    z = torch.randn(6, N, LATENT, generator=rng())
    end = states(loop, z, moving)[-1]
    assert torch.equal((end != z).any(-1), moving)
    assert loop.nfe <= min(steps, N)


@pytest.mark.parametrize("bound", [0.0, 100.0])
def test_a_first_word_has_the_distribution_of_its_word(bound):
    model, count = writer(), 4000
    z = torch.randn(1, N, LATENT, generator=rng()).expand(count, -1, -1)
    first = states(bounded(model, bound, N), z)[1]
    probs = model.predict(z[:1], torch.zeros(1, N), torch.zeros(1, N, LATENT))[1].softmax(-1)[0]
    for i in range(3 if bound else 1):
        ends = model.space.codebook().endpoint(
            torch.eye(WORDS)[:, None].expand(-1, N, -1),
            z[:1].expand(WORDS, -1, -1),
            torch.zeros(WORDS, N),
        )[:, i]
        word = torch.cdist(first[:, i], ends).argmin(-1)
        assert torch.allclose(word.bincount(minlength=WORDS) / count, probs[i], atol=0.03)


def test_texts_are_a_function_of_the_seed_and_a_path_is_whole():
    model = writer()
    one, two = (draw(model, 3, rng=rng(), steps=6, record=True) for _ in range(2))
    assert torch.equal(one.tokens, two.tokens) and torch.equal(
        one.trajectory.tokens[-1], one.tokens
    )
    assert (
        len(one.trajectory.states) == len(one.trajectory.tokens) == len(one.trajectory.times) == 7
    )


def test_only_what_is_recorded_is_remembered():
    model, z = writer(), torch.randn(3, N, LATENT, generator=rng())
    loops = [bounded(model, 0.0, 6, record=record) for record in (True, False)]
    whole, kept = (states(loop, z) for loop in loops)
    assert torch.equal(kept, whole[[0, -1]])
    assert [len(loop.seen) for loop in loops] == [6, 1]


@torch.no_grad()
@pytest.mark.parametrize("scale", [0.5, 1.0, 3.0])
def test_a_first_word_has_the_reweighted_distribution(scale):
    model, count, target = writer(), 4000, contains(7)
    z = torch.randn(1, N, LATENT, generator=rng()).expand(count, -1, -1)
    guidance = {"guidance_target": target, "guidance_scale": scale}
    first = states(bounded(model, 0.0, N, **guidance), z)[1][:, 0]
    log_p = model.predict(z[:1], torch.zeros(1, N), torch.zeros(1, N, LATENT))[1].log_softmax(-1)
    probs, p = (log_p + scale * reweight(target, log_p))[0, 0], log_p[0, 0].exp()
    probs = probs.masked_fill(p < PLAUSIBLE * p.max(), -torch.inf).softmax(0)
    ends = model.space.codebook().endpoint(
        torch.eye(WORDS)[:, None], z[:WORDS, :1], torch.zeros(WORDS, 1)
    )[:, 0]
    word = torch.cdist(first, ends).argmin(-1)
    assert torch.allclose(word.bincount(minlength=WORDS) / count, probs, atol=0.03)
    assert probs[7] > p[7]


def test_no_guidance_brings_a_word_that_is_not_plausible():
    loop = bounded(writer(), 0.0, N, guidance_target=contains(2), guidance_scale=100.0)
    logits = torch.tensor(
        [[[0.0, -1.0, math.log(0.9 * PLAUSIBLE)], [0.0, -1.0, math.log(1.1 * PLAUSIBLE)]]]
    )
    assert loop.reweighted(contains(2), logits).isinf().tolist() == [
        [[False, False, True], [False, False, False]]
    ]
    assert loop.reweighted(contains(2), logits)[0, 1].argmax() == 2


def test_guidance_makes_its_word_likelier_and_costs_no_evaluations():
    model = writer()
    plain, weak, guided = (
        draw(model, 256, rng=rng(), steps=50, **ask)
        for ask in (
            {},
            {"guidance_target": contains(7), "guidance_scale": 0.0},
            {"guidance_target": contains(7)},
        )
    )
    said = [(written.tokens == 7).any(1).float().mean().item() for written in (plain, weak, guided)]
    assert (
        said[2] > max(said[:2]) + 0.1 and max(written.nfe for written in (plain, weak, guided)) <= N
    )


def test_an_offset_or_a_start_asks_for_another_solver():
    model = writer()
    assert draw(model, 2, rng=rng(), steps=50).nfe <= N
    assert draw(model, 2, rng=rng(), steps=50, offset=2.0).nfe == 50
    assert draw(model, 2, rng=rng(), steps=50, start=0.5, prompt=texts(2)).nfe == 50


@pytest.mark.parametrize(
    "model, request_, said",
    [
        (writer(), dict(solver="entropy_bounded", offset=1.0), "takes no offset"),
        (writer(), dict(offset=1.0, entropy_bound=0.1), "ancestral has no"),
        (manta(), dict(solver="entropy_bounded"), "no solver 'entropy_bounded'"),
    ],
)
def test_requests_that_cannot_be_fulfilled(model, request_, said):
    with pytest.raises(UserError, match=said):
        draw(model, 1, rng=rng(), **request_)
