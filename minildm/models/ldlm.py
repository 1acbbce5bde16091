"""LDLM: a latent diffusion language model whose encoder, denoiser and decoder train jointly on
frozen states.

frozen states h -> Perceiver encoder -> latents z_1 -> Perceiver decoder -> h_hat -> token decoder
-> tokens; a diffusion transformer learns to predict z_1 from z_t. The recipe is a reconstruction:
hyper-parameters from a port.
"""

import time
from dataclasses import dataclass, field

import torch
import torch.distributed as dist
import torch.nn as nn
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int
from torch import Tensor

from ..dynamics.records import Trajectory
from ..dynamics.solvers import integrate
from ..errors import UserError
from ..nets.frozen import FrozenEncoder
from ..nets.layers import init_weights
from ..nets.perceiver import Perceiver
from ..nets.transformer import DiffusionTransformer, Stack
from ..transport.diffusion import ClosedLoop, sampler
from ..transport.grids import warped_grid
from ..transport.paths import interpolate
from ..transport.schedules import Tangent
from ..transport.time_sampling import AdaptiveTime, Uniform
from .base import Generation, LanguageModel, Losses, check_request, mean_flat
from .recipe import Recipe, gamma
from .steering import Wish, bend


@dataclass(frozen=True)
class LDLMConfig:
    """Sizes of an LDLM."""

    vocabulary: int = 265  # tokens, specials included
    length: int = 64  # text in tokens, padding included
    frozen: str = "zoo:gpt-brief"  # pretrained model whose states are reshaped: zoo:NAME, hub:NAME, hub:PATH, minilm
    layer: int = -3  # which of its states
    hidden: int = 128  # width of those states
    compression: int = 1  # tokens a latent
    latent: int = 32  # channels of a latent
    width: int = 128  # channels inside the networks
    heads: int = 4  # attention heads
    encoder_layers: int = 2  # Perceiver blocks from states to latents
    decoder_layers: int = 2  # Perceiver blocks from latents to states
    token_layers: int = 1  # Transformer blocks from states to tokens
    denoiser_layers: int = 6  # blocks of the diffusion transformer
    tangent: float = 3.0  # d of the tan-d schedule
    writing_temperature: float = 1.0  # of the noise of ancestral steps with which texts are written
    recipe: Recipe = field(default_factory=Recipe)


class TokenDecoder(nn.Module):
    """Reads tokens off estimated hidden states: T(h_hat) -> logits."""

    def __init__(self, hidden: int, width: int, heads: int, layers: int, vocabulary: int):
        super().__init__()
        self.enter = nn.Linear(hidden, width)
        self.stack = Stack(width, heads, layers)
        self.leave = nn.Linear(width, vocabulary)

    def forward(self, h: Float[Tensor, "b n hidden"]) -> Float[Tensor, "b n vocabulary"]:
        return self.leave(self.stack(self.enter(h.to(self.enter.weight.dtype))))


