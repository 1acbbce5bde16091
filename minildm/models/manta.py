"""Manta-LM: a feedback policy that steers noise to text in the latent space of a VAE.

tokens -> VAE -> z_1;  policy: (z_t, t) -> z_hat -> control;  z at t = 1 -> VAE -> tokens

At (z_t, t) the policy says where each position should end, z_hat, and goes there by a control of
`control.linear_quadratic`. It is a reconstruction: the operator, the space and every choice below
the abstract are ours.
"""

from collections.abc import Iterable
from dataclasses import replace

import torch
import torch.nn as nn
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int
from torch import Tensor

from ..control.linear_quadratic import pinned_control, soft_terminal_control
from ..errors import UserError
from ..nets.cache import FieldCache
from ..nets.vector_field import Context, VectorField
from ..transport.couplings import Pairs, independent, optimal
from ..transport.noise_levels import attention_mask, block_order, gaps
from ..transport.paths import interpolate
from ..transport.schedules import Linear
from ..transport.time_sampling import AdaptiveTime, LogitNormal, TimeDistribution, Uniform
from .base import LanguageModel, Losses, gumbel
from .generation import Capabilities, MantaGeneration
from .manta_config import MantaLMConfig, check_config, field_config
from .manta_times import draw_noise_levels
from .measures import at_text, cross_entropies
from .vae import VAE

EPS = 1e-3  # temperature below which only the most probable token is left
TIMES = {"adaptive": AdaptiveTime, "uniform": Uniform, "logit_normal": LogitNormal}


