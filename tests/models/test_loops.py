"""Loops of the four kinds: they write what `generate` writes, and their memory is cut where time goes back."""

from itertools import pairwise

import pytest
import torch

from minildm import UserError
from minildm.control.feedback import rollout, transport
from minildm.models.base import BOS, EOS, MASK, PAD
from minildm.models.gpt import GPT, GPTConfig
from minildm.models.loops import Remembering, loop_of, write
from minildm.models.masked import Masked, MaskedConfig

from .small import ldlm, rng
from .tiny_manta import manta, space

SIZES = {"vocabulary": 12, "length": 8, "width": 16, "heads": 2, "layers": 1}


def run(loop, seed: int = 0):
    return rollout(transport, loop.law, loop.start, loop.times, loop.step, rng(seed)).path


@torch.no_grad()
@pytest.mark.parametrize("solver", ["ddim", "euler"])
def test_an_ldlm_loop_writes_what_generate_writes(solver):
    model = ldlm().eval()
    path = run(loop_of(model, 3, 5, 8, solver))
    made = model.generate(3, rng=rng(5), steps=8, solver=solver, record=True)
    assert torch.allclose(path.states, made.trajectory.states, atol=1e-4)


@torch.no_grad()
@pytest.mark.parametrize("lag", [0.0, 2.0])
def test_a_manta_loop_writes_what_generate_writes(lag):
    model = manta()
    path = run(loop_of(model, 3, 5, 8, "euler", lag))
    made = model.generate(3, rng=rng(5), steps=8, solver="euler", lag=lag, record=True)
    assert torch.allclose(path.states, made.trajectory.states, atol=1e-5)


@torch.no_grad()
@pytest.mark.parametrize("kind", ["gpt", "masked", "ldlm", "manta"])
def test_a_prompt_begins_every_text_from_the_start(kind):
    torch.manual_seed(0)
    model = {
        "gpt": lambda: GPT(GPTConfig(**SIZES)),
        "masked": lambda: Masked(MaskedConfig(**SIZES)),
        "ldlm": ldlm,
        "manta": manta,
    }[kind]().eval()
    prompt = torch.tensor([[BOS, 7, 5]])
    loop = loop_of(model, 4, 1, 8, prompt=prompt)
    words, _sure = loop.read(run(loop).states)
    assert (words[..., :3] == prompt).all() and words.shape[-1] == 8
    free = loop_of(model, 4, 1, 8)
    assert (free.read(run(free).states)[0][-1, :, :3] != prompt).any()
    with pytest.raises(UserError, match="the prompt has 9 tokens"):
        loop_of(model, 4, 1, 8, prompt=torch.ones(1, 9, dtype=torch.long))


@torch.no_grad()
def test_a_manta_and_an_ldlm_loop_go_on_from_a_prompt_as_generate_does():
    prompt = torch.tensor([[BOS, 7, 5]])
    for model, how in ((ldlm().eval(), {}), (manta(), {"lag": 2.0})):
        loop = loop_of(model, 3, 5, 8, "euler", prompt=prompt, **how)
        path = run(loop)
        made = model.generate(
            3, rng=rng(5), steps=8, solver="euler", prompt=prompt, record=True, **how
        )
        assert torch.allclose(path.states, made.trajectory.states, atol=1e-4)
        assert torch.equal(loop.read(path.states[-1:])[0][0], made.tokens)


@torch.no_grad()
def test_the_end_that_a_control_implies_is_the_policys():
    model = manta()
    loop = loop_of(model, 2, 0, 8, "euler", 0.0)
    t = loop.times[3]
    assert torch.allclose(
        loop.end(loop.start, loop.law(loop.start, t), t), loop.law.seen[-1], atol=1e-5
    )


@torch.no_grad()
def test_a_gpt_loop_writes_from_left_to_right_and_stops_at_the_end():
    torch.manual_seed(0)
    model = GPT(GPTConfig(**SIZES)).eval()
    states = run(loop_of(model, 200, 1)).states
    for k, tokens in enumerate(states):
        assert (tokens[:, 0] == BOS).all() and (tokens[:, k + 1 :] == PAD).all()
        assert torch.equal(tokens[:, : k + 1], states[-1][:, : k + 1])
    ended = (states[-1] == EOS).cumsum(1) > 0
    after = ended & (states[-1] != EOS)
    assert after.any() and (states[-1][after] == PAD).all()
    first = model.logits(states[0][:1, :1])[0, -1].softmax(-1)
    seen = run(loop_of(model, 20_000, 2)).states[1][:, 1].bincount(minlength=12) / 20_000
    assert (seen - first).abs().max() < 4 * 0.5 / 20_000**0.5


@torch.no_grad()
def test_a_masked_loop_lifts_masks_for_good_and_evenly():
    torch.manual_seed(0)
    model = Masked(MaskedConfig(**SIZES)).eval()
    states = run(loop_of(model, 2000, 1, 4)).states
    shares = [(tokens != MASK).float().mean().item() for tokens in states]
    assert shares[0] == 0 and shares == pytest.approx([0, 0.25, 0.5, 0.75, 1], abs=0.02)
    for before, after in pairwise(states):
        assert ((before == MASK) | (before == after)).all()


def test_memory_is_cut_where_time_goes_back():
    model, shown = ldlm(), []

    def clean(z, t, c):
        shown.append(float(c.mean()))
        return torch.full_like(z, float(t[0]))

    law, z = Remembering(clean, model.schedule), torch.zeros(1, 2, 3)
    for t in (0.0, 0.25, 0.5, 0.75, 0.5, 0.75):
        law(z, torch.tensor(t))
    assert shown == [0.0, 0.0, 0.25, 0.5, 0.25, 0.5]


def test_a_step_of_words_writes_where_it_is_told():
    tokens = torch.tensor([[1, 5, 6]])
    assert write(
        lambda z, t: torch.tensor([[-1, 0, 7]]), tokens, torch.tensor(0.0), torch.tensor(0.5)
    ).tolist() == [[1, 0, 7]]


def test_mistakes_are_users_mistakes():
    with pytest.raises(UserError, match="VAE does not write in steps"):
        loop_of(space(), 1, 0)
    for model, solver in (
        (manta(), "ddim"),
        (Masked(MaskedConfig(**SIZES)), "euler"),
        (ldlm(), "drawn"),
    ):
        with pytest.raises(UserError, match=f"no solver '{solver}'"):
            loop_of(model, 1, 0, 4, solver)
