"""What every check shares: run the reader's function on inputs, compare with an oracle, print one
verdict.
"""

import functools
from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager, nullcontext
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from .rules import RuleBroken

TOLERANCE = 1e-5  # of the largest expected number: single precision holds that much of it
ROUNDING = 1e-2  # of the largest expected number: below it, an error may come from single precision


class Must(NamedTuple):
    """An expectation that many answers meet: what it is in words, and whether an answer meets it."""

    what: str
    met: Callable[[object], bool]


def exercise(
    number: str,
    hints: tuple[str, ...],
    tolerance: float = TOLERANCE,
    rule: Callable[[tuple], AbstractContextManager] = lambda inputs: nullcontext(),
):
    """Make a check out of a generator of (inputs, expected) that is given nothing but its own
    randomness.

    The check takes the reader's function, runs it on every input, and prints `passed`, `open` (the
    hole still raises NotImplementedError) or the first failing input with the expected value. Each
    further attempt that computes something is answered with the next of `hints`. Numbers may differ
    by `tolerance` times the largest expected one. The function runs inside of `rule(inputs)`, which
    raises RuleBroken when the answer is reached by a way that the exercise forbids.
    """

    def make(cases: Callable[[], Iterable[tuple[tuple, object]]]):
        attempts = 0

        @functools.wraps(cases)
        def check(student: Callable) -> None:
            nonlocal attempts
            count = 0
            for inputs, expected in cases():
                try:
                    with rule(inputs):
                        got = student(*inputs)
                except NotImplementedError:
                    print(f"exercise {number}: open. Fill the hole, run the cell, and check again.")
                    return
                except RuleBroken as broken:
                    print(f"exercise {number}: not yet. {broken}")
                    return
                except Exception as error:
                    got = error
                found = fault(got, expected, tolerance)
                if found:
                    print(
                        f"exercise {number}: not yet.\n  input    {brief(inputs)}\n  expected {brief(expected)}\n"
                        f"  got      {brief(got)}\n  fault    {found}"
                    )
                    if got is not None:
                        stage = min(attempts, len(hints) - 1)
                        print(f"  hint     {stage + 1} of {len(hints)}: {hints[stage]}")
                        attempts += 1
                    return
                count += 1
            print(f"exercise {number}: passed on {count} inputs.")

        return check

    return make


def fault(got: object, expected: object, tolerance: float = TOLERANCE) -> str | None:
    """What is wrong with an answer, in words; None if it is right.

    Numbers may come as a tensor, an array, a list or a number of any precision, and several values
    as a tuple or a list.
    """
    if got is None:
        return "the function returned nothing; it must end with `return`"
    if isinstance(got, Exception):
        return "the function raised an exception"
    if isinstance(expected, Must):
        return None if expected.met(got) else "this does not hold for what was returned"
    if isinstance(expected, tuple):
        return fault_of_parts(got, expected, tolerance)
    if isinstance(expected, Tensor | float):
        return fault_of_numbers(got, torch.as_tensor(expected), tolerance)
    plain = as_plain(got)
    if isinstance(plain, Tensor | np.ndarray):
        return f"one value is expected, not {plain.numel() if isinstance(plain, Tensor) else plain.size}"
    return None if plain == expected else "the two differ"


def fault_of_parts(got: object, expected: tuple, tolerance: float) -> str | None:
    """What is wrong with the first wrong one of several values."""
    if not isinstance(got, tuple | list) or len(got) != len(expected):
        return f"{len(expected)} values are expected, as a tuple or a list"
    for i, (part, wanted) in enumerate(zip(got, expected), 1):
        if found := fault(part, wanted, tolerance):
            return f"value {i}: {found}"
    return None


def fault_of_numbers(got: object, expected: Tensor, tolerance: float) -> str | None:
    """How far numbers are from the expected ones; whole numbers and booleans must be equal."""
    numbers = as_numbers(got)
    if numbers is None:
        return f"numbers are expected, not {type(got).__name__}"
    if numbers.shape != expected.shape and not numbers.numel() == expected.numel() == 1:
        return f"the shape must be {tuple(expected.shape)}, not {tuple(numbers.shape)}"
    numbers = numbers.reshape(expected.shape)
    if not (expected.is_floating_point() or expected.is_complex()):
        wrong = int((numbers != expected).sum())
        return f"{wrong} of {expected.numel()} entries differ" if wrong else None
    wide = torch.promote_types(numbers.dtype, torch.float64)
    numbers, expected = (
        numbers.to(wide),
        expected.to(torch.promote_types(expected.dtype, torch.float64)),
    )
    equal = (numbers == expected) | (numbers.isnan() & expected.isnan())  # also infinities
    gaps = torch.where(equal, 0.0, (numbers - expected).abs())
    finite = expected[expected.isfinite()].abs()
    scale = float(finite.max()) if finite.numel() and finite.max() > 0 else 1.0
    largest = float(gaps.max()) if gaps.numel() else 0.0
    if largest <= tolerance * scale:
        return None
    found = f"the largest difference is {largest:.3g}, where {tolerance * scale:.1g} is allowed"
    if largest <= ROUNDING * scale:
        found += "; it is small: the inputs are float64, so are all of your tensors float64, too?"
    return found


def as_numbers(value: object) -> Tensor | None:
    """Numbers in whatever form as a tensor without a graph; None if they are no numbers."""
    if isinstance(value, Tensor):
        return value.detach()
    if isinstance(value, list | tuple):
        parts = [as_numbers(part) for part in value]
        if any(part is None for part in parts) or len({part.shape for part in parts}) != 1:
            return None
        return torch.stack(parts)
    array = (
        np.asarray(value)
        if isinstance(value, bool | int | float | complex | np.generic | np.ndarray)
        else None
    )
    return torch.as_tensor(array) if array is not None and array.dtype.kind in "biufc" else None


def as_plain(value: object) -> object:
    """A number of one entry as Python's own; anything else as it is."""
    return (
        value.item()
        if isinstance(value, Tensor | np.generic | np.ndarray) and np.prod(value.shape) == 1
        else value
    )


def brief(value: object) -> str:
    """A value in one line that a reader can take in."""
    if isinstance(value, Must):
        return value.what
    if isinstance(value, Tensor):
        numbers = ", ".join(f"{x:.6g}" for x in value.flatten()[:6].tolist())
        return f"shape {tuple(value.shape)}: {numbers}{', ...' if value.numel() > 6 else ''}"
    if isinstance(value, Exception):
        return f"{type(value).__name__}: {value}"
    if isinstance(value, tuple):
        return " | ".join(map(brief, value))
    return f"{value:.9g}" if isinstance(value, float) else str(value)
