"""Processes of all models: one run by integration and by rollout, prompts, memory, refusals."""

from itertools import pairwise

import pytest
import torch

from minildm import UserError
from minildm.control.feedback import rollout, transport
from minildm.models.generation import GenerationConfig
from minildm.models.gpt import GPT, GPTConfig
from minildm.models.masked import MaskedDiffusion, MaskedDiffusionConfig
from minildm.sampling import Sampler
from minildm.sampling.discrete import write
from minildm.tokens import BOS, EOS, MASK, PAD
from minildm.transport.diffusion import ClosedLoop
from tests.models.small import ldlm, rng
from tests.models.tiny_manta import manta, space

from .draw import draw

SIZES = {"vocab_size": 12, "seq_len": 8, "d_model": 16, "n_heads": 2, "n_layers": 1}


def gpt() -> GPT:
    torch.manual_seed(0)
    return GPT(GPTConfig(**SIZES)).eval()


def masked() -> MaskedDiffusion:
    torch.manual_seed(0)
    return MaskedDiffusion(MaskedDiffusionConfig(**SIZES)).eval()


MODELS = {"gpt": gpt, "masked": masked, "ldlm": lambda: ldlm().eval(), "manta": manta}


def process(model, count: int, seed: int, prompt=None, **options):
    """A process whose random tokens are fixed by the seed."""
    sampler = Sampler(model, GenerationConfig(**options))
    return sampler.process(count, rng(seed), prompt, seed=seed, record=True)


@torch.no_grad()
def run(made, seed: int = 0):
    """The path of a rollout, which holds each control for one step."""
    return rollout(transport, made.policy, made.start, made.times, made.step, rng(seed)).path


@torch.no_grad()
@pytest.mark.parametrize("solver", ["ddim", "euler"])
def test_a_rollout_of_an_ldlm_draws_what_the_sampler_draws(solver):
    model = ldlm().eval()
    path = run(process(model, 3, 5, steps=8, solver=solver))
    made = draw(model, 3, rng=rng(5), steps=8, solver=solver, record=True)
    assert torch.allclose(path.states, made.trajectory.states, atol=1e-4)


@torch.no_grad()
@pytest.mark.parametrize("offset", [0.0, 2.0])
def test_a_rollout_of_a_manta_draws_what_the_sampler_draws(offset):
    model = manta()
    path = run(process(model, 3, 5, steps=8, solver="euler", offset=offset))
    made = draw(model, 3, rng=rng(5), steps=8, solver="euler", offset=offset, record=True)
    assert torch.allclose(path.states, made.trajectory.states, atol=1e-5)


@torch.no_grad()
@pytest.mark.parametrize("name", MODELS)
def test_a_prompt_begins_every_text_from_the_start(name):
    model = MODELS[name]()
    prompt = torch.tensor([[BOS, 7, 5]])
    made = process(model, 4, 1, prompt)
    tokens, _ = made.read(run(made).states)
    assert (tokens[..., :3] == prompt).all() and tokens.shape[-1] == 8
    free = process(model, 4, 1)
    assert (free.read(run(free).states)[0][-1, :, :3] != prompt).any()
    with pytest.raises(UserError, match="the prompt has 9 tokens"):
        process(model, 4, 1, torch.ones(1, 9, dtype=torch.long))


@torch.no_grad()
def test_a_rollout_goes_on_from_a_prompt_as_the_sampler_does():
    prompt = torch.tensor([[BOS, 7, 5]])
    for model, how in ((ldlm().eval(), {}), (manta(), {"offset": 2.0})):
        how |= {"steps": 8, "solver": "euler"}
        made = process(model, 3, 5, prompt, **how)
        path = run(made)
        drawn = draw(model, 3, rng=rng(5), prompt=prompt, record=True, **how)
        assert torch.allclose(path.states, drawn.trajectory.states, atol=1e-4)
        assert torch.equal(made.read(path.states[-1:])[0][0], drawn.tokens)


@torch.no_grad()
def test_the_end_that_a_control_implies_is_the_policys():
    made = process(manta(), 2, 0, steps=8, solver="euler", offset=0.0)
    t = made.times[3]
    implied = made.end(made.start, made.policy(made.start, t), t)
    assert torch.allclose(implied, made.policy.seen[-1], atol=1e-5)


