"""From recorded paths of texts to the arrays that an explorer draws, by pure functions."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from ...dynamics.records import Trajectory

Pieces = Callable[[list[int]], list[str]]  # a tokenizer's view of ids
PATHS = ("plan", "closed loop", "plan replayed")  # without a disturbance there is the plan alone
HIDDEN = "□"  # how <mask> is shown
COLUMNS = 9  # arrows of the flow
ROWS = 6


class Writer(Protocol):
    """What the explorer asks of a model.

    Its paths of texts, latents or embeddings of real texts, the words of ids, and its log-SNR.
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
    """Several texts on their way, in the order of PATHS.

    Speeds and distances are root mean squares over all coordinates.
    """

    model: str
    times: Float[Tensor, " time"]  # mean over all positions
    at: int  # index of the disturbance
    paths: Float[Tensor, "paths time texts 2"]  # states in the plane
    cloud: Float[Tensor, "points 2"]  # real texts in the plane
    log_snr: Float[Tensor, " time"] | None  # cut to [-12, 12]
    curves: dict[str, Float[Tensor, "paths time texts"]]  # what is drawn below, by title
    words: list[list[list[list[str]]]]  # by path, time, text and position
    confidence: Float[Tensor, "paths time texts length"]  # the decoder's probability of each word
    unchanged: Float[
        Tensor, "paths time texts length"
    ]  # fraction of the time since the last change
    marked: Bool[Tensor, "paths time texts length"]  # just changed; or not the plan's word


@dataclass(frozen=True)
class Shown:
    """What one picture shows: a scene, the text that is followed, and the index of the time."""

    scene: Scene
    text: int
    k: int


@dataclass(frozen=True)
class Excerpt:
    """The text of one path at one time, as `excerpts` draws it."""

    words: list[str]
    unchanged: Float[Tensor, " length"]
    marked: Bool[Tensor, " length"]


def plane_of(
    cloud: Float[Tensor, "points ..."], way: Float[Tensor, " dimensions"]
) -> Float[Tensor, "dimensions 2"]:
    """Two orthonormal directions: that of the way, and the widest one of the cloud across it.

    In the first a path and the cloud lie apart at the start and meet at the end; in the second the
    cloud is wide.

    Args:
        cloud: At least 3 points.
        way: From the start of paths to their end, not zero.

    Returns:
        Directions, the second with its largest entry positive.
    """
    flat = cloud.flatten(1).double()
    first = way.double() / way.double().norm()
    across = flat - flat.mean(0)
    across = across - (across @ first)[:, None] * first
    second = torch.linalg.svd(across, full_matrices=False).Vh[0]
    second = second * second[second.abs().argmax()].sign()
    return torch.stack((first, second), 1).to(cloud.dtype)


def unchanged_fraction(
    tokens: Int[Tensor, "paths time texts n"], times: Float[Tensor, " time"]
) -> Float[Tensor, "paths time texts n"]:
    """The fraction of the time so far for which a word has not changed.

    (t - its last change) / (t - t_0), which is 0 at the start, where noise is decoded to words too

    Args:
        tokens: Of all paths.
        times: Of the records.

    Returns:
        Fractions.
    """
    t = (times - times[0])[:, None, None]
    change = torch.zeros(tokens.shape, dtype=times.dtype)
    change[:, 1:] = (tokens[:, 1:] != tokens[:, :-1]) * t[1:]
    return (t - change.cummax(1).values) / t.clamp(min=1e-9)


def rms(states: Float[Tensor, "paths time texts d"]) -> Float[Tensor, "paths time texts"]:
    """The root mean square over coordinates."""
    return states.square().mean(-1).sqrt()


def speeds(
    states: Float[Tensor, "paths time texts d"], times: Float[Tensor, " time"], at: int
) -> Float[Tensor, "paths time texts"]:
    """How fast states move, |dz/dt|, without the jump of a disturbance.

    Args:
        states: Of all paths.
        times: Of the records.
        at: Index of the disturbance.

    Returns:
        Root mean squares over coordinates; the last one is repeated.
    """
    rate = rms(states.diff(dim=1) / times.diff()[:, None, None])
    rate[1:, :at] = rate[:1, :at]
    return torch.cat((rate, rate[:, -1:]), 1)


