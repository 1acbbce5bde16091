"""Double precision where a device has it, and on the CPU where it has none, as on Apple's MPS."""

import torch
from torch import Tensor

CPU = torch.device("cpu")


def double(x: Tensor) -> Tensor:
    """A tensor in float64: on its device, or on the CPU where the device has no float64.

    Args:
        x: Any shape.

    Returns:
        The same numbers in float64.
    """
    try:
        return x.double()
    except TypeError:  # what a device without float64 raises
        return x.cpu().double()


def generator_on(device: torch.device, rng: torch.Generator) -> torch.Generator:
    """The generator itself if it is on this device, else a new one there that it seeds.

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
    """Uniform numbers in [0, 1) in float64, on the generator's device or else on the CPU.

    Args:
        shape: Shape of the result.
        rng: Generator of the random numbers.

    Returns:
        Numbers of this shape.
    """
    try:
        return torch.rand(shape, generator=rng, device=rng.device, dtype=torch.float64)
    except TypeError:  # what a device without float64 raises
        return torch.rand(shape, generator=generator_on(CPU, rng), dtype=torch.float64)


def move(x: Tensor, device: torch.device) -> Tensor:
    """A tensor on another device, or on the CPU where that device lacks its precision.

    Args:
        x: Any shape.
        device: Where it should go.

    Returns:
        The same numbers there.
    """
    try:
        return x.to(device)
    except TypeError:  # what a device without float64 raises
        return x.cpu()
