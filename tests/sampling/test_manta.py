"""Manta-LM writing: steps by hand, observed words, gaps, second starts, guidance, offsets and temperatures."""

import pytest
import torch

from minildm.control.feedback import rollout, transport
from minildm.errors import UserError
from minildm.models.generation import MantaGeneration
from minildm.models.guidance import contains
from minildm.sampling.policy import MantaPolicy
from minildm.transport.noise_levels import offset_grid
from minildm.transport.paths import interpolate
from tests.models.small import rng
from tests.models.tiny_manta import LATENT, WORDS, N, manta, texts, trained
from tests.sampling.draw import draw


def all_moving(count: int) -> torch.Tensor:
    return torch.ones(count, N, dtype=torch.bool)


@torch.no_grad()
@pytest.mark.parametrize(
    "terminal, head", [("pinned", "tokens"), ("pinned", "denoised"), ("soft", "tokens")]
)
def test_euler_goes_where_the_control_says(terminal, head):
    model = manta(terminal=terminal, head=head)
    path = draw(model, 3, rng=rng(), steps=6, solver="euler", offset=2.0, record=True).trajectory
    times = model.time.warp(offset_grid(6, 2.0, all_moving(3)))
    z = torch.randn(3, N, LATENT, generator=rng())
    temperature = model.config.generation.temperature
    for k in range(6):
        t, s = times[k], times[k + 1]
        assert torch.allclose(path.states[k], z, atol=1e-5)
        denoised = model.predict(z, t[..., 0], torch.zeros_like(z), temperature)[0]
        u = (
            (denoised - z) / (1 - t).clamp(min=0.02)
            if terminal == "pinned"
            else 50 * (denoised - z) / (1 + 50 * (1 - t))
        )
        z = z + (s - t) * u
        assert torch.allclose(path.denoised[k], denoised, atol=1e-5)
    assert torch.allclose(path.states[-1], z, atol=1e-5)


@torch.no_grad()
def test_a_last_euler_step_of_the_pinned_control_ends_at_its_aim():
    path = draw(manta(), 2, rng=rng(), steps=4, solver="euler", offset=0.0, record=True).trajectory
    assert torch.allclose(path.states[-1], path.denoised[-2], atol=1e-5)


@pytest.mark.parametrize(
    "solver, head",
    [
        ("ancestral", "tokens"),
        ("euler", "tokens"),
        ("sampled", "tokens"),
        ("ancestral", "denoised"),
        ("euler", "denoised"),
    ],
)
def test_texts_are_a_function_of_the_seed(solver, head):
    model = manta(head=head)
    first, again, other = (
        draw(model, 3, rng=rng(seed), steps=5, solver=solver, record=True) for seed in (0, 0, 1)
    )
    assert torch.equal(first.tokens, again.tokens) and torch.equal(
        first.trajectory.states, again.trajectory.states
    )
    assert not torch.equal(first.trajectory.states, other.trajectory.states)
    assert first.tokens.shape == (3, N) and ((0 <= first.tokens) & (first.tokens < WORDS)).all()
    assert first.nfe == 5 and first.seconds > 0


@pytest.mark.parametrize("start", [0.0, 0.4])
def test_a_recorded_path_is_whole_and_ends_in_the_text(start):
    model, prompt = manta(), texts(3) if start else None
    plain = draw(model, 3, rng=rng(), steps=4, prompt=prompt, start=start)
    written = draw(model, 3, rng=rng(), steps=4, prompt=prompt, start=start, record=True)
    path = written.trajectory
    assert plain.trajectory is None and torch.equal(plain.tokens, written.tokens)
    assert torch.allclose(path.times, torch.linspace(start, 1, 5))
    assert path.states.shape == path.denoised.shape == (5, 3, N, LATENT)
    assert path.tokens.shape == path.confidence.shape == (5, 3, N) and (path.confidence > 0).all()
    assert torch.equal(path.tokens[-1], written.tokens) and torch.equal(
        path.denoised[-1], path.states[-1]
    )


@pytest.mark.parametrize("length", [2, 5, 13])
def test_other_lengths(length):
    assert draw(manta(), 2, rng=rng(), steps=3, length=length).tokens.shape == (2, length)


@pytest.mark.parametrize("kernel", ["spectral", "slice", "causal"])
def test_other_kernels(kernel):
    assert draw(manta(kernel=kernel), 2, rng=rng(), steps=3).tokens.shape == (2, N)


