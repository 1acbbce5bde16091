"""This process among the processes of `torchrun`; a process alone is the case world = 1."""

import os
from dataclasses import dataclass

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel


@dataclass(frozen=True)
class DistributedContext:
    """This process's number, the number of processes, and the device it works on."""

    rank: int = 0
    world: int = 1
    device: torch.device = torch.device("cpu")

    def wrap(self, model: nn.Module) -> nn.Module:
        """The model, averaging its gradients over the processes if there are several.

        Buffers stay each process's own: they hold sums that `after_step` adds up over the
        processes.
        """
        if self.world == 1:
            return model
        devices = [self.device] if self.device.type == "cuda" else None
        return DistributedDataParallel(model, device_ids=devices, broadcast_buffers=False)

    def mean(self, value: Tensor) -> Tensor:
        """The mean of a number over the processes."""
        if self.world == 1:
            return value
        total = value.detach().to(self.device, copy=True)
        dist.all_reduce(total)
        return total / self.world

    def barrier(self) -> None:
        """Wait until all processes are here."""
        if self.world > 1:
            dist.barrier()


def join() -> DistributedContext:
    """Join the group that `torchrun` started, gloo on CPU and NCCL on GPU; alone without it.

    Returns:
        This process and its device.
    """
    cuda = torch.cuda.is_available()
    if not dist.is_torchelastic_launched():
        return DistributedContext(device=torch.device("cuda" if cuda else "cpu"))
    if not dist.is_initialized():
        dist.init_process_group("nccl" if cuda else "gloo")
    device = torch.device("cuda", int(os.environ["LOCAL_RANK"])) if cuda else torch.device("cpu")
    if cuda:
        torch.cuda.set_device(device)
    return DistributedContext(dist.get_rank(), dist.get_world_size(), device)


def leave() -> None:
    """Leave the group, if there is one."""
    if dist.is_initialized():
        dist.destroy_process_group()


def step_seed(seed: int, step: int, part: int) -> int:
    """The seed of the random numbers of one part of one step, a pure function of its arguments.

    Args:
        seed: Seed of the training.
        step: Number of the step.
        part: Number of the part of the batch, below 4096.

    Returns:
        The seed, with which a resumed run draws the same numbers.
    """
    return (seed * 1_000_003 + step) * 4096 + part


def step_generator(seed: int, step: int, part: int, device: torch.device) -> torch.Generator:
    """The generator of the random numbers of one part of one step.

    Args:
        seed: Seed of the training.
        step: Number of the step.
        part: Number of the part of the batch.
        device: Device of the numbers.

    Returns:
        A new generator.
    """
    return torch.Generator(device).manual_seed(step_seed(seed, step, part))
