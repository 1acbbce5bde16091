"""A stand-in for a device without float64, such as Apple's MPS: its tensors live on the CPU and behave as if they did not.

Tensors of the stand-in claim the device "meta". Work on them is done on the CPU; a result in float64 raises what MPS raises,
and so does work on tensors of two devices, but for single numbers, as on any real device.
"""

import contextlib

import torch
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_flatten, tree_map

DEVICE = torch.device("meta")
CPU = torch.device("cpu")


class Elsewhere(torch.Tensor):
    """A tensor of the stand-in, which holds its values in a tensor of the CPU."""

    @staticmethod
    def __new__(cls, inner: torch.Tensor):
        made = torch.Tensor._make_wrapper_subclass(
            cls, inner.size(), strides=inner.stride(), dtype=inner.dtype, device=DEVICE
        )
        made.inner = inner
        return made

    __torch_function__ = torch._C._disabled_torch_function_impl

    @classmethod
    def __torch_dispatch__(cls, func, types, args=(), kwargs=None):
        return work(func, args, kwargs or {})


def work(func, args: tuple, kwargs: dict):
    """Run an operator where its tensors are, or where it is asked to."""
    tensors = [x for x in tree_flatten((args, kwargs))[0] if isinstance(x, torch.Tensor)]
    there = any(isinstance(x, Elsewhere) for x in tensors)
    target = kwargs.get("device") or (DEVICE if there else CPU)
    moves = func in (torch.ops.aten._to_copy.default, torch.ops.aten.copy_.default)
    if there and not moves and any(not isinstance(x, Elsewhere) and x.dim() for x in tensors):
        raise RuntimeError(
            f"Expected all tensors to be on the same device, but got a part on the CPU, in {func}"
        )
    args_inside, kwargs_inside = tree_map(inside, (args, kwargs))
    made = func(*args_inside, **kwargs_inside)
    if func is torch.ops.aten.copy_.default:
        return args[0]
    return tree_map(
        lambda x: wrapped(x, args) if isinstance(x, torch.Tensor) and target == DEVICE else x, made
    )


def inside(x):
    """What an operator of the CPU is given for an argument of one of the stand-in."""
    if isinstance(x, Elsewhere):
        return x.inner
    return CPU if isinstance(x, torch.device) else x


def wrapped(x: torch.Tensor, args: tuple) -> torch.Tensor:
    """A result on the stand-in: one of the operands, where it was changed in place, or a new tensor, never in float64."""
    if x.dtype == torch.float64:
        raise TypeError(
            "Cannot convert a MPS Tensor to float64 dtype as the MPS framework doesn't support float64."
        )
    changed = [a for a in args if isinstance(a, Elsewhere) and a.inner is x]
    return changed[0] if changed else Elsewhere(x)


class Mode(TorchDispatchMode):
    """Lets operators that make tensors on the stand-in do so."""

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        return work(func, args, kwargs or {})


class Generator(torch.Generator):
    """A generator of the stand-in or of the CPU."""

    def __new__(cls, device: torch.device | str = CPU):
        made = super().__new__(cls)
        made.elsewhere = torch.device(device) == DEVICE
        return made

    def manual_seed(self, seed: int) -> "Generator":
        super().manual_seed(seed)
        return self

    @property
    def device(self) -> torch.device:
        return DEVICE if self.elsewhere else CPU


class Strict(TorchFunctionMode):
    """Refuses a draw on one device by a generator of another, and does for the stand-in what needs Python."""

    def __torch_function__(self, func, types, args=(), kwargs=None):
        kwargs = kwargs or {}
        if func is torch.Tensor.tolist:  # which tensor subclasses lack
            return func(args[0].cpu())
        if (
            func is torch.tensor and kwargs.get("device") is not None
        ):  # which makes its tensor behind the mode's back
            return func(*args, **kwargs | {"device": CPU}).to(kwargs["device"])
        made, rng = func(*args, **kwargs), kwargs.get("generator")
        if rng is not None and isinstance(made, torch.Tensor) and made.device != rng.device:
            raise RuntimeError(
                f"Expected a '{made.device}' device type for generator but found '{rng.device}'"
            )
        return made


@contextlib.contextmanager
def stand_in(monkeypatch):
    """Within this context the device of the stand-in can be used; gives a generator of it."""
    monkeypatch.setattr(torch, "Generator", Generator)
    monkeypatch.setattr(
        torch, "autocast", lambda *_, **__: contextlib.nullcontext()
    )  # "meta" has none, real devices do
    with Mode(), Strict():
        yield Generator(DEVICE)
