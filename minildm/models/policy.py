"""A Manta-LM as a feedback law: look at a text on its way, decide where each position should end,
and choose a control.
"""

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor

from ..dynamics.precision import double
from ..nets.vector_field import Past
from ..transport.staggering import behind, sight
from .steering import Wish, bend

COLD = 1e-3  # temperature below which the most probable word is all that is left
PARTS = 2**20  # of the unit of time, for noise that is a function of it


def furthest(t: Float[Tensor, "b n"]) -> Int[Tensor, ""]:
    """How many positions there are up to the last that has left in any text."""
    return ((t > 0).any(0) * torch.arange(1, t.shape[1] + 1, device=t.device)).max()


class Policy:
    """A Manta as a feedback law (z, t) -> u with the memory of its last z_hat, which it forgets
    when time goes back.

    With a `wish` it goes where latents should end if the wish is to come true. With a `seed` it
    goes to ends drawn at random, by noise that is a function of the time, so that two runs see the
    same. `record`: remember all that was `seen`.
    """

    def __init__(
        self,
        model,
        wish: Wish | None = None,
        strength: float = 1.0,
        temperature: float = 1.0,
        seed: int | None = None,
        record: bool = True,
    ):
        self.model, self.wish, self.strength, self.temperature, self.seed = (
            model,
            wish,
            strength,
            temperature,
            seed,
        )
        self.record = record
        self.seen: list[Tensor] = []
        self.now, self.past, self.known, self.ahead, self.calls = -1.0, None, None, None, 0

    def look_ahead(self, times: Float[Tensor, "time b n one"]) -> None:
        """Know beforehand how many positions leave in a step, so that others need not be read, nor
        words that were read.
        """
        left = torch.stack([furthest(t[..., 0]) for t in times])
        self.ahead = int(left.diff().max())

    def aim(
        self, z: Float[Tensor, "b n d"], t: Float[Tensor, "b n"], c: Float[Tensor, "b n d"]
    ) -> tuple[Tensor, Tensor | None]:
        """Where each position should end that is under way or about to leave, and logits of its
        word; the others stay.
        """
        model, n = self.model, z.shape[1]
        if self.known is None or float(t.sum()) < self.now:
            self.past, self.known = Past(model.config.layers, n), t >= 1
        if self.ahead is None:
            return model.predict(z, t, c, self.temperature, self.draw(t), self.known)
        first, last = self.past.words, min(int(furthest(t)) + self.ahead, n)
        self.past.keep(int((t >= 1).all(0).long().cumprod(0)[:last].sum()))
        seed, t, positions = self.draw(t), t[:, :last], torch.arange(last, device=z.device)
        sees, rows = sight(t, behind(t, self.known[:, :last]), positions, first), slice(first, last)
        clean, logits = model.read(
            z[:, rows], t[:, rows], c[:, rows], positions, sees, self.temperature, self.past, seed
        )
        logits = None if logits is None else F.pad(logits, (0, 0, first, n - last))
        return torch.cat((z[:, :first], clean, z[:, last:]), 1), logits

    def draw(self, t: Float[Tensor, "b n"]) -> int | None:
        """The seed of the ends that are drawn now."""
        return None if self.seed is None else self.seed + round(PARTS * float(double(t).mean()))

    def look(
        self, z: Float[Tensor, "b n d"], t: Float[Tensor, "b n"], c: Float[Tensor, "b n d"]
    ) -> tuple[Tensor, Tensor]:
        """Where each position should end, and logits of its word."""
        clean, logits = self.model.predict(z, t, c, self.temperature, self.draw(t))
        return clean, self.model.space.decode(clean) if logits is None else logits

    def __call__(
        self, z: Float[Tensor, "b n d"], t: Float[Tensor, "b n one"]
    ) -> Float[Tensor, "b n d"]:
        now, remembers = float(t.sum()), self.model.config.self_condition and self.seen
        c = self.seen[-1] if remembers and now > self.now else torch.zeros_like(z)
        if self.wish is None:
            clean, _ = self.aim(z, t[..., 0], c)
        else:
            clean = bend(
                lambda z: self.look(z, t[..., 0], c),
                self.wish,
                self.strength,
                self.model.schedule,
                z,
                t[..., 0],
            )[0]
            clean = clean.where(t < 1, z)
        self.note(clean)
        self.now, self.calls = now, self.calls + 1
        return self.model.law(clean, z, t)

    def note(self, clean: Float[Tensor, "b n d"]) -> None:
        """Remember a z_hat."""
        if not self.record:
            self.seen.clear()
        self.seen.append(clean)