class MantaLM(LanguageModel):
    """A policy over the latent space of a frozen VAE; each position has its own noise level.

    The levels may be equal, so that all positions flow in parallel, or fall off over the text.
    """

    title = "a Manta-LM"

    def __init__(self, config: MantaLMConfig, space: VAE | None = None):
        super().__init__()
        c = self.config = config
        check_config(c)
        self.schedule = Linear()
        self.space = (space or VAE(c.space)).requires_grad_(False).eval()
        self.policy = VectorField(field_config(c))
        self.prior = nn.Parameter(torch.zeros(c.vocab_size))
        self.out_proj = nn.Linear(c.d_model, c.space.latent) if c.head == "denoised" else None
        self.time: TimeDistribution = TIMES[c.time_distribution]()
        self.pairs: Pairs | None = None  # noise and texts that belong together, made by `reflow`
        if c.generation.solver not in self.capabilities.solvers:
            raise UserError(
                f"this Manta-LM cannot draw by solver {c.generation.solver}: choose one of "
                f"{', '.join(self.capabilities.solvers)} for --model.generation.solver"
            )

    @property
    def generation(self) -> MantaGeneration:
        """How texts are drawn where nothing is asked for."""
        return self.config.generation

    @property
    def capabilities(self) -> Capabilities:
        """Sampled end points need a head over tokens, and entropy bounds need blocks as well."""
        options = {"steps", "solver", "length", "offset", "start", "prompt", "observed"}
        options |= {"guidance_target", "guidance_scale", "num_tries"}
        solvers = ("ancestral", "euler")
        if self.config.head == "tokens":
            options.add("temperature")
            solvers += ("sampled",)
            if self.config.blocks:
                options.add("entropy_bound")
                solvers += ("entropy_bounded",)
        return Capabilities(solvers, frozenset(options), latent=True)

    @classmethod
    def fit_config(cls, config: MantaLMConfig, name: str, part: VAE) -> MantaLMConfig:
        """The space is that of the VAE."""
        return replace(config, space=part.config)

    def train(self, mode: bool = True) -> "MantaLM":
        """The space is never in training mode."""
        super().train(mode)
        self.space.eval()
        return self

    def predict(
        self,
        zt: Float[Tensor, "b n d"],
        t: Float[Tensor, "b n"],
        c: Float[Tensor, "b n d"],
        temperature: float = 1.0,
        seed: int | None = None,
        observed: Bool[Tensor, "b n"] | None = None,
    ) -> tuple[Float[Tensor, "b n d"], Float[Tensor, "b n vocab_size"] | None]:
        """Where each position should end, z_hat, and logits of its token if it has a head for them.

        z_hat = sum_w p_w E[z_1 | z_t, w],  p = softmax(logits / temperature)
        p(w_i | z_t) ~ p(z_t,i | w_i) p(w_i | z_t of the others)

        The codebook has the first factor, the network the second. A position at time 1 stays. In a
        model with blocks, `observed` tokens do not attend to those that were decoded since.
        """
        context = None
        if self.config.blocks:
            positions = torch.arange(zt.shape[1], device=zt.device)
            order = block_order(t, t >= 1 if observed is None else observed)
            context = self.context(t, positions, attention_mask(t, order, positions))
        return self.predict_rows(zt, t, c, context, temperature, seed=seed)

    def context(
        self, t: Float[Tensor, "b n"], positions: Int[Tensor, " m"], mask: Bool[Tensor, "b n m"]
    ) -> Context:
        """What the last n of m rows read, with gaps where the policy reads them."""
        if self.policy.gap_embedding is None:
            return Context(mask, positions)
        times = F.pad(t, (len(positions) - t.shape[1], 0), value=1.0)
        return Context(mask, positions, gaps(times, mask, positions))

    def predict_rows(
        self,
        zt: Float[Tensor, "b n d"],
        t: Float[Tensor, "b n"],
        c: Float[Tensor, "b n d"],
        context: Context | None,
        temperature: float = 1.0,
        cache: FieldCache | None = None,
        seed: int | None = None,
    ) -> tuple[Float[Tensor, "b n d"], Float[Tensor, "b n vocab_size"] | None]:
        """`predict` for rows that read what `context` says, with a `cache` of rows before.

        With a `seed`, z_hat is a sampled end point, E[z_1 | z_t, w] of a token w ~ p.
        """
        with torch.autocast(zt.device.type, enabled=False):
            local = self.prior.float() + self.space.codebook().evidence(zt, t)
            posterior = local.softmax(-1)
        features = self.policy(zt, t, c, posterior, context, cache)
        if self.out_proj is not None:
            return self.out_proj(features).float().where(t[..., None] < 1, zt), None
        logits = local + self.policy.scores(features, posterior, context, cache).float()
        return self.endpoint(logits / max(temperature, EPS), zt, t, seed), logits

    def endpoint(
        self,
        logits: Float[Tensor, "b n vocab_size"],
        zt: Float[Tensor, "b n d"],
        t: Float[Tensor, "b n"],
        seed: int | None = None,
    ) -> Float[Tensor, "b n d"]:
        """z_hat of positions with token posteriors softmax(logits), sampled if there is a seed."""
        with torch.autocast(zt.device.type, enabled=False):
            if seed is None:
                p = logits.softmax(-1)
            else:
                sampled = (logits + gumbel(logits.shape, seed, logits.device)).argmax(-1)
                p = F.one_hot(sampled, logits.shape[-1]).float()
            return self.space.codebook().endpoint(p, zt, t).where(t[..., None] < 1, zt)

    def control(
        self,
        denoised: Float[Tensor, "b n d"],
        z: Float[Tensor, "b n d"],
        t: Float[Tensor, "b n one"],
    ) -> Float[Tensor, "b n d"]:
        """The control from z to z_hat in the time left: the mean of the pairs' optimal controls."""
        if self.config.terminal == "soft":
            return soft_terminal_control(denoised, z, t, self.config.terminal_weight)
        return pinned_control(denoised, z, t, self.config.least_time)

    def draw_times(
        self, n: int, length: int, step: int | Tensor, rng: torch.Generator
    ) -> tuple[Float[Tensor, "n length"], Float[Tensor, "n length"] | None]:
        """Noise levels of the positions of n texts in training, and the order of their blocks."""
        return draw_noise_levels(self.config, self.time.warp, (n, length), step, rng)

    def losses(
        self, tokens: Int[Tensor, "b n"], *, step: int | Tensor, rng: torch.Generator
    ) -> Losses:
        """What makes z_hat the posterior mean E[z_1 | z_t], over positions under way.

        head tokens:   mean cross-entropy(p(. | z_t), w)
        head denoised: mean |z_hat - z_1|^2

        Without blocks, positions at t = 0 have not begun and do not count. With blocks the text
        itself, at time 1, stands beside the noisy one, in blocks of the same numbers; the copies of
        observed tokens are behind all blocks, where nothing attends to them.
        """
        with torch.autocast(tokens.device.type, enabled=False):
            z0, z1 = self.couple(tokens, rng)
        t, order = self.draw_times(len(z1), z1.shape[1], step, rng)
        zt = interpolate(self.schedule, z1, z0, t)
        if order is None:
            moving = (t > 0) & (t < 1)
            condition = torch.zeros_like(z1)
            if self.config.self_condition:
                with torch.no_grad():
                    condition[::2] = self.predict(zt[::2], t[::2], condition[::2])[0]
            denoised, logits = self.predict(zt, t, condition)
        else:
            moving = t < 1
            denoised, logits = self.predict_beside(z1, zt, t, order)
        error = (denoised - z1).square().mean(-1)
        each = error if logits is None else cross_entropies(logits, tokens)
        if isinstance(self.time, AdaptiveTime) and self.training:
            # tau is not uniform: p(t) up to a factor that hardly changes
            self.time.observe(t, each, (moving & (t > 0)) / self.time.density(t))
        count = moving.sum()
        return Losses(
            {self.config.head: (each * moving).sum() / count},
            {"error": (error.detach() * moving).sum() / count, "moving": moving.float().mean()},
        )

    def predict_beside(
        self,
        z1: Float[Tensor, "b n d"],
        zt: Float[Tensor, "b n d"],
        t: Float[Tensor, "b n"],
        order: Float[Tensor, "b n"],
    ) -> tuple[Float[Tensor, "b n d"], Float[Tensor, "b n vocab_size"] | None]:
        """`predict` for all blocks of noisy texts at once, each after the text before it."""
        n = zt.shape[1]
        positions = torch.arange(n, device=t.device).repeat(2)
        z = torch.cat((z1, zt), 1)
        times = torch.cat((torch.ones_like(t), t), 1)
        order = torch.cat((order, order.masked_fill(t >= 1, torch.inf)), 1)
        context = self.context(times, positions, attention_mask(times, order, positions))
        denoised, logits = self.predict_rows(z, times, torch.zeros_like(z), context)
        return denoised[:, n:], None if logits is None else logits[:, n:]

    def after_step(self, step: int) -> None:
        """Update the noise-level distribution, if it is learned."""
        if isinstance(self.time, AdaptiveTime):
            self.time.update(step)

    def couple(
        self, tokens: Int[Tensor, "b n"], rng: torch.Generator
    ) -> tuple[Float[Tensor, "b n d"], Float[Tensor, "b n d"]]:
        """Noise z_0 and data z_1 of a batch: fresh noise, coupled, or pairs that `reflow` made."""
        if self.pairs is not None:
            if self.config.head == "tokens":
                raise UserError(
                    "pairs made by reflow have no tokens to learn: take --model.head denoised"
                )
            return self.pairs(len(tokens), rng)
        z1 = self.space.encode(tokens, rng)
        z0 = torch.randn(z1.shape, generator=rng, device=z1.device)
        return (optimal if self.config.coupling == "optimal" else independent)(z0, z1, rng)

    def embed(self, tokens: Int[Tensor, "b n"]) -> Float[Tensor, "b n d"]:
        """Latents of texts, the means of their posteriors."""
        return self.space.encode(tokens)

    def decode_tokens(
        self, z1: Float[Tensor, "b n d"]
    ) -> tuple[Int[Tensor, "b n"], Float[Tensor, "b n"]]:
        """Most probable tokens of latents, and their probabilities."""
        return self.space.decode_tokens(z1)

    @torch.no_grad()
    def token_nll(
        self, tokens: Int[Tensor, "b n"], rng: torch.Generator | None = None, parts: int = 8
    ) -> Float[Tensor, "b n"]:
        """-log p(w_i | most other tokens): every `parts`-th token is set to noise, once each."""
        rng = rng or torch.Generator(self.device).manual_seed(0)
        nll = torch.zeros(tokens.shape, device=tokens.device)
        positions = torch.arange(tokens.shape[1], device=tokens.device)
        for part in range(parts):
            hidden = (positions % parts == part).expand(len(tokens), -1)
            z = self.space.encode(tokens, rng)
            noise = torch.randn(z.shape, generator=rng, device=z.device)
            z = noise.where(hidden[..., None], z)
            denoised, logits = self.predict(z, (~hidden).float(), torch.zeros_like(z))
            if logits is None:
                logits = self.space.decode(denoised)
            nll = cross_entropies(logits, tokens).where(hidden, nll)
        return at_text(nll, tokens)

    @torch.no_grad()
    def held_out(self, batches: Iterable[Int[Tensor, "b n"]]) -> dict[str, float]:
        """Prediction error of the end point over positions under way, as late in training.

        E |z_hat(z_t, t) - z_1|^2, and the cross-entropy of the tokens if there is a head for them
        """
        rng = torch.Generator(self.device).manual_seed(0)
        step = self.config.next_token_steps
        found = []
        for tokens in batches:
            losses = self.losses(tokens.to(self.device), step=step, rng=rng)
            found.append({**losses.terms, "error": losses.metrics["error"]})
        return {name: float(torch.stack([one[name] for one in found]).mean()) for name in found[0]}
