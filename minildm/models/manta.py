"""Manta-LM: a closed-loop policy that steers noise to text in the latent space of a VAE. A reconstruction, and labelled so.

words -> VAE -> z_1;  policy: at (z_t, t) say where each position should end, z_hat, and go there by a law of
`control.linear_quadratic`;  z at t = 1 -> VAE -> words. The operator, the space and every choice below the abstract are ours.
"""

import time
from dataclasses import dataclass, field
from typing import Literal

import torch
import torch.nn as nn
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int
from torch import Tensor

from ..control.feedback import rollout, transport
from ..control.linear_quadratic import pinned_law, soft_law
from ..dynamics.records import Trajectory
from ..errors import UserError
from ..nets.vector_field import VectorField
from ..transport.couplings import Pairs, independent, optimal
from ..transport.diffusion import straight_step
from ..transport.paths import interpolate
from ..transport.schedules import Linear
from ..transport.staggering import local_times, staggered_grid
from ..transport.time_sampling import AdaptiveTime, LogitNormal, Uniform
from .base import Generation, LanguageModel, Losses, check_request
from .steering import Wish, bend
from .vae import VAE, VAEConfig

SHARES = {"ancestral": 1.0, "euler": 0.0}  # solvers, and the share of the ancestral step's noise that they renew

COLD = 1e-3  # temperature below which the most probable word is all that is left


@dataclass(frozen=True)
class MantaConfig:
    """Sizes of a Manta-LM and the choices of its policy."""

    vocabulary: int = 265  # tokens, specials included
    length: int = 64  # text in tokens, padding included
    width: int = 128  # channels inside the policy
    heads: int = 4  # heads of its operators
    layers: int = 6  # blocks
    kernel: Literal["attention", "spectral", "slice", "causal"] = "attention"  # of the integral operators
    head: Literal["words", "clean"] = "words"  # a law over words, whose codes make z_hat, or z_hat itself
    law: Literal["pinned", "soft"] = "pinned"  # be at z_hat when t = 1, or pay for a miss
    least_time: float = 0.02  # of the pinned law, which divides by max(1 - t, this)
    miss: float = 50.0  # c of the soft law, the price of a miss
    coupling: Literal["independent", "optimal"] = "independent"  # which noise goes with which text in training
    times: Literal["adaptive", "uniform", "logit_normal"] = "adaptive"  # law of a position's time, in training and on grids
    lag: float = 5.0  # largest lag seen in training; 0: all positions travel together
    together: float = 0.1  # share of texts trained without a lag
    known: float = 0.15  # share of texts trained with words that are known already, for infilling
    self_condition: bool = False  # also show the policy its last z_hat
    writing_lag: float = 2.0  # lag with which texts are written
    writing_temperature: float = 0.5  # of the law over words with which texts are written
    space: VAEConfig = field(default_factory=VAEConfig)  # the VAE, trained before


