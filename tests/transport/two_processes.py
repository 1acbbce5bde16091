"""A program for torchrun: processes learn one adaptive distribution of time, each from its part of the losses, and save it."""

import sys
from pathlib import Path

import torch
import torch.distributed as dist
from safetensors.torch import save_file

from minildm.transport.time_sampling import AdaptiveTime


def train(rank: int, world: int, steps: int = 400) -> AdaptiveTime:
    """Every process draws the same 64 times and observes its part of them, whose loss falls late."""
    sampler = AdaptiveTime(bins=20, refresh=50)
    rng = torch.Generator().manual_seed(0)
    for step in range(steps):
        t = sampler.draw(64, rng)
        loss = 2 - t**4 + 0.05 * torch.randn(64, generator=rng)
        sampler.observe(t[rank::world], loss[rank::world])
        sampler.update(step)
    return sampler


if __name__ == "__main__":
    torch.set_num_threads(1)
    dist.init_process_group("gloo")
    rank = dist.get_rank()
    save_file(
        train(rank, dist.get_world_size()).state_dict(), Path(sys.argv[1]) / f"{rank}.safetensors"
    )
    dist.destroy_process_group()
