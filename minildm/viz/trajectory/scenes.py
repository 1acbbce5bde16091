"""From recorded paths of texts to the arrays that an explorer draws; everything here is a pure
function.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from ...dynamics.records import Trajectory

Pieces = Callable[[list[int]], list[str]]  # a tokenizer's view of ids
PATHS = ("plan", "closed loop", "plan replayed")  # without a kick there is the plan alone
HIDDEN = "□"  # how <mask> is shown
COLUMNS, ROWS = 9, 6  # arrows of the flow


class Writer(Protocol):
    """What the explorer asks of a model: its paths, latents or embeddings of real texts, words of
    ids, and its log-SNR.
    """

    cloud: Float[Tensor, "texts n d"]
    log_snr: Callable[[Tensor], Tensor] | None  # of a model of latents
    solvers: tuple[str, ...]
    stepped: bool  # whether it can write in another number of steps

    def paths(
        self,
        prompt: str,
        solver: str,
        steps: int,
        seed: int,
        moment: float,
        size: float,
        direction: int,
    ) -> tuple[tuple[Trajectory, ...], int]: ...

    def pieces(self, ids: list[int]) -> list[str]: ...


@dataclass(frozen=True)
class Scene:
    """Several texts on their way, in the order of PATHS. Speeds and distances are root mean squares
    over all coordinates.
    """

    model: str
    clock: Float[Tensor, " time"]  # mean time of all positions
    at: int  # index of the kick
    paths: Float[Tensor, "paths time texts 2"]  # states in the plane
    cloud: Float[Tensor, "points 2"]  # real texts in the plane
    log_snr: Float[Tensor, " time"] | None  # cut to [-12, 12]
    curves: dict[str, Float[Tensor, "paths time texts"]]  # what stands below, by title
    words: list[list[list[list[str]]]]  # by path, time, text and position
    confidence: Float[Tensor, "paths time texts length"]  # the decoder's probability of each word
    stood: Float[
        Tensor, "paths time texts length"
    ]  # for which share of the time so far a word has not changed
    marked: Bool[
        Tensor, "paths time texts length"
    ]  # new since the last time; after a kick another word than the plan's


@dataclass(frozen=True)
class Shown:
    """What one picture shows: a scene, the text that is followed, and the index of the time."""

    scene: Scene
    text: int
    k: int


@dataclass(frozen=True)
class Spoken:
    """The text of one path at one time, as `words` draws it."""

    words: list[str]
    stood: Float[Tensor, " length"]
    marked: Bool[Tensor, " length"]


def plane_of(
    cloud: Float[Tensor, "points ..."], way: Float[Tensor, " dimensions"]
) -> Float[Tensor, "dimensions 2"]:
    """Two orthonormal directions: that of the way, and among those across it the one in which the
    cloud spreads most.

    In the first a path and the cloud lie apart at the start and meet at the end, in the second the
    cloud is wide.

    Args:
        cloud: (points, ...), at least 3.
        way: Not zero.

    Returns:
        Directions, the second with its largest entry positive.
    """
    flat, first = cloud.flatten(1).double(), way.double() / way.double().norm()
    across = flat - flat.mean(0)
    across = across - (across @ first)[:, None] * first
    second = torch.linalg.svd(across, full_matrices=False).Vh[0]
    second = second * second[second.abs().argmax()].sign()
    return torch.stack((first, second), 1).to(cloud.dtype)


def standing(
    tokens: Int[Tensor, "paths time texts n"], clock: Float[Tensor, " time"]
) -> Float[Tensor, "paths time texts n"]:
    """For which share of the time so far a word has stood: (t - its last change) / (t - t_0), which
    is 0 at the start.

    Args:
        tokens: Of all paths.
        clock: Times (time,).

    Returns:
        Shares. Noise is decoded to sure words, but they do not stand.
    """
    t = (clock - clock[0])[:, None, None]
    change = torch.zeros(tokens.shape, dtype=clock.dtype)
    change[:, 1:] = (tokens[:, 1:] != tokens[:, :-1]) * t[1:]
    return (t - change.cummax(1).values) / t.clamp(min=1e-9)


def speeds(
    states: Float[Tensor, "paths time texts d"], clock: Float[Tensor, " time"], at: int
) -> Float[Tensor, "paths time texts"]:
    """How fast states move, |dz/dt|; the jump of a kick is left out, and the last step's also
    stands at the end.

    Args:
        states: Of all paths.
        clock: Times (time,).
        at: Index of the kick.

    Returns:
        Root mean squares over coordinates.
    """
    rate = (states.diff(dim=1) / clock.diff()[:, None, None]).square().mean(-1).sqrt()
    rate[1:, :at] = rate[:1, :at]
    return torch.cat((rate, rate[:, -1:]), 1)


def final_words(tokens: Int[Tensor, "paths time texts n"]) -> Float[Tensor, "paths time texts"]:
    """The share of the words at the end that stand already; padding does not count."""
    there = tokens[:, -1:] != 0
    return ((tokens == tokens[:, -1:]) & there).sum(-1) / there.sum(-1).clamp(min=1)


def scene_of(
    paths: tuple[Trajectory, ...],
    at: int,
    name: str,
    cloud: Tensor,
    log_snr: Callable[[Tensor], Tensor] | None,
    pieces: Pieces,
) -> Scene:
    """Flatten the plan, or the three paths of a kick, into the plane of the plan's mean way.

    Args:
        paths: With tokens and confidence, in the order of PATHS.
        at: Index of the kick.
        name: Of the model.
        cloud: Of real texts.
        log_snr: Of clocks or None.
        pieces: ids -> strings.

    Returns:
        A `Scene`.
    """
    states = torch.stack([path.states.flatten(2) for path in paths])
    tokens, sure = (
        torch.stack([getattr(path, what) for path in paths]) for what in ("tokens", "confidence")
    )
    directions = plane_of(cloud, states[0, -1].mean(0) - states[0, 0].mean(0))
    clock = torch.stack([t.mean() for t in paths[0].times])
    snr = None if log_snr is None else log_snr(clock).clamp(-12, 12)
    speed = speeds(states, clock, at)
    if len(paths) == 1:
        marked = torch.zeros_like(tokens, dtype=torch.bool)
        marked[:, 1:] = tokens[:, 1:] != tokens[:, :-1]
        curves = (
            {"log-SNR λ(t)": snr[None, :, None].expand(speed.shape)}
            if log_snr
            else {"final words": final_words(tokens)}
        )
        curves |= {
            "speed |dz/dt|": speed,
            "distance to the end": (states - states[:, -1:]).square().mean(-1).sqrt(),
        }
    else:
        marked = tokens != tokens[:1]
        either = ((tokens != 0) | (tokens[:1] != 0)).sum(-1).clamp(min=1)
        curves = {
            "distance to the plan": (states - states[:1]).square().mean(-1).sqrt(),
            "speed |dz/dt|": speed,
            "share of other words": marked.sum(-1) / either,
        }

    def spoken(row: list[int]) -> list[str]:
        return [HIDDEN if word == "<mask>" else word for word in pieces(row)]

    said = [[[spoken(row) for row in rows] for rows in path] for path in tokens.tolist()]
    return Scene(
        name,
        clock,
        at,
        states @ directions,
        cloud.flatten(1) @ directions,
        snr,
        curves,
        said,
        sure,
        standing(tokens, clock),
        marked,
    )


def spoken_at(shown: Shown, path: int) -> Spoken:
    """What a path says at the time that is shown."""
    scene, k, text = shown.scene, shown.k, shown.text
    return Spoken(
        scene.words[path][k][text], scene.stood[path, k, text], scene.marked[path, k, text]
    )


def began(scene: Scene, path: int) -> int:
    """The first index at which a path is drawn: the plan from the start, the kicked ones from the
    kick on.
    """
    return scene.at if path else 0


def limits(scene: Scene) -> tuple[Tensor, Tensor]:
    """Corners of a window that holds the cloud and all paths, with a margin."""
    both = torch.cat((scene.paths.flatten(0, 2), scene.cloud))
    low, high = both.min(0).values, both.max(0).values
    return low - 0.06 * (high - low), high + 0.06 * (high - low)


def flow_of(
    cloud: Float[Tensor, "points 2"], points: Float[Tensor, "places 2"], log_snr: float
) -> Float[Tensor, "places 2"]:
    """Where points of the plane head if the cloud is all data: the posterior mean E[z_1 | z_t] minus z_t.

    With signal a and noise b of a variance-preserving path, a^2 = 1 / (1 + exp(-lambda)), b^2 = 1 - a^2, the weight of a
    cloud point c is proportional to exp(-|z_t - a c|^2 / (2 b^2)).
    Args: `cloud`; `points` z_t (places, 2); `log_snr` lambda. Returns the displacement (places, 2).
    """
    a2 = 1 / (1 + math.exp(-log_snr))
    distance = torch.cdist(points.double(), math.sqrt(a2) * cloud.double()) ** 2
    weights = (-distance / (2 * max(1 - a2, 1e-6))).softmax(1)
    return (weights @ cloud.double()).to(points.dtype) - points


def arrows(scene: Scene, k: int) -> tuple[Tensor, Tensor]:
    """Places on a grid and the direction of the cloud's flow there at the k-th time; lengths go
    with the square root.

    Args:
        scene: The scene.
        k: Index of the time.

    Returns:
        Places and arrows (places, 2), none for texts of words, which jump.
    """
    if scene.log_snr is None:
        return torch.zeros(0, 2), torch.zeros(0, 2)
    sides = (
        torch.linspace(float(a), float(b), n + 2)[1:-1]
        for a, b, n in zip(*limits(scene), (COLUMNS, ROWS))
    )
    places = torch.cartesian_prod(*sides)
    flow = flow_of(scene.cloud, places, float(scene.log_snr[k]))
    length = flow.norm(dim=1, keepdim=True).clamp(min=1e-9)
    return places, flow / (length * length.max()).sqrt()
