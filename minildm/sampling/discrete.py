"""Samplers of tokens, which are written once, for good: from left to right, and by unmasking."""

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int
from torch import Tensor

from ..dynamics.precision import double, generator_on
from ..dynamics.records import Field, Trajectory
from ..models.base import gumbel
from ..models.confidence import SCORES
from ..models.gpt import GPT
from ..models.masked import MaskedDiffusion
from ..nets.cache import Cache
from ..tokens import BOS, EOS, MASK, PAD
from .process import Process, Request, over_time, process_of


def nucleus(
    logits: Float[Tensor, "... vocab_size"], temperature: float = 1.0, top_p: float = 1.0
) -> Float[Tensor, "... vocab_size"]:
    """The distribution that tokens are drawn from, in float64: tempered and cut to its nucleus.

    p proportional to exp(logits / temperature) on the smallest set of tokens with mass >= top_p

    Args:
        logits: (..., vocab_size).
        temperature: > 0, or 0 for the most probable token.
        top_p: In (0, 1].

    Returns:
        Probabilities (..., vocab_size).

    Derived in chapter 00. Source: 1904.09751; float64: 2409.02908.
    """
    if temperature == 0:
        return double(F.one_hot(logits.argmax(-1), logits.shape[-1]))
    probs = (double(logits) / temperature).softmax(-1)
    if top_p == 1:
        return probs
    ordered, index = probs.sort(-1, descending=True)
    ordered[ordered.cumsum(-1) - ordered >= top_p] = 0
    return torch.zeros_like(probs).scatter(-1, index, ordered / ordered.sum(-1, keepdim=True))


def categorical(
    probs: Float[Tensor, "rows vocab_size"], rng: torch.Generator
) -> Int[Tensor, " rows"]:
    """Tokens drawn from distributions, one a row, on the device of the distributions.

    Args:
        probs: (rows, vocab_size), as `nucleus` gives them.
        rng: Generator of the random numbers.

    Returns:
        Ids (rows,).
    """
    return torch.multinomial(probs, 1, generator=generator_on(probs.device, rng)).squeeze(1)


def write(
    field: Field,
    tokens: Int[Tensor, "b n"],
    t: Tensor,
    s: Tensor,
    rng: torch.Generator | None = None,
) -> Int[Tensor, "b n"]:
    """The step of a text whose control says which tokens to write: w_s = u where u >= 0, else w_t.

    Args:
        field: (tokens, t) -> u (b, n), -1 where nothing is written.
        tokens: (b, n).
        t, s: Times, which do not matter.
        rng: Unused, because the policy draws the tokens.

    Returns:
        The tokens at s.
    """
    control = field(tokens, t)
    return control.where(control >= 0, tokens)


class TokenNoise:
    """The randomness of tokens: drawn as it is needed, or fixed beforehand by a seed.

    Fixed noise is Gumbel noise g at each position: argmax(log p + g) is an exact draw from p.
    """

    def __init__(self, request: Request, vocab_size: int, device: torch.device):
        self.rng = request.rng
        self.fixed = None
        if request.seed is not None:
            self.fixed = gumbel((request.count, request.length, vocab_size), request.seed, device)

    def draw(
        self, probs: Float[Tensor, "rows vocab_size"], where: Bool[Tensor, "b n"]
    ) -> Int[Tensor, " rows"]:
        """Tokens for the positions `where`, in order, from their distributions."""
        if self.fixed is None:
            return categorical(probs, self.rng)
        return (probs.log() + self.fixed[where].to(probs.device)).argmax(-1)


class LeftToRight:
    """A GPT as a feedback policy: at time t = k / (n - 1) it writes position k + 1.

    It reads each token once, because a key-value cache keeps what it has read.
    """

    def __init__(self, model: GPT, request: Request):
        self.model = model
        self.request = request
        self.noise = TokenNoise(request, model.config.vocab_size, model.device)
        self.nfe = 0
        self.clear()

    def clear(self) -> None:
        """Begin with empty caches."""
        self.caches = [Cache(self.request.length) for _ in range(self.model.config.n_layers)]
        self.read = 0

    def rewind(self, t: Tensor) -> None:
        """The tokens before may be others now, so that the caches hold nothing of use."""
        self.clear()

    def __call__(self, tokens: Int[Tensor, "b n"], t: Tensor) -> Int[Tensor, "b n"]:
        i = round(float(t) * (tokens.shape[1] - 1)) + 1
        open_ended = ~self.request.observed[:, i:].any(1)
        ended = (tokens[:, :i] == EOS).any(1) & open_ended
        missing = ~self.request.observed[:, i]
        control = torch.full_like(tokens, -1)
        if missing.any() and not ended.all():
            where = torch.zeros_like(tokens, dtype=torch.bool)
            where[:, i] = True
            choice = self.noise.draw(self.probs(tokens[:, :i]), where).to(tokens.device)
            control[:, i] = choice.masked_fill(ended, PAD).where(missing, -1)
        elif missing.any():
            control[:, i] = PAD
        return control

    def probs(self, before: Int[Tensor, "b i"]) -> Float[Tensor, "b vocab_size"]:
        """The distribution of the token that comes next."""
        config = self.request.config
        logits = self.model.logits(before, self.caches, start=self.read)[:, -1]
        self.read = before.shape[1]
        self.nfe += 1
        return nucleus(logits, config.temperature, config.top_p)