@pytest.mark.parametrize("solver", ["ancestral", "euler", "sampled"])
def test_a_prompt_begins_the_texts_and_does_not_move(solver):
    model, prompt = manta(), torch.tensor([[1, 5, 8]])
    written = draw(model, 4, rng=rng(), steps=4, solver=solver, prompt=prompt, record=True)
    assert torch.equal(written.tokens[:, :3], prompt.expand(4, -1))
    states = written.trajectory.states
    assert torch.allclose(states[:, :, :3], states[:1, :, :3].expand(5, -1, -1, -1), atol=1e-5)
    assert (states[-1] - states[0])[:, 3:].abs().amax(-1).min() > 1e-3
    means = model.space.codebook().means[prompt[0]]
    spread = model.space.codebook().variances.sqrt()
    assert (
        (states[0, :, :3] - means) / spread
    ).abs().max() < 5  # draws around the codes of its words
    assert not torch.equal(states[0, 0, :3], states[0, 1, :3])


def test_observed_words_are_kept_exactly_and_gaps_are_written():
    model, truth, mask = manta(), texts(3), torch.zeros(1, N, dtype=torch.bool)
    mask[0, 2:4] = mask[0, 6] = True
    for solver in ("ancestral", "euler"):
        written = draw(
            model, 3, rng=rng(), steps=4, solver=solver, prompt=truth, observed=~mask, record=True
        )
        assert torch.equal(written.tokens[:, ~mask[0]], truth[:, ~mask[0]])
        states = written.trajectory.states
        assert torch.allclose(
            states[:, :, ~mask[0]], states[:1, :, ~mask[0]].expand(5, -1, -1, -1), atol=1e-5
        )
    each = torch.zeros(3, N, dtype=torch.bool)
    each[0, 1], each[1, 2:5], each[2] = True, True, True
    tokens = draw(model, 3, rng=rng(), steps=4, prompt=truth, observed=~each).tokens
    assert torch.equal(tokens[~each], truth[~each])
    nothing = draw(
        model, 3, rng=rng(), steps=4, prompt=truth, observed=~torch.zeros(3, N, dtype=torch.bool)
    ).tokens
    assert torch.equal(nothing, truth)


def test_a_trained_model_fills_gaps_with_the_words_that_follow():
    model, truth = trained(), texts(64, 7)
    mask = torch.zeros(1, N, dtype=torch.bool)
    mask[0, 3:5] = True
    filled = draw(model, 64, rng=rng(), steps=8, prompt=truth, observed=~mask).tokens
    assert (filled == truth)[:, mask[0]].float().mean() > 0.8  # by chance an eighth


@pytest.mark.parametrize("start", [0.2, 0.7])
def test_a_start_is_the_text_noised_to_the_time_of_that_fraction_of_the_steps(start):
    model, prompt, again = manta(), texts(3), rng(2)
    model.time.cdf.copy_(torch.linspace(0, 1, 51).double() ** 2)
    path = draw(model, 3, rng=rng(2), steps=4, prompt=prompt, start=start, record=True).trajectory
    z0 = torch.randn(3, N, LATENT, generator=again)
    z1, t = model.space.encode(prompt, again), model.time.warp(torch.full((3, N), start))
    assert torch.allclose(t, torch.full_like(t, start**0.5), atol=0.02)
    assert torch.allclose(path.states[0], interpolate(model.schedule, z1, z0, t))


def test_the_later_a_start_the_more_of_the_text_returns():
    model, truth = trained(), texts(64, 5)
    kept = []
    for start in (0.05, 0.5, 0.95):
        tokens = draw(model, 64, rng=rng(), steps=8, prompt=truth, start=start).tokens
        kept.append((tokens == truth).float().mean().item())
    assert kept[0] < kept[1] < kept[2] + 1e-9 and kept[2] > 0.95


def test_a_repair_corrects_a_wrong_word():
    model, truth = trained(), texts(64, 5)
    broken = truth.clone()
    broken[:, 4] = 4 + (truth[:, 4] - 4 + 2) % (WORDS - 4)
    tokens = draw(model, 64, rng=rng(), steps=8, prompt=broken, start=0.4).tokens
    assert (tokens == truth)[:, 4].float().mean() > (broken == truth)[:, 4].float().mean() + 0.2


@pytest.mark.parametrize("head", ["tokens", "denoised"])
def test_guidance_makes_its_word_likelier(head):
    model, word = trained(head), 9
    plain, weak, guided = (
        draw(model, 256, rng=rng(), steps=8, offset=0.0, **ask).tokens
        for ask in (
            {},
            {"guidance_target": contains(word), "guidance_scale": 0.0},
            {"guidance_target": contains(word)},
        )
    )
    assert (plain == weak).float().mean() > 0.999
    said = [(tokens == word).any(1).float().mean().item() for tokens in (plain, guided)]
    assert said[1] > said[0] + 0.05  # six of the eight words are in a text


