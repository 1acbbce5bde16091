"""A writer of straight lines, for tests of scenes and of the explorer."""

import torch

from minildm import UserError
from minildm.dynamics.records import Trajectory
from minildm.viz.trajectory.explorer import TrajectoryExplorer
from minildm.viz.trajectory.scenes import scene_of

WORDS = ["<pad>", "<bos>", "<eos>", "<mask>", "fox", "owl", "bear", "cat"]
STEPS, TEXTS, N = 32, 4, 5


def pieces(ids: list[int]) -> list[str]:
    return [WORDS[i] for i in ids]


def log_snr(t):
    return 2 * (t.log() - (1 - t).log())


class Straight:
    """A writer whose plan is a straight line; its closed loop removes a disturbance, and its replay keeps it."""

    def __init__(self, seed: int, latent: bool = True):
        rng = torch.Generator().manual_seed(seed)
        self.cloud = torch.randn(40, N, 3, generator=rng) * torch.linspace(3, 1, 15).reshape(N, 3)
        self.log_snr, self.asked = log_snr if latent else None, []
        self.solvers, self.stepped = ("ancestral", "euler") if latent else ("ancestral",), latent

    def ends(self, seed):
        return torch.randn(2, TEXTS, N, 3, generator=torch.Generator().manual_seed(seed))

    def paths(
        self, prompt="", solver="ancestral", steps=STEPS, seed=0, moment=0.5, size=0.0, direction=0
    ):
        if prompt == "unheard":
            raise UserError("the word <unheard> is not in the vocabulary")
        self.asked.append((prompt, solver, steps, seed, moment, size, direction))
        (z0, z1), t = self.ends(seed + 7 * (solver == "euler")), torch.linspace(0, 1, steps + 1)
        plan = z0 + t[:, None, None, None] * (z1 - z0)
        rng = torch.Generator().manual_seed(seed)
        said, sure = (
            torch.randint(3, len(WORDS), (steps + 1, TEXTS, N), generator=rng),
            torch.rand(steps + 1, TEXTS, N),
        )
        said[:, :, 0] = 1 if prompt else said[:, :, 0]
        if not size:
            return (Trajectory(t, plan, None, said, sure),), 0
        at, rng = round(moment * steps), torch.Generator().manual_seed(direction)
        jump = size * torch.randn(plan.shape[1:], generator=rng)
        left = ((t >= t[at]) * (1 - t) / (1 - t[at]))[:, None, None, None]
        kept, other = (t >= t[at]).float()[:, None, None, None], said.clone()
        other[at:, :, : int(size)] = 4 + (other[at:, :, : int(size)] - 3) % 4
        return tuple(
            Trajectory(t, plan + d * jump, None, w, sure)
            for d, w in ((0, said), (left, other), (kept, other))
        ), at

    def pieces(self, ids):
        return pieces(ids)


def scene(writer=None, **asked):
    writer = writer or Straight(0)
    return scene_of(*writer.paths(**asked), "straight", writer.cloud, writer.log_snr, pieces)


def explorer(**start) -> TrajectoryExplorer:
    return TrajectoryExplorer(
        {"straight": Straight(0), "words": Straight(1, latent=False)}, **start
    )
