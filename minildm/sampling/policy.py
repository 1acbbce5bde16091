"""A Manta-LM as a feedback policy: predict where each position ends, then steer it there."""

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor

from ..dynamics.precision import double
from ..models.generation import GuidanceTarget
from ..models.guidance import posterior_mean_guidance
from ..models.manta import MantaLM
from ..nets.cache import FieldCache
from ..transport.noise_levels import attention_mask, block_order

INSTANTS = 2**20  # of the unit of time, for noise that is a function of it


def furthest(t: Float[Tensor, "b n"]) -> Int[Tensor, ""]:
    """How many positions there are up to the last that has left in any text."""
    return ((t > 0).any(0) * torch.arange(1, t.shape[1] + 1, device=t.device)).max()


class MantaPolicy:
    """The feedback policy (z, t) -> u of a Manta-LM, with the memory of its last prediction.

    With a `target` it steers to where the target moves the predicted ends. With a `seed` it steers
    to sampled end points, by noise that is a function of the time, so that two runs see the same.
    `seen` holds the predictions: all of them where they are recorded, else the last.
    """

    def __init__(
        self,
        model: MantaLM,
        temperature: float = 1.0,
        seed: int | None = None,
        target: GuidanceTarget | None = None,
        scale: float = 1.0,
        record: bool = True,
    ):
        self.model = model
        self.temperature = temperature
        self.seed = seed
        self.target = target
        self.scale = scale
        self.record = record
        self.seen: list[Tensor] = []
        self.reach: int | None = None
        self.nfe = 0
        self.cache = FieldCache(model.config.n_layers, 0)
        self.rewind()

    def rewind(self, t: Tensor | None = None) -> None:
        """Drop what was read, what was given and what was predicted last."""
        self.observed: Tensor | None = None
        self.condition: Tensor | None = None
        self.now = -1.0

    def find_reach(self, times: Float[Tensor, "time b n one"]) -> None:
        """Find how many positions leave in one step, since only those need to be read before."""
        left = torch.stack([furthest(t[..., 0]) for t in times])
        self.reach = int(left.diff().max())

    def predict(
        self, z: Float[Tensor, "b n d"], t: Float[Tensor, "b n"], c: Float[Tensor, "b n d"]
    ) -> tuple[Tensor, Tensor | None]:
        """Where positions end that are under way or about to leave, and logits of their tokens.

        Positions that have arrived stay. With a reach, positions beyond it are not read, nor those
        that are kept from before.
        """
        model = self.model
        n = z.shape[1]
        if self.observed is None:
            self.observed = t >= 1
            self.cache = FieldCache(model.config.n_layers, n)
        if self.reach is None:
            return model.predict(z, t, c, self.temperature, self.draw(t), self.observed)
        first = self.cache.filled
        last = min(int(furthest(t)) + self.reach, n)
        self.cache.keep(int((t >= 1).all(0).long().cumprod(0)[:last].sum()))
        seed = self.draw(t)
        t = t[:, :last]
        positions = torch.arange(last, device=z.device)
        mask = attention_mask(t, block_order(t, self.observed[:, :last]), positions, first)
        rows = slice(first, last)
        context = model.context(t[:, rows], positions, mask)
        denoised, logits = model.predict_rows(
            z[:, rows], t[:, rows], c[:, rows], context, self.temperature, self.cache, seed
        )
        if logits is not None:
            logits = F.pad(logits, (0, 0, first, n - last))
        return torch.cat((z[:, :first], denoised, z[:, last:]), 1), logits

    def guided(
        self,
        target: GuidanceTarget,
        z: Float[Tensor, "b n d"],
        t: Float[Tensor, "b n"],
        c: Float[Tensor, "b n d"],
    ) -> Float[Tensor, "b n d"]:
        """Where positions end if the target is to be met; those that have arrived stay."""

        def predict(z: Tensor) -> tuple[Tensor, Tensor]:
            denoised, logits = self.model.predict(z, t, c, self.temperature, self.draw(t))
            return denoised, self.model.space.decode(denoised) if logits is None else logits

        schedule = self.model.schedule
        moved = posterior_mean_guidance(predict, target, self.scale, schedule, z, t)[0]
        return moved.where(t[..., None] < 1, z)

    def draw(self, t: Float[Tensor, "b n"]) -> int | None:
        """The seed of the end points that are sampled now."""
        return None if self.seed is None else self.seed + round(INSTANTS * float(double(t).mean()))

    def __call__(
        self, z: Float[Tensor, "b n d"], t: Float[Tensor, "b n one"]
    ) -> Float[Tensor, "b n d"]:
        now = float(t.sum())
        if now < self.now:
            self.rewind()
        c = torch.zeros_like(z)
        if self.model.config.self_condition and self.condition is not None and now > self.now:
            c = self.condition
        if self.target is None:
            denoised, _ = self.predict(z, t[..., 0], c)
        else:
            denoised = self.guided(self.target, z, t[..., 0], c)
        self.note(denoised, now)
        return self.model.control(denoised, z, t)

    def keep_prediction(self, denoised: Float[Tensor, "b n d"]) -> None:
        """Keep a prediction, beside the earlier ones where they are recorded."""
        if not self.record:
            self.seen.clear()
        self.seen.append(denoised)

    def note(self, denoised: Float[Tensor, "b n d"], now: float) -> None:
        """Keep the prediction of an evaluation at this sum of times."""
        self.keep_prediction(denoised)
        self.condition = denoised
        self.now = now
        self.nfe += 1