@process_of.register
def left_to_right(model: GPT, request: Request) -> Process:
    """A GPT draws one token a step; where no beginning is given, it begins with <bos>."""
    if not request.observed[:, 0].any():
        request.given[:, 0] = BOS
        request.observed[:, 0] = True

    def read(states: Int[Tensor, "time b n"]) -> tuple[Tensor, Tensor]:
        """The last text holds all tokens, since none of them changes: one call reads them all."""
        probabilities = (-model.token_nll(states[-1])).exp()
        return states, probabilities.expand(states.shape)

    def recorded(path: Trajectory) -> Trajectory:
        tokens, probabilities = read(path.states)
        return Trajectory(path.times, model.embed(tokens), None, tokens, probabilities)

    times = torch.linspace(0, 1, request.length, device=model.device)
    return Process(LeftToRight(model, request), request.given, times, write, read, recorded)


class Unmasking:
    """A masked model as a feedback policy: between t and the next time some masks become tokens.

    `confidence` records, for each call, how probable each position's token was when it was
    revealed, and how probable its likeliest token is until then.
    """

    def __init__(self, model: MaskedDiffusion, request: Request, times: Float[Tensor, " time"]):
        self.model = model
        self.request = request
        self.times = times
        self.noise = TokenNoise(request, model.config.vocab_size, model.device)
        self.masks = (~request.observed).sum(1, keepdim=True)
        self.arrival = None
        if request.seed is not None:
            rng = torch.Generator(model.device).manual_seed(request.seed + 1)
            self.arrival = torch.rand(request.given.shape, generator=rng, device=model.device)
        self.nfe = 0
        self.confidence: list[Tensor] = []
        self.masked = ~request.observed
        self.probs: Tensor | None = None

    def rewind(self, t: Tensor) -> None:
        """The tokens say all that matters, so there is nothing to undo."""

    def __call__(self, tokens: Int[Tensor, "b n"], t: Tensor) -> Int[Tensor, "b n"]:
        config = self.request.config
        masked = tokens == MASK
        logits = self.model.logits(tokens)
        self.nfe += 1
        if self.request.record:
            self.note(tokens, masked, logits.softmax(-1))
        probs = nucleus(logits[masked], config.temperature, config.top_p)
        choice = self.noise.draw(probs, masked)
        s = self.times[torch.searchsorted(self.times, t, right=True)]
        shown = self.shown(masked, probs, choice, t, s)
        control = torch.full_like(tokens, -1).masked_scatter(masked, choice.to(tokens.device))
        return control.masked_fill(~shown, -1)

    def shown(
        self, masked: Bool[Tensor, "b n"], probs: Tensor, choice: Tensor, t: Tensor, s: Tensor
    ) -> Bool[Tensor, "b n"]:
        """Which masks are lifted between t and s."""
        if self.request.config.solver != "ancestral":
            score = SCORES[self.request.config.solver]
            return masked & self.surest(masked, score(probs, choice), s)
        if self.arrival is not None:
            return masked & (t <= self.arrival) & (self.arrival < s)
        draws = torch.rand(choice.shape, generator=self.noise.rng, device=masked.device)
        return torch.zeros_like(masked).masked_scatter(masked, draws < (s - t) / (1 - t))

    def surest(self, masked: Bool[Tensor, "b n"], score: Tensor, s: Tensor) -> Bool[Tensor, "b n"]:
        """The surest masks, until of m masks at the start round(m (1 - s)) are left."""
        sure = score.new_full(masked.shape, -torch.inf)
        sure = sure.masked_scatter(masked.to(score.device), score)
        rank = sure.argsort(dim=1, descending=True).argsort(dim=1).to(masked.device)
        return rank < masked.sum(1, keepdim=True) - (self.masks * (1 - s)).round()

    def note(self, tokens: Tensor, masked: Tensor, probs: Tensor | None) -> None:
        """Add a row to `confidence`, for tokens that were reached and what is predicted there."""
        kept = torch.ones(tokens.shape, device=tokens.device)
        if self.probs is not None:
            drawn = self.probs.gather(-1, tokens[..., None]).squeeze(-1)
            kept = drawn.where(self.masked, self.confidence[-1])
        self.confidence.append(kept if probs is None else probs.amax(-1).where(masked, kept))
        self.masked = masked
        self.probs = probs


@process_of.register
def unmasking(model: MaskedDiffusion, request: Request) -> Process:
    """Masked diffusion reveals tokens over the steps.

    Ancestral is the exact reverse process: a mask is lifted from t to s with probability
    (s - t) / (1 - t). Source: MDLM 2406.07524.
    """
    times = torch.linspace(0, 1, request.config.steps + 1)
    policy = Unmasking(model, request, times)

    def decode(tokens: Int[Tensor, "b n"]) -> tuple[Tensor, Tensor]:
        """Each mask's likeliest token's probability; each token's among all but itself."""
        probs = model.logits(tokens).softmax(-1)
        own = probs.gather(-1, tokens[..., None])[..., 0]
        return tokens, probs.amax(-1).where(tokens == MASK, own)

    def recorded(path: Trajectory) -> Trajectory:
        policy.note(path.states[-1], path.states[-1] == MASK, None)
        confidence = torch.stack(policy.confidence)
        return Trajectory(path.times, model.embed(path.states), None, path.states, confidence)

    start = request.given.masked_fill(~request.observed, MASK)
    return Process(policy, start, times, write, over_time(decode, request), recorded)
