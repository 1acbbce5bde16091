"""What every check shares: run the reader's function, compare, and print one verdict."""

import functools
import math
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
    """An expectation that many answers meet: in words, and as a test of an answer."""

    what: str
    met: Callable[[object], bool]


Cases = Callable[[], Iterable[tuple[tuple, object]]]  # makes (inputs, expected)
Rule = Callable[[tuple], AbstractContextManager]


def allow_all(inputs: tuple) -> AbstractContextManager:
    """The rule that forbids nothing."""
    return nullcontext()


class Check:
    """Runs the reader's function on every input of an exercise, and prints one verdict.

    It prints `passed`, `open` (the hole still raises NotImplementedError) or the first failing
    input with the expected value. Each further attempt that computes something is answered with the
    next of `hints`. Numbers may differ by `tolerance` times the largest expected one. The function
    runs inside of `rule(inputs)`, which raises RuleBroken when the answer is reached by a way that
    the exercise forbids.
    """

    def __init__(
        self, cases: Cases, number: str, hints: tuple[str, ...], tolerance: float, rule: Rule
    ):
        functools.update_wrapper(self, cases)
        self.cases = cases
        self.number = number
        self.hints = hints
        self.tolerance = tolerance
        self.rule = rule
        self.attempts = 0

    def __call__(self, student: Callable) -> None:
        try:
            verdict = self.verdict(student)
        except NotImplementedError:
            verdict = "open. Fill the hole, run the cell, and check again."
        except RuleBroken as broken:
            verdict = f"not yet. {broken}"
        print(f"exercise {self.number}: {verdict}")

    def verdict(self, student: Callable) -> str:
        """What is said about the reader's function."""
        count = 0
        for inputs, expected in self.cases():
            got = self.answer(student, inputs)
            found = fault(got, expected, self.tolerance)
            if found:
                lines = (
                    "not yet.",
                    f"input    {in_short(inputs)}",
                    f"expected {in_short(expected)}",
                    f"got      {in_short(got)}",
                    f"fault    {found}",
                )
                return "\n  ".join(lines if got is None else (*lines, self.next_hint()))
            count += 1
        return f"passed on {count} inputs."

    def answer(self, student: Callable, inputs: tuple) -> object:
        """What the reader's function returns, or the exception that it raises."""
        try:
            with self.rule(inputs):
                return student(*inputs)
        except (NotImplementedError, RuleBroken):
            raise
        except Exception as error:
            return error

    def next_hint(self) -> str:
        """The hint for this attempt; the last one again and again."""
        stage = min(self.attempts, len(self.hints) - 1)
        self.attempts += 1
        return f"hint     {stage + 1} of {len(self.hints)}: {self.hints[stage]}"


def exercise(
    number: str, hints: tuple[str, ...], tolerance: float = TOLERANCE, rule: Rule = allow_all
) -> Callable[[Cases], Check]:
    """Make a `Check` out of a generator of (inputs, expected) that has its own randomness.

    Args:
        number: Of the exercise, such as "04.2".
        hints: From a first question to the whole way.
        tolerance: Largest difference of numbers, over the largest expected one.
        rule: Makes a context in which forbidden ways raise RuleBroken.

    Returns:
        A decorator.
    """
    return lambda cases: Check(cases, number, hints, tolerance, rule)


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
        return f"one value is expected, not {math.prod(plain.shape)}"
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
    numbers = numbers.to(torch.promote_types(numbers.dtype, torch.float64))
    expected = expected.to(torch.promote_types(expected.dtype, torch.float64))
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
        parts = [part for part in map(as_numbers, value) if part is not None]
        if len(parts) != len(value) or len({part.shape for part in parts}) != 1:
            return None
        return torch.stack(parts)
    if not isinstance(value, bool | int | float | complex | np.generic | np.ndarray):
        return None
    array = np.asarray(value)
    return torch.as_tensor(array) if array.dtype.kind in "biufc" else None


def as_plain(value: object) -> object:
    """A number of one entry as Python's own; anything else as it is."""
    if isinstance(value, Tensor | np.generic | np.ndarray) and math.prod(value.shape) == 1:
        return value.item()
    return value


def in_short(value: object) -> str:
    """A value in one line that a reader can take in."""
    if isinstance(value, Must):
        return value.what
    if isinstance(value, Tensor):
        numbers = ", ".join(f"{x:.6g}" for x in value.flatten()[:6].tolist())
        more = ", ..." if value.numel() > 6 else ""
        return f"shape {tuple(value.shape)}: {numbers}{more}"
    if isinstance(value, Exception):
        return f"{type(value).__name__}: {value}"
    if isinstance(value, tuple):
        return " | ".join(map(in_short, value))
    return f"{value:.9g}" if isinstance(value, float) else str(value)
