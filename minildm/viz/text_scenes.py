"""From the three paths of a kicked text to the arrays that its explorer draws; everything here is a pure function."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from ..control.feedback import Kick
from .scenes import Pieces

PATHS = ("plan", "closed", "replayed")
HIDDEN = "□"  # how <mask> is shown


class Writer(Protocol):
    """What the explorer asks of a model: its kicks, latents or embeddings of real texts, words of ids, and its log-SNR."""

    cloud: Float[Tensor, "texts n d"]
    log_snr: Callable[[Tensor], Tensor] | None  # of a model of latents

    def kick(self, moment: float, size: float, direction: int) -> Kick: ...

    def pieces(self, ids: list[int]) -> list[str]: ...


@dataclass(frozen=True)
class KickScene:
    """Several texts, kicked once. Paths are in the order of PATHS; distances are root mean squares over all coordinates."""

    model: str
    moment: float
    size: float
    direction: int
    clock: Float[Tensor, " time"]  # mean time of all positions
    at: int  # index of the kick
    paths: Float[Tensor, "3 time texts 2"]  # states in the plane
    cloud: Float[Tensor, "points 2"]
    log_snr: Float[Tensor, " time"] | None  # cut to [-12, 12]
    distance: Float[Tensor, "2 time texts"]  # of closed loop and replay to the plan
    other: Float[Tensor, "2 time texts"]  # share of words, theirs or the plan's, that differ
    words: list[list[list[list[str]]]]  # by path, time, text and position
    confidence: Float[Tensor, "3 time texts length"]
    differs: Bool[Tensor, "3 time texts length"]  # another word than the plan has at that time


@dataclass(frozen=True)
class Shown:
    """What one picture shows: a scene, the text that is followed, and the index of the time."""

    scene: KickScene
    text: int
    k: int


@dataclass(frozen=True)
class Spoken:
    """The text of one path at one time, as `words` draws it."""

    words: list[str]
    confidence: Float[Tensor, " length"]
    changed: Bool[Tensor, " length"]


def kick_scene(kick: Kick, name: str, knobs: tuple[float, float, int], cloud: Tensor, directions: Float[Tensor, "dimensions 2"],
               log_snr: Callable[[Tensor], Tensor] | None, pieces: Pieces) -> KickScene:
    """Flatten the three paths of a kick into a plane.

    Args: `kick` with tokens and confidence; `name` of the model; `knobs` moment, size and direction; `cloud` of real texts;
    `directions` from `plane_of`; `log_snr` of clocks or None; `pieces`, ids -> strings. Returns a `KickScene`.
    """
    three = [getattr(kick, path) for path in PATHS]
    states = torch.stack([path.states.flatten(2) for path in three])
    tokens, sure = (torch.stack([getattr(path, what) for path in three]) for what in ("tokens", "confidence"))
    clock, differs = torch.stack([t.mean() for t in kick.plan.times]), tokens != tokens[:1]

    def spoken(row: list[int]) -> list[str]:
        return [HIDDEN if word == "<mask>" else word for word in pieces(row)]

    either = ((tokens[1:] != 0) | (tokens[:1] != 0)).sum(-1).clamp(min=1)
    return KickScene(
        name, *knobs, clock, kick.at, states @ directions, cloud.flatten(1) @ directions,
        None if log_snr is None else log_snr(clock).clamp(-12, 12), (states[1:] - states[:1]).square().mean(-1).sqrt(),
        differs[1:].sum(-1) / either, [[[spoken(row) for row in rows] for rows in path] for path in tokens.tolist()], sure,
        differs)


def spoken_at(shown: Shown, path: int) -> Spoken:
    """What one of the three paths says at the time that is shown."""
    scene, k, text = shown.scene, shown.k, shown.text
    return Spoken(scene.words[path][k][text], scene.confidence[path, k, text], scene.differs[path, k, text])


def began(scene: KickScene, path: int) -> int:
    """The first index at which a path is drawn: the plan from the start, the kicked ones from the kick on."""
    return scene.at if path else 0


def limits(scene: KickScene) -> tuple[Tensor, Tensor]:
    """Corners of a window that holds the cloud and all paths, with a margin."""
    both = torch.cat((scene.paths.flatten(0, 2), scene.cloud))
    low, high = both.min(0).values, both.max(0).values
    return low - 0.06 * (high - low), high + 0.06 * (high - low)
