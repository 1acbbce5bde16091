"""Manta-LM: a closed-loop policy that steers noise to text in the latent space of a VAE. A
reconstruction, and labelled so.

words -> VAE -> z_1;  policy: at (z_t, t) say where each position should end, z_hat, and go there by
a law of `control.linear_quadratic`;  z at t = 1 -> VAE -> words. The operator, the space and every
choice below the abstract are ours.
"""

import time

import torch
import torch.nn as nn
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int
from torch import Tensor

from ..control.feedback import rollout, transport
from ..control.linear_quadratic import pinned_law, soft_law
from ..dynamics.records import Trajectory
from ..errors import UserError
from ..nets.vector_field import Past, VectorField
from ..transport.couplings import Pairs, independent, optimal
from ..transport.diffusion import straight_step
from ..transport.paths import interpolate
from ..transport.schedules import Linear
from ..transport.staggering import behind, local_times, sight, staggered_grid, unseen, windows
from ..transport.time_sampling import AdaptiveTime, LogitNormal, Uniform
from .base import Generation, LanguageModel, Losses, check_request, gumbel
from .manta_config import MantaConfig
from .pace import PACED, PacedPolicy
from .policy import COLD, Policy
from .steering import Wish
from .vae import VAE

SHARES = {
    "ancestral": 1.0,
    "euler": 0.0,
    "drawn": 1.0,
}  # solvers, and the share of the ancestral step's noise they renew
SOLVERS = (*SHARES, PACED)
DRAWN = ("drawn", PACED)  # the solvers that go to ends drawn at random, the others to mean ends