@pytest.mark.parametrize("solver", ["ancestral", "euler", "sampled"])
def test_the_first_position_arrives_before_the_last_leaves(solver):
    """With offset 4 and 10 steps a position travels for 2 steps; the first arrives at step 2, the last leaves at step 8."""
    states = draw(
        manta(), 2, rng=rng(), steps=10, solver=solver, offset=4.0, record=True
    ).trajectory.states
    assert torch.allclose(states[2:, :, 0], states[2, :, 0].expand(9, -1, -1), atol=1e-5)
    assert torch.allclose(states[:9, :, -1], states[0, :, -1].expand(9, -1, -1), atol=1e-5)
    assert (states[1] - states[0])[:, 0].abs().max() > 1e-3 and (states[9] - states[8])[
        :, -1
    ].abs().max() > 1e-3


def test_offset_and_temperature_are_the_configurations_own_where_they_are_not_given():
    model = manta(generation=MantaGeneration(offset=1.0, temperature=0.3))
    own = draw(model, 3, rng=rng(), steps=5, record=True).trajectory.states
    given = draw(
        model, 3, rng=rng(), steps=5, offset=1.0, temperature=0.3, record=True
    ).trajectory.states
    assert torch.equal(own, given)
    for other in (dict(offset=0.0), dict(temperature=1.0)):
        assert not torch.equal(
            own, draw(model, 3, rng=rng(), steps=5, record=True, **other).trajectory.states
        )


def test_at_temperature_zero_the_last_aim_is_one_word():
    model = manta()
    path = draw(
        model, 3, rng=rng(), steps=4, solver="euler", offset=0.0, temperature=0.0, record=True
    ).trajectory
    z, t = path.states[3], model.time.warp(offset_grid(4, 0.0, all_moving(3)))[3, ..., 0]
    with torch.no_grad():
        logits = model.predict(z, t, torch.zeros_like(z))[1]
    one = torch.nn.functional.one_hot(logits.argmax(-1), WORDS).float()
    assert torch.allclose(path.states[-1], model.space.codebook().endpoint(one, z, t), atol=1e-3)


def test_colder_texts_are_more_alike():
    model = trained()
    variety = [
        len(
            {
                tuple(row)
                for row in draw(
                    model, 128, rng=rng(), steps=8, temperature=temperature
                ).tokens.tolist()
            }
        )
        for temperature in (0.0, 2.0)
    ]
    assert variety[0] < variety[1]


def test_sampling_is_not_training():
    model = manta()
    before = {k: v.clone() for k, v in model.state_dict().items()}
    written = draw(model, 2, rng=rng(), steps=3, guidance_target=contains(5), record=True)
    assert all(torch.equal(before[k], v) for k, v in model.state_dict().items())
    assert not written.trajectory.states.requires_grad and all(
        p.grad is None for p in model.parameters()
    )


@pytest.mark.parametrize(
    "request_, said",
    [
        (dict(count=0), "cannot write 0 texts"),
        (dict(length=1), "leaves no room for a text"),
        (dict(steps=0), "cannot sample in 0 steps"),
        (dict(solver="heun"), "no solver 'heun': choose one of ancestral, euler"),
        (
            dict(prompt=torch.ones(1, N, dtype=torch.long)),
            f"the prompt has {N} tokens but the text only {N}",
        ),
    ],
)
def test_requests_that_cannot_be_fulfilled(request_, said):
    with pytest.raises(UserError, match=said):
        draw(manta(), **{"count": 1, **request_}, rng=rng())


def test_a_head_that_predicts_data_has_nothing_to_temper():
    with pytest.raises(UserError, match="has no temperature"):
        draw(manta(head="denoised"), 1, rng=rng(), temperature=0.5)


@pytest.mark.parametrize("offset, masked", [(0.0, False), (2.0, False), (9.0, False), (3.0, True)])
def test_what_is_kept_of_words_changes_no_text(offset, masked):
    """With the past kept and the rear unread, texts are those of a policy that reads all positions at each step."""
    model = manta(blocks=True, max_offset=N - 1.0).eval()
    given, mask = texts(6), (torch.arange(N) % 4 > 0)[None]
    asked = {"steps": 12, "offset": offset, "temperature": 1.0} | (
        {"prompt": given, "observed": ~mask} if masked else {}
    )
    kept = draw(model, 6, rng=rng(), **asked)
    whole = draw(model, 6, rng=rng(), record=True, **asked)
    assert torch.equal(kept.tokens, whole.tokens)
    loop, full = MantaPolicy(model), MantaPolicy(model)
    times = offset_grid(12, offset, torch.ones(2, N, dtype=torch.bool))
    loop.find_reach(times)
    runs = [
        rollout(
            transport, one, torch.randn(2, N, LATENT, generator=rng()), times, "euler"
        ).path.states
        for one in (loop, full)
    ]
    assert torch.allclose(*runs, atol=1e-4) and loop.cache.filled > (0 if offset else -1)