@torch.no_grad()
def test_a_gpt_writes_from_left_to_right_and_stops_at_the_end():
    model = gpt()
    states = run(process(model, 200, 1)).states
    for k, tokens in enumerate(states):
        assert (tokens[:, 0] == BOS).all() and (tokens[:, k + 1 :] == PAD).all()
        assert torch.equal(tokens[:, : k + 1], states[-1][:, : k + 1])
    ended = (states[-1] == EOS).cumsum(1) > 0
    after = ended & (states[-1] != EOS)
    assert after.any() and (states[-1][after] == PAD).all()
    first = model.logits(states[0][:1, :1])[0, -1].softmax(-1)
    seen = run(process(model, 20_000, 2)).states[1][:, 1].bincount(minlength=12) / 20_000
    assert (seen - first).abs().max() < 4 * 0.5 / 20_000**0.5


@torch.no_grad()
def test_masks_are_lifted_for_good_and_evenly():
    states = run(process(masked(), 2000, 1, steps=4)).states
    shown = [(tokens != MASK).float().mean().item() for tokens in states]
    assert shown[0] == 0 and shown == pytest.approx([0, 0.25, 0.5, 0.75, 1], abs=0.02)
    for before, after in pairwise(states):
        assert ((before == MASK) | (before == after)).all()


def test_memory_is_cut_where_the_state_goes_back():
    shown = []

    def predict(z, t, c):
        shown.append(float(c.mean()))
        return torch.full_like(z, float(t[0]))

    z = torch.zeros(1, 2, 3)
    loop = ClosedLoop(predict, ldlm().schedule, z)
    for t in (0.0, 0.25, 0.5, 0.75):
        loop(z, torch.tensor(t))
    loop.rewind(torch.tensor(0.5))
    for t in (0.5, 0.75):
        loop(z, torch.tensor(t))
    assert shown == [0.0, 0.0, 0.25, 0.5, 0.25, 0.5]


def test_the_cache_of_a_gpt_is_cut_where_the_state_goes_back():
    model = gpt()
    made = process(model, 3, 1)
    path = run(made)
    made.policy.rewind(made.times[3])
    other = path.states[3].clone()
    other[:, 1] = 5 + (other[:, 1] - 4) % 7
    again = process(model, 3, 1)
    assert torch.equal(made.policy(other, made.times[3]), again.policy(other, made.times[3]))


def test_a_step_of_tokens_writes_where_it_is_asked_to():
    tokens = torch.tensor([[1, 5, 6]])
    control = torch.tensor([[-1, 0, 7]])
    after = write(lambda z, t: control, tokens, torch.tensor(0.0), torch.tensor(0.5))
    assert after.tolist() == [[1, 0, 7]]


@pytest.mark.parametrize(
    ("name", "options", "said"),
    [
        ("manta", {"solver": "ddim"}, "a Manta-LM has no solver 'ddim'"),
        ("masked", {"solver": "euler"}, "a masked model has no solver 'euler'"),
        ("ldlm", {"solver": "sampled"}, "an LDLM has no solver 'sampled'"),
        ("gpt", {"steps": 8}, "a GPT has no number of steps to choose: leave out steps"),
        ("ldlm", {"offset": 1.0}, "an LDLM has no noise levels with an offset"),
        ("ldlm", {"top_p": 0.5}, "an LDLM has no nucleus to draw from: leave out top_p"),
        ("gpt", {"top_p": 1.5}, "a top_p of 1.5 has no meaning"),
        ("gpt", {"temperature": float("nan")}, "temperature nan has no meaning"),
        ("ldlm", {"start": 1.0}, "a start of 1.0 has no meaning"),
        ("ldlm", {"solver": "ddim", "temperature": 0.5}, "adds no noise that a temperature"),
        ("ldlm", {"steps": 0}, "cannot sample in 0 steps"),
        ("ldlm", {"length": 1}, "leaves no room for a text"),
        ("ldlm", {"num_tries": 2}, "give a target, or 1 try"),
    ],
)
def test_what_a_model_cannot_do_is_refused_when_the_sampler_is_made(name, options, said):
    with pytest.raises(UserError, match=said.replace("(", r"\(")):
        Sampler(MODELS[name](), GenerationConfig(**options))


def test_what_cannot_be_drawn_is_refused_when_it_is_asked_for():
    with pytest.raises(UserError, match="cannot write 0 texts"):
        draw(gpt(), 0, rng=rng())
    with pytest.raises(UserError, match="a GPT writes no text around given gaps"):
        observed = torch.ones(1, 3, dtype=torch.bool)
        draw(gpt(), 1, rng=rng(), prompt=torch.ones(1, 3, dtype=torch.long), observed=observed)
    with pytest.raises(UserError, match="a VAE writes no text around a given beginning"):
        draw(space(), 1, rng=rng(), prompt=torch.ones(1, 2, dtype=torch.long))