class Manta(LanguageModel):
    """A policy over the latent space of a frozen VAE, whose positions may travel together or one after another."""

    def __init__(self, config: MantaConfig, space: VAE | None = None):
        super().__init__()
        c = config
        if c.space.encoder_layers:
            raise UserError("a policy needs codes of words that do not depend on their neighbors: train its VAE with "
                            "--model.encoder-layers 0")
        if c.head == "words" and c.coupling != "independent":
            raise UserError("a head over words needs noise that does not depend on the text: take --model.head clean")
        self.config, self.schedule = c, Linear()
        self.space = (space or VAE(c.space)).requires_grad_(False).eval()
        self.policy = VectorField(c.space.latent, c.vocabulary, c.width, c.heads, c.layers, c.kernel)
        self.prior = nn.Parameter(torch.zeros(c.vocabulary))
        self.leave = nn.Linear(c.width, c.space.latent) if c.head == "clean" else None
        self.time = {"adaptive": AdaptiveTime, "uniform": Uniform, "logit_normal": LogitNormal}[c.times]()
        self.pairs: Pairs | None = None  # noise and texts that belong together, made by `reflow`

    def train(self, mode: bool = True) -> "Manta":
        """The space is never in training mode."""
        super().train(mode)
        self.space.eval()
        return self

    def predict(self, zt: Float[Tensor, "b n d"], t: Float[Tensor, "b n"], c: Float[Tensor, "b n d"],
                temperature: float = 1.0) -> tuple[Float[Tensor, "b n d"], Float[Tensor, "b n vocabulary"] | None]:
        """Where each position should end, z_hat, and the logits of its word if there is a head for them; who has arrived stays.

        z_hat = sum_w p_w E[z_1 | z_t, w],  p = softmax(logits / temperature);
        p(w_i | z_t) ~ p(z_t,i | w_i) p(w_i | z_t of the others): the codebook has the first factor, the network the second
        """
        with torch.autocast(zt.device.type, enabled=False):
            book = self.space.codebook()
            local = self.prior + book.evidence(zt, t)
            belief = local.softmax(-1)
        features = self.policy(zt, t, c, belief)
        if self.config.head == "clean":
            return self.leave(features).float().where(t[..., None] < 1, zt), None
        logits = local + self.policy.scores(features, belief).float()
        with torch.autocast(zt.device.type, enabled=False):
            p = (logits / max(temperature, COLD)).softmax(-1)
            return book.endpoint(p, zt, t).where(t[..., None] < 1, zt), logits

    def law(self, clean: Float[Tensor, "b n d"], z: Float[Tensor, "b n d"], t: Float[Tensor, "b n one"]) -> Tensor:
        """The control that goes from z to z_hat in the time that is left: the mean of the pair's optimal controls."""
        if self.config.law == "soft":
            return soft_law(clean, z, t, self.config.miss)
        return pinned_law(clean, z, t, self.config.least_time)

    def draw_times(self, n: int, length: int, rng: torch.Generator) -> Float[Tensor, "n length"]:
        """Times of the positions of n texts in training: some texts without lag, some with words that are known."""
        c, device, t = self.config, rng.device, Uniform().draw(n, rng)
        lag, together, knows, share = torch.rand(4, n, generator=rng, device=device)
        lag = (c.lag * lag).masked_fill(together < c.together, 0.0)
        spans = torch.rand(n, -(-length // 4), generator=rng, device=device).repeat_interleave(4, dim=1)[:, :length]
        known = (spans < share[:, None]) & (knows < c.known)[:, None]
        return self.time.warp(local_times(t, lag, ~known))

    def losses(self, tokens: Int[Tensor, "b n"], *, step: int, rng: torch.Generator) -> Losses:
        """What makes z_hat the posterior mean E[z_1 | z_t], over positions under way, 0 < t < 1.

        head words: cross-entropy(p(. | z_t), w);  head clean: mean |z_hat - z_1|^2
        """
        with torch.autocast(tokens.device.type, enabled=False):
            z0, z1 = self.couple(tokens, rng)
        t = self.draw_times(len(z1), z1.shape[1], rng)
        zt = interpolate(self.schedule, z1, z0, t)
        c = torch.zeros_like(zt)
        if self.config.self_condition:
            with torch.no_grad():
                c[::2] = self.predict(zt[::2], t[::2], c[::2])[0]
        clean, logits = self.predict(zt, t, c)
        moving = (t > 0) & (t < 1)
        error = (clean - z1).square().mean(-1)
        if logits is None:
            name, each = "clean", error
        else:
            name, each = "words", F.cross_entropy(logits.transpose(1, 2), tokens, reduction="none")
        if self.config.times == "adaptive" and self.training:
            self.time.observe(t[moving], each[moving])
        return Losses({name: each[moving].mean()}, {"error": error[moving].mean().detach(), "moving": moving.float().mean()})

    def after_step(self, step: int) -> None:
        if self.config.times == "adaptive":
            self.time.update(step)

    def couple(self, tokens: Int[Tensor, "b n"], rng: torch.Generator) -> tuple[Float[Tensor, "b n d"], Float[Tensor, "b n d"]]:
        """Noise z_0 and data z_1 of a batch: fresh noise, coupled, or pairs that `reflow` made."""
        if self.pairs is not None:
            if self.config.head == "words":
                raise UserError("pairs made by reflow have no words to learn: take --model.head clean")
            return self.pairs(len(tokens), rng)
        z1 = self.space.encode(tokens, rng)
        z0 = torch.randn(z1.shape, generator=rng, device=z1.device)
        return (optimal if self.config.coupling == "optimal" else independent)(z0, z1, rng)

    @torch.no_grad()
    def generate(self, count: int, *, rng: torch.Generator, steps: int = 32, solver: str = "ancestral",
                 length: int | None = None, prompt: Int[Tensor, "#count p"] | None = None,
                 mask: Bool[Tensor, "#count p"] | None = None, start: float = 0.0, wish: Wish | None = None,
                 strength: float = 1.0, lag: float | None = None, temperature: float | None = None,
                 record: bool = False) -> Generation:
        """Write texts: look, choose a control, hold it for one of `steps` steps, look again.

        `prompt` begins the texts, or, with a `mask`, is a text whose words are to be written where the mask is True. With
        `start` > 0 the prompt is noised to where a text is after that share of the steps, and written anew from there. `wish`
        guides with `strength`. `lag`: how far the rear is behind. `temperature` of the law over words: below 1 it favors
        what is probable. Both are the configuration's where they are not given.
        """
        length, began = length or self.config.length, time.perf_counter()
        check_request(count, length, None if start or mask is not None else prompt, steps)
        if solver not in SHARES:
            raise UserError(f"a Manta-LM has no solver {solver!r}: choose one of {', '.join(SHARES)}")
        step = straight_step(SHARES[solver])
        if temperature is not None and self.config.head == "clean":
            raise UserError("a Manta-LM with a clean head has no law over words to temper: leave out the temperature")
        z = torch.randn(count, length, self.config.space.latent, generator=rng, device=self.device)
        moving = torch.ones(count, length, dtype=torch.bool, device=self.device)
        if prompt is not None:
            given = F.pad(prompt, (0, length - prompt.shape[1])).expand(count, -1)
            z1 = self.space.encode(given, rng)
            if not start:
                moving[:, : prompt.shape[1]] = False if mask is None else mask
                z = z.where(moving[..., None], z1)
        times = self.time.warp(staggered_grid(steps, self.config.writing_lag if lag is None else lag, moving, start))
        if start:
            z = interpolate(self.schedule, z1, z, times[0, ..., 0])
        loop = Policy(self, wish, strength, self.config.writing_temperature if temperature is None else temperature)
        path = rollout(transport, loop, z, times, step, rng).path
        tokens, _ = self.space.read_off(path.states[-1])
        if prompt is not None:
            tokens = tokens.where(moving, given)
        seconds = time.perf_counter() - began
        if record:
            clean = torch.stack([*loop.seen, path.states[-1]])
            words, confidence = map(torch.stack, zip(*map(self.space.read_off, clean)))
            path = Trajectory(torch.linspace(start, 1, steps + 1), path.states, clean, words, confidence)
        return Generation(tokens, steps, seconds, path if record else None)


class Policy:
    """A Manta as a feedback law (z, t) -> u with the memory of its last z_hat, which it forgets when time goes back.

    With a `wish` it goes where latents should end if the wish is to come true.
    """

    def __init__(self, model: Manta, wish: Wish | None = None, strength: float = 1.0, temperature: float = 1.0):
        self.model, self.wish, self.strength, self.temperature = model, wish, strength, temperature
        self.seen: list[Tensor] = []
        self.now = -1.0

    def look(self, z: Float[Tensor, "b n d"], t: Float[Tensor, "b n"], c: Float[Tensor, "b n d"]) -> tuple[Tensor, Tensor]:
        """Where each position should end, and logits of its word."""
        clean, logits = self.model.predict(z, t, c, self.temperature)
        return clean, self.model.space.decode(clean) if logits is None else logits

    def __call__(self, z: Float[Tensor, "b n d"], t: Float[Tensor, "b n one"]) -> Float[Tensor, "b n d"]:
        now, remembers = float(t.sum()), self.model.config.self_condition and self.seen
        c = self.seen[-1] if remembers and now > self.now else torch.zeros_like(z)
        if self.wish is None:
            clean = self.model.predict(z, t[..., 0], c, self.temperature)[0]
        else:
            clean = bend(lambda z: self.look(z, t[..., 0], c), self.wish, self.strength, self.model.schedule, z, t[..., 0])[0]
            clean = clean.where(t < 1, z)
        self.seen.append(clean)
        self.now = now
        return self.model.law(clean, z, t)
