"""LDLM: a latent diffusion language model, trained jointly on the states of a frozen model.

states h -> Perceiver encoder -> z_1 -> Perceiver decoder -> h_hat -> token decoder -> tokens

A diffusion transformer learns to predict z_1 from z_t. The recipe is a reconstruction: the
hyper-parameters are those of a port.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field, replace

import torch
import torch.distributed as dist
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor

from ..errors import UserError
from ..nets.frozen import FrozenEncoder
from ..nets.layers import init_weights
from ..nets.perceiver import Perceiver
from ..nets.transformer import DiffusionTransformer, TokenDecoder
from ..transport.diffusion import SAMPLERS
from ..transport.paths import interpolate
from ..transport.schedules import Tangent
from ..transport.time_sampling import AdaptiveTime, Uniform
from .base import LanguageModel, Losses, mean_flat
from .generation import Capabilities, GenerationDefaults
from .measures import Faithfulness, at_text, cross_entropies
from .recipe import Recipe, gamma

SELF_CHECK = 0.92  # fraction of the steps after which a text is asked about its own tokens


@dataclass(frozen=True)
class LDLMConfig:
    """Sizes of an LDLM, and how it is trained and drawn from."""

    vocab_size: int = 265  # tokens, specials included
    seq_len: int = 64  # text in tokens, padding included
    frozen: str = "zoo:gpt-cpu"  # frozen model: zoo:NAME, hub:NAME, hub:PATH or minilm
    layer: int = -3  # which of its states
    hidden: int = 128  # width of those states
    compression: int = 1  # tokens a latent
    latent: int = 32  # channels of a latent
    d_model: int = 128  # channels inside the networks
    n_heads: int = 4  # attention heads
    n_encoder_layers: int = 2  # Perceiver blocks from states to latents
    n_decoder_layers: int = 2  # Perceiver blocks from latents to states
    n_token_layers: int = 1  # Transformer blocks from states to tokens
    n_denoiser_layers: int = 6  # blocks of the diffusion transformer
    reach: int | None = None  # tokens that encoder and decoders read on either side, or all
    tangent: float = 3.0  # d of the tan-d schedule
    generation: GenerationDefaults = field(
        default_factory=GenerationDefaults
    )  # how texts are drawn
    recipe: Recipe = field(default_factory=Recipe)

    @property
    def frozen_reach(self) -> int | None:
        """How many tokens the frozen model reads before each: twice what the encoder reads."""
        return None if self.reach is None else 2 * self.reach


class LDLM(LanguageModel):
    """Latent encoder, denoiser, latent decoder and token decoder around a frozen language model.

    `frozen` may be left out where texts are only drawn and no text is read.
    """

    title = "an LDLM"
    capabilities = Capabilities(
        ("ancestral", *(name for name in SAMPLERS if name != "ancestral")),
        frozenset(
            {"steps", "solver", "length", "temperature", "prompt", "observed", "start", "warped"}
            | {"guidance_target", "guidance_scale", "num_tries"}
        ),
        latent=True,
        tempered=("ancestral",),
    )

    def __init__(self, config: LDLMConfig, frozen: FrozenEncoder | None = None):
        super().__init__()
        c = self.config = config
        if c.generation.solver not in self.capabilities.solvers:
            raise UserError(
                f"an LDLM has no solver {c.generation.solver!r}: choose one of "
                f"{', '.join(self.capabilities.solvers)} for --model.generation.solver"
            )
        self.frozen = frozen
        self.schedule = Tangent(c.tangent)
        spacing = float(c.compression)
        shape = c.d_model, c.n_heads
        self.encoder = Perceiver(
            c.hidden, c.latent, *shape, c.n_encoder_layers, (1.0, spacing), c.reach
        )
        self.decoder = Perceiver(
            c.latent, c.hidden, *shape, c.n_decoder_layers, (spacing, 1.0), c.reach
        )
        self.token_decoder = TokenDecoder(c.hidden, *shape, c.n_token_layers, c.vocab_size, c.reach)
        self.denoiser = DiffusionTransformer(c.latent, *shape, c.n_denoiser_layers, spacing)
        for part, n_layers in (
            (self.encoder, c.n_encoder_layers),
            (self.decoder, c.n_decoder_layers),
            (self.token_decoder, c.n_token_layers),
            (self.denoiser, c.n_denoiser_layers),
        ):
            init_weights(part, n_layers)
        self.denoiser.zero()
        self.time = AdaptiveTime()
        self.latent_std: Tensor
        self.new_std: Tensor  # sum and count of this step
        self.register_buffer("latent_std", torch.ones(()))
        self.register_buffer("new_std", torch.zeros(2), persistent=False)

    @property
    def generation(self) -> GenerationDefaults:
        """How texts are drawn where nothing else is asked for."""
        return self.config.generation

    @classmethod
    def fit_config(cls, config: LDLMConfig, name: str, part: FrozenEncoder) -> LDLMConfig:
        """States are as wide as those of the frozen model."""
        return replace(config, frozen=name, hidden=part.d_model)

    def calibrate(self, tokens: Int[Tensor, "b n"]) -> None:
        """Measure mean and covariance of the frozen states."""
        self.encoder_of_states.calibrate(tokens)

    def card(self) -> dict:
        """Name and checksum of the frozen model."""
        states = self.encoder_of_states
        return {"frozen": {"name": self.config.frozen, "fingerprint": states.fingerprint()}}

    @property
    def encoder_of_states(self) -> FrozenEncoder:
        """The frozen model, where there is one."""
        if self.frozen is None:
            raise UserError(
                f"this LDLM was loaded without its frozen encoder {self.config.frozen}: "
                "load it to read texts"
            )
        return self.frozen

    def hidden(self, tokens: Int[Tensor, "b n"]) -> Float[Tensor, "b n hidden"]:
        """Whitened states h of the frozen model."""
        return self.encoder_of_states(tokens)

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

    def token_logits(
        self, z1: Float[Tensor, "b m latent"], length: int
    ) -> Float[Tensor, "b n vocab_size"]:
        """Logits of the tokens of latents, T(D(z_1))."""
        return self.token_decoder(self.decode(z1, length)).float()

    def decode_tokens(
        self, z1: Float[Tensor, "b m latent"], length: int | None = None
    ) -> tuple[Int[Tensor, "b n"], Float[Tensor, "b n"]]:
        """Most probable tokens of latents, by default as many as in training, and probabilities."""
        logits = self.token_logits(z1, length or self.config.seq_len)
        confidence, tokens = logits.softmax(-1).max(-1)
        return tokens, confidence

    def embed(self, tokens: Int[Tensor, "b n"]) -> Float[Tensor, "b m latent"]:
        """Latents of texts, E(h(w))."""
        return self.encode(self.hidden(tokens))

    def denoise(
        self,
        zt: Float[Tensor, "b m latent"],
        t: Float[Tensor, "b ..."],
        c: Float[Tensor, "b m latent"],
    ) -> Float[Tensor, "b m latent"]:
        """The prediction of z_1, f(z_t, t, c), with self-condition c; t may be (b,) or (b, m)."""
        return self.denoiser(zt, t, c).float()

    def self_check_logits(
        self, tokens: Int[Tensor, "b n"], fraction: float, rng: torch.Generator
    ) -> Float[Tensor, "b n vocab_size"]:
        """Logits that the denoiser's prediction gives for texts under a little noise.

        The noise is that which a `fraction` of the steps leaves.
        """
        z1 = self.encode(self.hidden(tokens))
        t = self.time.warp(torch.full((len(z1),), fraction, device=z1.device))
        z0 = torch.randn(z1.shape, generator=rng, device=z1.device)
        zt = interpolate(self.schedule, z1, z0, t)
        return self.token_logits(self.denoise(zt, t, torch.zeros_like(zt)), tokens.shape[1])

    @torch.no_grad()
    def token_nll(
        self, tokens: Int[Tensor, "b n"], rng: torch.Generator | None = None, parts: int = 8
    ) -> Float[Tensor, "b n"]:
        """-log p(w_i | the text's latents under a little noise), the mean of `parts` draws.

        The noisy latents still say each token, but the denoiser's prediction says what fits.
        """
        rng = rng or torch.Generator(self.device).manual_seed(0)
        draws = [
            cross_entropies(self.self_check_logits(tokens, SELF_CHECK, rng), tokens)
            for _ in range(parts)
        ]
        return at_text(sum(draws, start=torch.zeros_like(draws[0])) / parts, tokens)

    @torch.no_grad()
    def held_out(self, batches: Iterable[Int[Tensor, "b n"]]) -> dict[str, float]:
        """Fractions of tokens and texts that return, T(D(E(h))) = w; none without the encoder."""
        if self.frozen is None:
            return {}
        found = Faithfulness()
        for tokens in batches:
            tokens = tokens.to(self.device)
            z1 = self.encode(self.hidden(tokens))
            found.add(self.decode_tokens(z1, tokens.shape[1])[0], tokens)
        return found.figures()

    def losses(
        self, tokens: Int[Tensor, "b n"], *, step: int | Tensor, rng: torch.Generator
    ) -> Losses:
        """L = L_diff + L_h + L_w, with gradients routed by stop-gradients (sg).

        L_h    = mean |D(z_1 + sigma xi) - h|^2
        L_w    = cross-entropy(T(sg h_hat), w)
        L_diff = mean |f(z_t, t, c) - z~|^2
        z~     = sg z_1 + gamma(s) (z_1 - sg z_1)

        So the encoder receives the fraction gamma(s) of the diffusion gradient, the denoiser all.
        """
        recipe = self.config.recipe
        h = self.hidden(tokens)
        z1 = self.encode(h)
        noise = torch.randn(z1.shape, generator=rng, device=z1.device)
        h_hat = self.decode(z1 + recipe.decoder_noise * noise, tokens.shape[1]).float()
        through = h_hat if recipe.decoder_loss == "cross_entropy" else h_hat.detach()
        logits = self.token_decoder(through).float()
        terms = {"tokens": F.cross_entropy(logits.flatten(0, 1), tokens.flatten())}
        if recipe.decoder_loss == "mse":
            terms["hidden"] = F.mse_loss(h_hat, h)

        scale = recipe.encoder_gradient_scale * gamma(step, recipe.warmup)
        target = (z1.detach() + scale * (z1 - z1.detach())).repeat(recipe.draws, 1, 1)
        errors = self.denoising_errors(target, rng)
        terms["diffusion"] = errors.mean()
        return Losses(
            terms,
            {
                "gamma": scale,
                "latent_std": z1.detach().std(),
                "error_self": errors.detach()[::2].mean(),
                "error_plain": errors.detach()[1::2].mean(),
            },
        )

    def denoising_errors(
        self, target: Float[Tensor, "b m latent"], rng: torch.Generator
    ) -> Float[Tensor, " b"]:
        """|f(z_t, t, c) - z~|^2 of each text; every second one has a self-condition c."""
        distribution = self.time if self.config.recipe.adaptive_time else Uniform()
        t = distribution.draw(len(target), rng)
        noise = torch.randn(target.shape, generator=rng, device=target.device)
        zt = interpolate(self.schedule, target, noise, t)
        condition = torch.zeros_like(zt)
        with torch.no_grad():
            condition[::2] = self.denoise(zt[::2], t[::2], condition[::2])
        errors = mean_flat((self.denoise(zt, t, condition) - target) ** 2)
        if self.training:
            self.time.observe(t, errors, 1 / distribution.density(t))
        return errors

    def after_step(self, step: int) -> None:
        self.time.update(step)
        if self.config.recipe.latent_norm == "running":
            if dist.is_initialized():
                dist.all_reduce(self.new_std)
            self.latent_std.lerp_(self.new_std[0] / self.new_std[1], 0.01)
            self.new_std.zero_()
