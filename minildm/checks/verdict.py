"""What every check shares: run the reader's function on inputs, compare with an oracle, print one verdict."""

import functools
import math
from collections.abc import Callable, Iterable
from typing import NamedTuple

import torch


class Must(NamedTuple):
    """An expectation that many answers meet: what it is in words, and whether an answer meets it."""

    what: str
    met: Callable[[object], bool]


def exercise(number: str, hint: str):
    """Make a check out of a generator of (inputs, expected) that is given nothing but its own randomness.

    The check takes the reader's function, runs it on every input, and prints `passed`, `open` (the hole still raises
    NotImplementedError) or the first failing input with the expected value and the hint.
    """
    def make(cases: Callable[[], Iterable[tuple[tuple, object]]]):
        @functools.wraps(cases)
        def check(student: Callable) -> None:
            count = 0
            for inputs, expected in cases():
                try:
                    got = student(*inputs)
                except NotImplementedError:
                    print(f"exercise {number}: open. Fill the hole, run the cell, and check again.")
                    return
                except Exception as fault:
                    got = fault
                if not same(got, expected):
                    print(f"exercise {number}: not yet.\n  input    {brief(inputs)}\n  expected {brief(expected)}\n"
                          f"  got      {brief(got)}\n  hint     {hint}")
                    return
                count += 1
            print(f"exercise {number}: passed on {count} inputs.")
        return check
    return make


def same(got, expected, tolerance: float = 1e-9) -> bool:
    """Equal, up to rounding where there are floats; tensors must also agree in shape."""
    if isinstance(expected, Must):
        return expected.met(got)
    if isinstance(expected, torch.Tensor):
        return (isinstance(got, torch.Tensor) and got.shape == expected.shape
                and torch.allclose(got.double(), expected.double(), rtol=tolerance, atol=tolerance, equal_nan=True))
    if isinstance(expected, float):
        try:
            return math.isclose(float(got), expected, rel_tol=tolerance, abs_tol=tolerance)
        except (TypeError, ValueError):
            return False
    if isinstance(expected, tuple):
        return isinstance(got, tuple) and len(got) == len(expected) and all(map(same, got, expected))
    return type(got) is type(expected) and got == expected


def brief(value) -> str:
    """A value in one line that a reader can take in."""
    if isinstance(value, Must):
        return value.what
    if isinstance(value, torch.Tensor):
        numbers = ", ".join(f"{x:.6g}" for x in value.flatten()[:6].tolist())
        return f"shape {tuple(value.shape)}: {numbers}{', ...' if value.numel() > 6 else ''}"
    if isinstance(value, Exception):
        return f"{type(value).__name__}: {value}"
    if isinstance(value, tuple):
        return " | ".join(map(brief, value))
    return f"{value:.9g}" if isinstance(value, float) else str(value)
