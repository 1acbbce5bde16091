"""Double precision where a device has it, and on the CPU where it has none, as on Apple's MPS."""

import torch
from torch import Tensor


def double(x: Tensor) -> Tensor:
    """A tensor in float64: on its device, or on the CPU where the device has no float64.

    Args: `x`. Returns `x` in float64. Derived in chapter 16. Source: ours.
    """
    try:
        return x.double()
    except TypeError:  # what a device without float64 raises
        return x.cpu().double()


def generator_on(device: torch.device, rng: torch.Generator) -> torch.Generator:
    """A generator whose numbers are drawn on a device: the one given, or, on another device, a new
    one that it seeds.

    Args:
        device: Device of the result.
        rng: Generator of the random numbers.

    Returns:
        A generator of the device.
    """
    if rng.device.type == device.type:
        return rng
    seed = int(torch.randint(2**62, (), generator=rng, device=rng.device))
    return torch.Generator(device).manual_seed(seed)


def uniform(*shape: int, rng: torch.Generator) -> Tensor:
    """Uniform numbers in [0, 1) in float64, on the generator's device or, where it has no float64, on the CPU.

    Args: `shape`; `rng`. Returns numbers (shape). Derived in chapter 16. Source: ours.
    """
    try:
        return torch.rand(shape, generator=rng, device=rng.device, dtype=torch.float64)
    except TypeError:  # what a device without float64 raises
        cpu = torch.device("cpu")
        return torch.rand(shape, generator=generator_on(cpu, rng), dtype=torch.float64)


def move(x: Tensor, device: torch.device) -> Tensor:
    """A tensor on another device in its own precision; float64 stays on the CPU where the device has none.

    Args: `x`; `device`. Returns `x` there. Derived in chapter 16. Source: ours.
    """
    try:
        return x.to(device)
    except TypeError:  # what a device without float64 raises
        return x.cpu()