class Manta(LanguageModel):
    """A policy over the latent space of a frozen VAE, whose positions may travel together or one
    after another.
    """

    def __init__(self, config: MantaConfig, space: VAE | None = None):
        super().__init__()
        c = config
        if c.space.encoder_layers:
            raise UserError(
                "a policy needs codes of words that do not depend on their neighbors: train its VAE with "
                "--model.encoder-layers 0"
            )
        if c.head == "words" and c.coupling != "independent":
            raise UserError(
                "a head over words needs noise that does not depend on the text: take --model.head clean"
            )
        if c.windows and (c.kernel not in ("attention", "causal") or c.self_condition):
            raise UserError(
                "windows beside a text need a kernel that is a sum over positions, attention or causal, and no "
                "self-condition: take --model.no-windows"
            )
        self.config, self.schedule = c, Linear()
        self.space = (space or VAE(c.space)).requires_grad_(False).eval()
        self.policy = VectorField(
            c.space.latent,
            c.vocabulary,
            c.width,
            c.heads,
            c.layers,
            c.kernel,
            c.ahead if c.ahead > 1 else 0,
            pointer=c.head == "words",
        )
        self.prior = nn.Parameter(torch.zeros(c.vocabulary))
        self.leave = nn.Linear(c.width, c.space.latent) if c.head == "clean" else None
        self.time = {"adaptive": AdaptiveTime, "uniform": Uniform, "logit_normal": LogitNormal}[
            c.times
        ]()
        self.pairs: Pairs | None = None  # noise and texts that belong together, made by `reflow`
        self.check_solver(c.writing_solver, False, None)

    def train(self, mode: bool = True) -> "Manta":
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
        known: Bool[Tensor, "b n"] | None = None,
    ) -> tuple[Float[Tensor, "b n d"], Float[Tensor, "b n vocabulary"] | None]:
        """Where each position should end, z_hat, and the logits of its word if there is a head for
        them; who has arrived stays.

        z_hat = sum_w p_w E[z_1 | z_t, w],  p = softmax(logits / temperature); p(w_i | z_t) ~
        p(z_t,i | w_i) p(w_i | z_t of the others): the codebook has the first factor, the network
        the second. In a model with windows, words `known` from the start see no words that were
        written since.
        """
        positions = torch.arange(zt.shape[1], device=zt.device)
        sees = (
            sight(t, behind(t, t >= 1 if known is None else known), positions)
            if self.config.windows
            else None
        )
        return self.read(zt, t, c, positions, sees, temperature, seed=seed)

    def read(
        self,
        zt: Float[Tensor, "b n d"],
        t: Float[Tensor, "b n"],
        c: Float[Tensor, "b n d"],
        positions: Int[Tensor, " m"],
        sees: Bool[Tensor, "b n m"] | None,
        temperature: float = 1.0,
        past: Past | None = None,
        seed: int | None = None,
    ) -> tuple[Tensor, Tensor | None]:
        """`predict` for rows that stand at `positions`, see what `sees` says, and may have a
        `past`.

        With a `seed`, z_hat is an end drawn at random: E[z_1 | z_t, w] of a word w ~ p.
        """
        with torch.autocast(zt.device.type, enabled=False):
            book = self.space.codebook()
            local = self.prior.float() + book.evidence(zt, t)
            belief = local.softmax(-1)
        gap = None
        if self.policy.gap is not None:
            gap = unseen(F.pad(t, (len(positions) - t.shape[1], 0), value=1.0), sees, positions)
        features = self.policy(zt, t, c, belief, sees=sees, positions=positions, past=past, gap=gap)
        if self.config.head == "clean":
            return self.leave(features).float().where(t[..., None] < 1, zt), None
        logits = local + self.policy.scores(features, belief, sees, past).float()
        return self.end(logits / max(temperature, COLD), zt, t, seed), logits

    def end(
        self,
        logits: Float[Tensor, "b n vocabulary"],
        zt: Float[Tensor, "b n d"],
        t: Float[Tensor, "b n"],
        seed: int | None = None,
    ) -> Float[Tensor, "b n d"]:
        """Where positions end whose words have the law softmax(logits): z_hat, or with a `seed` an
        end drawn at random.
        """
        with torch.autocast(zt.device.type, enabled=False):
            if seed is None:
                p = logits.softmax(-1)
            else:
                p = F.one_hot(
                    (logits + gumbel(logits.shape, seed, logits.device)).argmax(-1),
                    logits.shape[-1],
                ).float()
            return self.space.codebook().endpoint(p, zt, t).where(t[..., None] < 1, zt)

    def law(
        self, clean: Float[Tensor, "b n d"], z: Float[Tensor, "b n d"], t: Float[Tensor, "b n one"]
    ) -> Tensor:
        """The control that goes from z to z_hat in the time that is left: the mean of the pair's
        optimal controls.
        """
        if self.config.law == "soft":
            return soft_law(clean, z, t, self.config.miss)
        return pinned_law(clean, z, t, self.config.least_time)

    def draw_times(
        self, n: int, length: int, step: int, rng: torch.Generator
    ) -> tuple[Float[Tensor, "n length"], Tensor | None]:
        """Times of the positions of n texts in training, and their windows: some texts without lag,
        some with known words.

        Lags L of windows are uniform in log L from 1 to the largest.
        """
        c, device, t = self.config, rng.device, Uniform().draw(n, rng)
        lag, together, knows, share = torch.rand(4, n, generator=rng, device=device)
        lag = (c.lag**lag if c.windows else c.lag * lag).masked_fill(together < c.together, 0.0)
        spans = torch.rand(n, -(-length // 4), generator=rng, device=device).repeat_interleave(
            4, dim=1
        )[:, :length]
        moving = (spans >= share[:, None]) | (knows >= c.known)[:, None]
        if not c.windows:
            return self.time.warp(local_times(t, lag, moving)), None
        tau, window = windows(t, lag, moving)
        told = (
            torch.rand(n, generator=rng, device=device) < (1 if step < c.told_first else c.told)
        )[:, None] & moving
        size = (
            ((c.ahead + 1) ** torch.rand(n, 1, generator=rng, device=device))
            .floor()
            .clamp(max=c.ahead)
        )
        part = (
            (moving.cumsum(1) + size * torch.rand(n, 1, generator=rng, device=device)) / size
        ).floor()
        return self.time.warp(tau).masked_fill(told, 0.0), window.where(
            ~told, part.masked_fill(~moving, -torch.inf)
        )

    def losses(self, tokens: Int[Tensor, "b n"], *, step: int, rng: torch.Generator) -> Losses:
        """What makes z_hat the posterior mean E[z_1 | z_t], over positions under way, 0 < t < 1, or
        told, t = 0.

        head words: cross-entropy(p(. | z_t), w);  head clean: mean |z_hat - z_1|^2 With windows the
        text itself, at time 1, stands beside the noisy one, in windows of the same numbers; the
        copies of known words are behind all windows, where nobody sees them.
        """
        with torch.autocast(tokens.device.type, enabled=False):
            z0, z1 = self.couple(tokens, rng)
        n = z1.shape[1]
        t, window = self.draw_times(len(z1), n, step, rng)
        zt, c = interpolate(self.schedule, z1, z0, t), torch.zeros_like(z1)
        if window is None:
            moving = (t > 0) & (t < 1)
            if self.config.self_condition:
                with torch.no_grad():
                    c[::2] = self.predict(zt[::2], t[::2], c[::2])[0]
            clean, logits = self.predict(zt, t, c)
        else:
            moving, positions = t < 1, torch.arange(n, device=t.device).repeat(2)
            zs, ts, cs, ws = (
                torch.cat(pair, 1)
                for pair in (
                    (z1, zt),
                    (torch.ones_like(t), t),
                    (c, c),
                    (window, window.masked_fill(~moving, torch.inf)),
                )
            )
            sees = sight(ts, ws, positions)
            clean, logits = (
                x if x is None else x[:, n:] for x in self.read(zs, ts, cs, positions, sees)
            )
        error = (clean - z1).square().mean(-1)
        if logits is None:
            name, each = "clean", error
        else:
            name, each = "words", F.cross_entropy(logits.transpose(1, 2), tokens, reduction="none")
        if (
            self.config.times == "adaptive" and self.training
        ):  # tau is not uniform: p(t) up to a factor that hardly changes
            self.time.observe(t, each, (moving & (t > 0)) / self.time.density(t))
        count = moving.sum()
        return Losses(
            {name: (each * moving).sum() / count},
            {"error": (error.detach() * moving).sum() / count, "moving": moving.float().mean()},
        )

    def after_step(self, step: int) -> None:
        if self.config.times == "adaptive":
            self.time.update(step)

    def couple(
        self, tokens: Int[Tensor, "b n"], rng: torch.Generator
    ) -> tuple[Float[Tensor, "b n d"], Float[Tensor, "b n d"]]:
        """Noise z_0 and data z_1 of a batch: fresh noise, coupled, or pairs that `reflow` made."""
        if self.pairs is not None:
            if self.config.head == "words":
                raise UserError(
                    "pairs made by reflow have no words to learn: take --model.head clean"
                )
            return self.pairs(len(tokens), rng)
        z1 = self.space.encode(tokens, rng)
        z0 = torch.randn(z1.shape, generator=rng, device=z1.device)
        return (optimal if self.config.coupling == "optimal" else independent)(z0, z1, rng)

    @torch.no_grad()
    def generate(
        self,
        count: int,
        *,
        rng: torch.Generator,
        steps: int = 32,
        solver: str | None = None,
        length: int | None = None,
        prompt: Int[Tensor, "#count p"] | None = None,
        mask: Bool[Tensor, "#count p"] | None = None,
        start: float = 0.0,
        wish: Wish | None = None,
        strength: float = 1.0,
        lag: float | None = None,
        entropy_bound: float | None = None,
        temperature: float | None = None,
        record: bool = False,
    ) -> Generation:
        """Write texts: look, choose a control, hold it for one of `steps` steps, look again.

        `prompt` begins the texts, or, with a `mask`, is a text whose words are to be written where
        the mask is True. With `start` > 0 the prompt is noised to where a text is after that share
        of the steps, and written anew from there. `wish` guides with `strength`. `lag`: how far the
        rear is behind. Solver paced lets words arrive within an `entropy_bound`, in nats, by at
        most `steps` looks. `temperature` of the law over words: below 1 it favors what is probable.
        All are the configuration's where they are not given; but a start or a lag asks for solver
        ancestral.
        """
        c, length, began = self.config, length or self.config.length, time.perf_counter()
        travels = bool(start) or lag is not None
        solver = solver or ("ancestral" if travels else c.writing_solver)
        check_request(count, length, None if start or mask is not None else prompt, steps)
        self.check_solver(solver, travels, entropy_bound)
        if temperature is not None and c.head == "clean":
            raise UserError(
                "a Manta-LM with a clean head has no law over words to temper: leave out the temperature"
            )
        z = torch.randn(count, length, c.space.latent, generator=rng, device=self.device)
        moving = torch.ones(count, length, dtype=torch.bool, device=self.device)
        if prompt is not None:
            given = F.pad(prompt, (0, length - prompt.shape[1])).expand(count, -1)
            z1 = self.space.encode(given, rng)
            if not start:
                moving[:, : prompt.shape[1]] = False if mask is None else mask
                z = z.where(moving[..., None], z1)
        heat = c.writing_temperature if temperature is None else temperature
        seed = (
            int(torch.randint(2**31, (), generator=rng, device=rng.device))
            if solver in DRAWN
            else None
        )
        if solver == PACED:
            bound = c.writing_bound if entropy_bound is None else entropy_bound
            loop = PacedPolicy(self, bound, steps, wish, strength, heat, seed, record)
            path = loop.write(z, moving)
        else:
            times = self.time.warp(
                staggered_grid(steps, c.writing_lag if lag is None else lag, moving, start)
            )
            if start:
                z = interpolate(self.schedule, z1, z, times[0, ..., 0])
            loop = Policy(self, wish, strength, heat, seed, record)
            if c.windows and wish is None and not record:
                loop.look_ahead(times)
            path = rollout(
                transport, loop, z, times, straight_step(SHARES[solver]), rng, record
            ).path
        tokens, _ = self.space.read_off(path.states[-1])
        if prompt is not None:
            tokens = tokens.where(moving, given)
        seconds = time.perf_counter() - began
        if record:
            clean = torch.stack([*loop.seen, path.states[-1]])
            words, confidence = map(torch.stack, zip(*map(self.space.read_off, clean)))
            path = Trajectory(
                torch.linspace(start, 1, steps + 1), path.states, clean, words, confidence
            )
        return Generation(tokens, loop.calls, seconds, path if record else None)

    def check_solver(self, solver: str, travels: bool, entropy_bound: float | None) -> None:
        """Refuse a solver that there is not, or that cannot do what else is asked."""
        if solver not in SOLVERS:
            raise UserError(
                f"a Manta-LM has no solver {solver!r}: choose one of {', '.join(SOLVERS)}"
            )
        if solver != PACED and entropy_bound is not None:
            raise UserError(
                f"solver {solver} has no entropy bound: take solver paced, without a start or a lag"
            )
        if solver == PACED and travels:
            raise UserError(
                "solver paced takes no lag and no start: leave them out, or take another solver"
            )
        if solver in DRAWN and self.config.head != "words":
            raise UserError(
                f"solver {solver} draws words, and a clean head has no law over them: take ancestral or euler"
            )
        if solver == PACED and not self.config.windows:
            raise UserError(
                "solver paced needs words that see no noise: train with --model.windows"
            )