def final_words(tokens: Int[Tensor, "paths time texts n"]) -> Float[Tensor, "paths time texts"]:
    """The fraction of the words of the end that are there already, without padding."""
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
    """Flatten the plan, or the three paths of a disturbance, into the plane of the plan's mean way.

    Args:
        paths: With tokens and confidence, in the order of PATHS.
        at: Index of the disturbance.
        name: Of the model.
        cloud: Of real texts.
        log_snr: A function of times, or None.
        pieces: A function from ids to strings.

    Returns:
        A `Scene`.
    """
    states = torch.stack([path.states.flatten(2) for path in paths])
    tokens, confidence = (
        torch.stack([getattr(path, what) for path in paths]) for what in ("tokens", "confidence")
    )
    times = torch.stack([t.mean() for t in paths[0].times])
    snr = None if log_snr is None else log_snr(times).clamp(-12, 12)
    speed = speeds(states, times, at)
    if len(paths) == 1:
        marked = torch.zeros_like(tokens, dtype=torch.bool)
        marked[:, 1:] = tokens[:, 1:] != tokens[:, :-1]
        curves = {} if snr is None else {"log-SNR λ(t)": snr[None, :, None].expand(speed.shape)}
        curves = curves or {"final words": final_words(tokens)}
        curves["speed |dz/dt|"] = speed
        curves["distance to the end"] = rms(states - states[:, -1:])
    else:
        marked = tokens != tokens[:1]
        written = ((tokens != 0) | (tokens[:1] != 0)).sum(-1).clamp(min=1)
        curves = {
            "distance to the plan": rms(states - states[:1]),
            "speed |dz/dt|": speed,
            "fraction of other words": marked.sum(-1) / written,
        }

    def words_of(row: list[int]) -> list[str]:
        return [HIDDEN if word == "<mask>" else word for word in pieces(row)]

    directions = plane_of(cloud, states[0, -1].mean(0) - states[0, 0].mean(0))
    return Scene(
        name,
        times,
        at,
        states @ directions,
        cloud.flatten(1) @ directions,
        snr,
        curves,
        [[[words_of(row) for row in rows] for rows in path] for path in tokens.tolist()],
        confidence,
        unchanged_fraction(tokens, times),
        marked,
    )


def excerpt(shown: Shown, path: int) -> Excerpt:
    """The text of a path at the time that is shown."""
    scene, k, text = shown.scene, shown.k, shown.text
    return Excerpt(
        scene.words[path][k][text], scene.unchanged[path, k, text], scene.marked[path, k, text]
    )


def first_index(scene: Scene, path: int) -> int:
    """Where a path begins to be drawn: the plan at the start, others at the disturbance."""
    return scene.at if path else 0


def limits(scene: Scene) -> tuple[Tensor, Tensor]:
    """Corners of a window that holds the cloud and all paths, with a margin."""
    low, high = torch.cat((scene.paths.flatten(0, 2), scene.cloud)).aminmax(dim=0)
    margin = 0.06 * (high - low)
    return low - margin, high + margin


def flow_of(
    cloud: Float[Tensor, "points 2"], points: Float[Tensor, "places 2"], log_snr: float
) -> Float[Tensor, "places 2"]:
    """Where points of the plane would move if the cloud were all data: E[z_1 | z_t] - z_t.

    With signal a and noise b of a variance-preserving path, a^2 = 1 / (1 + exp(-lambda)) and
    b^2 = 1 - a^2, the weight of a cloud point c is proportional to exp(-|z_t - a c|^2 / (2 b^2)).

    Args:
        cloud: Data.
        points: z_t.
        log_snr: lambda.

    Returns:
        The displacement of each point.
    """
    a2 = 1 / (1 + math.exp(-log_snr))
    distance = torch.cdist(points.double(), math.sqrt(a2) * cloud.double()) ** 2
    weights = (-distance / (2 * max(1 - a2, 1e-6))).softmax(1)
    return (weights @ cloud.double()).to(points.dtype) - points


def arrows(scene: Scene, k: int) -> tuple[Tensor, Tensor]:
    """The flow of the cloud at the k-th time on a grid of places.

    Args:
        scene: The scene.
        k: Index of the time.

    Returns:
        Places and arrows (places, 2), whose lengths go with the square root of the flow's; none for
        models of words, which jump.
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
