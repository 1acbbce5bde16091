"""What an exercise may forbid: autograd, repeated evaluations, large or complex tensors."""

from collections.abc import Callable
from contextlib import contextmanager
from unittest import mock

from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves


class RuleBroken(Exception):
    """An answer was reached by a way that the exercise forbids: one sentence that says which."""


@contextmanager
def without_autograd():
    """Inside, every backward pass and every forward-mode derivative raises RuleBroken."""

    def refuse(*_, **__):
        raise RuleBroken(
            "This exercise asks for the derivative by hand: do not call autograd or torch.func."
        )

    with (
        mock.patch("torch.autograd._engine_run_backward", refuse),
        mock.patch("torch.autograd.forward_ad.make_dual", refuse),
    ):
        yield


class Counted:
    """A function that may be evaluated `most` times; the next time raises RuleBroken.

    `evaluations` counts them, and `name` is what a reader is shown.
    """

    def __init__(self, function: Callable, most: int, name: str):
        self.function = function
        self.most = most
        self.name = name
        self.evaluations = 0

    def __repr__(self) -> str:
        return f"{self.name} (evaluations allowed: {self.most})"

    def __call__(self, *arguments):
        self.evaluations += 1
        if self.evaluations > self.most:
            raise RuleBroken(
                f"{self.name} may be evaluated {self.most} times here: "
                "keep what it returned and use it again."
            )
        return self.function(*arguments)


class Small(TorchDispatchMode):
    """Inside, a tensor of more than `most` numbers, or a complex one, raises RuleBroken.

    A view counts as what it is a view of, so that an expanded vector is still a vector. Complex
    numbers are refused only where `real`.
    """

    def __init__(self, most: int, real: bool = False):
        super().__init__()
        self.most = most
        self.real = real

    def __torch_dispatch__(self, operation, types, args=(), kwargs=None):
        result = operation(*args, **(kwargs or {}))
        for made in tree_leaves(result):
            if isinstance(made, Tensor):
                self.inspect(made)
        return result

    def inspect(self, made: Tensor) -> None:
        """Refuse a tensor that the exercise forbids."""
        numbers = made.untyped_storage().nbytes() // made.element_size()
        if numbers > self.most:
            raise RuleBroken(
                f"A tensor of {numbers} numbers was made; "
                f"this exercise must do with at most {self.most}."
            )
        if self.real and made.is_complex():
            raise RuleBroken("This exercise asks for real numbers only: a complex tensor was made.")