class LDLM(LanguageModel):
    """Latent encoder, denoiser, latent decoder and token decoder around a frozen language model.

    `frozen` may be left out where texts are only written, not read.
    """

    def __init__(self, config: LDLMConfig, frozen: FrozenEncoder | None = None):
        super().__init__()
        c, spacing = config, float(config.compression)
        self.config, self.frozen, self.schedule = config, frozen, Tangent(c.tangent)
        self.encoder = Perceiver(
            c.hidden, c.latent, c.width, c.heads, c.encoder_layers, 1.0, spacing
        )
        self.decoder = Perceiver(
            c.latent, c.hidden, c.width, c.heads, c.decoder_layers, spacing, 1.0
        )
        self.token_decoder = TokenDecoder(c.hidden, c.width, c.heads, c.token_layers, c.vocabulary)
        self.denoiser = DiffusionTransformer(c.latent, c.width, c.heads, c.denoiser_layers, spacing)
        for part, layers in (
            (self.encoder, c.encoder_layers),
            (self.decoder, c.decoder_layers),
            (self.token_decoder, c.token_layers),
            (self.denoiser, c.denoiser_layers),
        ):
            init_weights(part, layers)
        self.denoiser.zero()
        self.time = AdaptiveTime()
        self.register_buffer("latent_std", torch.ones(()))
        self.register_buffer(
            "new_std", torch.zeros(2), persistent=False
        )  # this step's sum and count

    def hidden(self, tokens: Int[Tensor, "b n"]) -> Float[Tensor, "b n hidden"]:
        """Whitened states h of the frozen model."""
        if self.frozen is None:
            raise UserError(
                f"this LDLM was loaded without its frozen encoder {self.config.frozen}: load it to read texts"
            )
        return self.frozen(tokens)

    def encode(self, h: Float[Tensor, "b n hidden"]) -> Float[Tensor, "b m latent"]:
        """Latents z_1 = E(h), normalized as the recipe says."""
        z1 = self.encoder(h, -(-h.shape[1] // self.config.compression)).float()
        if self.config.recipe.latent_norm == "rms":
            return F.rms_norm(z1, z1.shape[-1:])
        if self.config.recipe.latent_norm == "running":
            if self.training:
                self.new_std += torch.stack((z1.detach().std(), self.new_std.new_ones(())))
            return z1 / self.latent_std
        return z1

    def decode(self, z1: Float[Tensor, "b m latent"], length: int) -> Float[Tensor, "b n hidden"]:
        """Estimated states h_hat = D(z_1)."""
        return self.decoder(z1, length)

    def read_off(
        self, z1: Float[Tensor, "b m latent"], length: int
    ) -> tuple[Int[Tensor, "b n"], Float[Tensor, "b n"]]:
        """Most probable tokens of latents and their probabilities."""
        confidence, tokens = self.token_decoder(self.decode(z1, length)).float().softmax(-1).max(-1)
        return tokens, confidence

    def clean(self, zt, t, c) -> Float[Tensor, "b m latent"]:
        """The denoiser's prediction of z_1, f(z_t, t, c)."""
        return self.denoiser(zt, t, c).float()

    def second_look(
        self, tokens: Int[Tensor, "b n"], share: float, rng: torch.Generator
    ) -> Float[Tensor, "b n vocabulary"]:
        """Logits of the words that the denoiser guesses for texts under the noise that a `share` of
        the steps leaves.
        """
        z1 = self.encode(self.hidden(tokens))
        t = self.time.warp(torch.full((len(z1),), share, device=z1.device))
        zt = interpolate(
            self.schedule, z1, torch.randn(z1.shape, generator=rng, device=z1.device), t
        )
        return self.token_decoder(
            self.decode(self.clean(zt, t, torch.zeros_like(zt)), tokens.shape[1])
        ).float()

    def losses(self, tokens: Int[Tensor, "b n"], *, step: int, rng: torch.Generator) -> Losses:
        """L = L_diff + L_h + L_w, with gradients routed by stop-gradients.

        L_h = mean |D(z_1 + sigma xi) - h|^2;  L_w = cross-entropy(T(sg h_hat), w);  L_diff = mean
        |f(z_t, t, c) - z~|^2
        with z~ = sg z_1 + gamma(s) (z_1 - sg z_1), so the encoder feels gamma(s) of the diffusion
        gradient, the denoiser all.
        """
        recipe, h = self.config.recipe, self.hidden(tokens)
        z1 = self.encode(h)

        def noise_like(z):
            return torch.randn(z.shape, generator=rng, device=z.device)

        h_hat = self.decode(z1 + recipe.decoder_noise * noise_like(z1), tokens.shape[1]).float()
        through = h_hat if recipe.decoder_loss == "cross_entropy" else h_hat.detach()
        terms = {
            "words": F.cross_entropy(
                self.token_decoder(through).float().flatten(0, 1), tokens.flatten()
            )
        }
        if recipe.decoder_loss == "mse":
            terms["hidden"] = F.mse_loss(h_hat, h)

        pull = recipe.encoder_pull * gamma(step, recipe.warmup)
        target = (z1.detach() + pull * (z1 - z1.detach())).repeat(recipe.draws, 1, 1)
        law = self.time if recipe.adaptive_time else Uniform()
        t = law.draw(len(target), rng)
        zt = interpolate(self.schedule, target, noise_like(target), t)
        condition = torch.zeros_like(zt)
        with torch.no_grad():
            condition[::2] = self.clean(zt[::2], t[::2], condition[::2])
        per_text = mean_flat((self.clean(zt, t, condition) - target) ** 2)
        if self.training:
            self.time.observe(t, per_text, 1 / law.density(t))
        terms["diffusion"] = per_text.mean()
        return Losses(
            terms,
            {
                "gamma": torch.as_tensor(pull),
                "latent_std": z1.detach().std(),
                "error_self": per_text.detach()[::2].mean(),
                "error_plain": per_text.detach()[1::2].mean(),
            },
        )

    def after_step(self, step: int) -> None:
        self.time.update(step)
        if self.config.recipe.latent_norm == "running":
            if dist.is_initialized():
                dist.all_reduce(self.new_std)
            self.latent_std.lerp_(self.new_std[0] / self.new_std[1], 0.01)
            self.new_std.zero_()

    @torch.no_grad()
    def generate(
        self,
        count: int,
        *,
        rng: torch.Generator,
        steps: int = 32,
        solver: str = "ancestral",
        length: int | None = None,
        prompt: Int[Tensor, "#count p"] | None = None,
        mask: Bool[Tensor, "#count p"] | None = None,
        start: float = 0.0,
        wish: Wish | None = None,
        strength: float = 1.0,
        warped: bool = True,
        temperature: float | None = None,
        record: bool = False,
    ) -> Generation:
        """Write texts by carrying noise to latents in `steps` steps and reading the tokens off
        once, at the end.

        `prompt` begins the texts, or, with a `mask`, is a text whose words are to be written where
        the mask is True: the words that are known are put back into each guess. `wish` guides with
        `strength`. With `start` > 0 the prompt is noised to where a text is after that share of the
        steps, and written anew from there. `warped` spaces the steps evenly in training time v, t =
        F^-1(v), else evenly in t; `temperature` scales the noise of ancestral steps.
        """
        length = length or self.config.length
        check_request(count, length, None if start or mask is not None else prompt, steps)
        if temperature is not None and solver != "ancestral":
            raise UserError(
                f"solver {solver} adds no noise that a temperature could scale: take solver ancestral"
            )
        heat = self.config.writing_temperature if temperature is None else temperature
        method, began = sampler(solver, heat), time.perf_counter()
        m = -(-length // self.config.compression)
        z = torch.randn(count, m, self.config.latent, generator=rng, device=self.device)
        times = warped_grid(self.time if warped else Uniform(), steps, self.device, start)
        known, given = torch.zeros(count, length, dtype=torch.bool, device=self.device), None
        if prompt is not None:
            given = F.pad(prompt, (0, length - prompt.shape[1])).expand(count, -1)
            if start:
                z = interpolate(
                    self.schedule, self.encode(self.hidden(given)), z, times[:1].expand(count)
                )
            else:
                known[:, : prompt.shape[1]] = True if mask is None else ~mask
        look = self.clean if wish is None else self.wishful(wish, strength, length)
        look = self.reminded(look, given, known) if known.any() else look
        loop = ClosedLoop(look, self.schedule, z)
        path = integrate(loop, z, times, method, rng, record=record)
        tokens, _ = self.read_off(path.states[-1], length)
        tokens = tokens if given is None else given.where(known, tokens)
        seconds = time.perf_counter() - began
        if record:
            clean = torch.stack([loop.seen[float(t)] for t in times[:-1]] + [path.states[-1]])
            words, confidence = map(torch.stack, zip(*(self.read_off(z, length) for z in clean)))
            path = Trajectory(path.times, path.states, clean, words, confidence)
        return Generation(tokens, loop.calls, seconds, path if record else None)

    def reminded(self, predict, given: Int[Tensor, "b n"], known: Bool[Tensor, "b n"]):
        """A denoiser whose guess holds the words that are known, and which is shown them with its
        last guess.

        z_hat_i <- E(h(w))_i where all words of latent i are known;  w = given where known, else
        argmax T(D(z_hat))
        """
        rest = -known.shape[1] % self.config.compression
        held = (
            F.pad(known, (0, rest), value=True)
            .unflatten(1, (-1, self.config.compression))
            .all(-1, keepdim=True)
        )

        def look(zt, t, c):
            clean = predict(zt, t, c)
            words = given.where(known, self.read_off(clean, known.shape[1])[0])
            return self.encode(self.hidden(words)).where(held, clean)

        return look

    def wishful(self, wish: Wish, strength: float, length: int):
        """The denoiser with its prediction bent towards a wish about the words that would be read
        off it.
        """

        def predict(zt, t, c):
            def look(z):
                clean = self.clean(z, t, c)
                return clean, self.token_decoder(self.decode(clean, length)).float()

            return bend(look, wish, strength, self.schedule, zt, t)[0]

        return predict
