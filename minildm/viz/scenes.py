"""From a recorded path to the arrays that an explorer draws; everything here is a pure function."""

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from ..dynamics.records import Trajectory

Pieces = Callable[[list[int]], list[str]]  # a tokenizer's view of ids


@dataclass(frozen=True)
class Scene:
    """A recorded path of texts in a plane. Speeds and distances are root mean squares over all coordinates."""

    times: Float[Tensor, " time"]
    log_snr: Float[Tensor, " time"]  # lambda(t), cut to [-12, 12]
    paths: Float[Tensor, "time batch 2"]  # states in the plane
    velocity: Float[Tensor, "time batch 2"]  # their rate of change; that of the last step also stands at the end
    speed: Float[Tensor, "time batch"]
    distance: Float[Tensor, "time batch"]  # to the end of the path
    cloud: Float[Tensor, "points 2"]  # data latents in the plane
    words: list[list[list[str]]]  # by time, text and position
    confidence: Float[Tensor, "time batch length"]
    changed: Bool[Tensor, "time batch length"]  # another word than one time before


@dataclass(frozen=True)
class Moment:
    """One time of a scene, with one text followed: what a picture shows."""

    t: float
    tails: Float[Tensor, "past batch 2"]  # the paths up to now
    velocity: Float[Tensor, "batch 2"]
    words: list[str]
    confidence: Float[Tensor, " length"]
    changed: Bool[Tensor, " length"]
    log_snr: float
    speed: float
    distance: float


def plane_of(cloud: Float[Tensor, "points ..."]) -> Float[Tensor, "dimensions 2"]:
    """The two orthonormal directions in which a cloud spreads most, the leading right singular vectors of cloud - mean.

    Args: `cloud` (points, ...), at least 3. Returns directions (dimensions, 2), each with its largest entry positive.
    """
    flat = cloud.flatten(1).double()
    directions = torch.linalg.svd(flat - flat.mean(0), full_matrices=False).Vh[:2].T
    signs = directions.gather(0, directions.abs().argmax(0, keepdim=True)).sign()
    return (directions * signs).to(cloud.dtype)


def scene_of(path: Trajectory, cloud: Float[Tensor, "points ..."], directions: Float[Tensor, "dimensions 2"],
             log_snr: Callable[[Tensor], Tensor], pieces: Pieces) -> Scene:
    """Flatten a recorded path of texts into a plane.

    Args: `path` with tokens; `cloud` (points, ...) of data latents; `directions` from `plane_of`; `log_snr`, t -> lambda;
    `pieces`, ids -> strings. Returns a `Scene`.
    """
    flat = path.states.flatten(2)
    rate = (flat.diff(dim=0) / path.times.diff()[:, None, None]).nan_to_num()
    rate = torch.cat([rate, rate[-1:]])
    changed = torch.zeros_like(path.tokens, dtype=torch.bool)
    changed[1:] = path.tokens[1:] != path.tokens[:-1]
    return Scene(
        times=path.times, log_snr=log_snr(path.times).clamp(-12, 12), paths=flat @ directions, velocity=rate @ directions,
        speed=rate.pow(2).mean(-1).sqrt(), distance=(flat - flat[-1]).pow(2).mean(-1).sqrt(),
        cloud=cloud.flatten(1) @ directions, words=[[pieces(row) for row in rows] for rows in path.tokens.tolist()],
        confidence=path.confidence, changed=changed)


def moment_of(scene: Scene, k: int, text: int) -> Moment:
    """The k-th time of a scene, following one text.

    Args: `scene`; `k`, index of the time; `text`, index in the batch. Returns a `Moment`.
    """
    return Moment(
        t=float(scene.times[k]), tails=scene.paths[: k + 1], velocity=scene.velocity[k], words=scene.words[k][text],
        confidence=scene.confidence[k, text], changed=scene.changed[k, text], log_snr=float(scene.log_snr[k]),
        speed=float(scene.speed[k, text]), distance=float(scene.distance[k, text]))


def flow_of(cloud: Float[Tensor, "points 2"], points: Float[Tensor, "places 2"], log_snr: float
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
