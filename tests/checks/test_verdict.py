"""The verdict itself: what it accepts, what it says, how it hints, and the rules that it keeps."""

import math

import numpy as np
import pytest
import torch

from minildm.checks.rules import Counted, RuleBroken, Small, without_autograd
from minildm.checks.verdict import Must, exercise, fault, in_short

HINTS = ("what is left of x when it is halved?", "multiply", "x times x")


def squares():
    yield from (
        (
            (torch.tensor([x, 2 * x], dtype=torch.float64),),
            torch.tensor([x * x, 4 * x * x], dtype=torch.float64),
        )
        for x in (1.0, 2.0, 3.0)
    )


@pytest.fixture
def check():
    return exercise("99.1", hints=HINTS)(squares)


def test_the_first_failing_input_is_shown_with_the_largest_difference(check, capsys):
    check(lambda x: x)
    said = capsys.readouterr().out
    assert said.startswith(
        "exercise 99.1: not yet.\n  input    shape (2,): 1, 2\n  expected shape (2,): 1, 4\n"
    )
    assert "got      shape (2,): 1, 2\n" in said and "the largest difference is 2," in said
    check(lambda x: 1 / 0)
    assert "ZeroDivisionError" in capsys.readouterr().out
    check(lambda x: x**2)
    assert capsys.readouterr().out == "exercise 99.1: passed on 3 inputs.\n"


def test_hints_come_in_stages_and_never_for_nothing(check, capsys):
    check(lambda x: None)
    said = capsys.readouterr().out
    assert (
        "must end with `return`" in said
        and "hint" not in said
        and not any(hint in said for hint in HINTS)
    )
    shown = []
    for _ in range(4):
        check(lambda x: x)
        shown.append(capsys.readouterr().out.splitlines()[-1])
    stages = (1, 2, 3, 3)
    assert shown == [f"  hint     {stage} of 3: {HINTS[stage - 1]}" for stage in stages]


def test_an_open_hole_is_open(check, capsys):
    def hole(x):
        raise NotImplementedError("exercise 99.1")

    check(hole)
    assert ": open." in capsys.readouterr().out


@pytest.mark.parametrize(
    "answer",
    [
        lambda x: x.float() ** 2,
        lambda x: (x**2).tolist(),
        lambda x: tuple(x**2),
        lambda x: x.numpy() ** 2,
        lambda x: x.clone().requires_grad_() ** 2,
    ],
)
def test_numbers_may_come_in_any_form(check, answer, capsys):
    check(answer)
    assert "passed on 3" in capsys.readouterr().out


def test_a_small_error_is_answered_with_a_word_on_precision():
    expected = torch.tensor([1.0, 3.0], dtype=torch.float64)
    assert "float64" in fault(expected + 1e-4, expected)
    assert "float64" not in fault(expected + 1.0, expected)


def test_faults_in_words():
    one = torch.ones(2, dtype=torch.float64)
    assert fault((1, one), (1, one)) is None and fault([1, one], (1, one)) is None
    assert fault(one[:1], one) == "the shape must be (2,), not (1,)"
    assert fault((one, one + 1), (one, one)).startswith("value 2: the largest difference is 1,")
    assert fault(one, (one, one)) == "2 values are expected, as a tuple or a list"
    assert fault(torch.tensor([1, 2]), torch.tensor([1, 3])) == "1 of 2 entries differ"
    assert fault("a", one) == "numbers are expected, not str"
    assert fault("a", Must("is a", "a".__eq__)) is None and fault("b", Must("is a", "a".__eq__))


def test_numbers_that_are_not_finite_must_be_the_same():
    wild = torch.tensor([math.inf, math.nan, 1.0], dtype=torch.float64)
    assert fault(wild, wild) is None
    assert fault(torch.tensor([1.0, math.nan, 1.0]), wild)
    assert fault(torch.tensor([math.inf, 0.0, 1.0]), wild)
    assert fault(torch.tensor([math.nan, 1.0]), torch.ones(2, dtype=torch.float64))


def test_single_values():
    assert (
        fault(torch.tensor(2), 2) is None
        and fault(np.int64(2), 2) is None
        and fault(2.0, torch.tensor(2.0)) is None
    )
    assert (
        fault(torch.tensor([2.0]), 2.0) is None
        and fault("2", 2.0)
        and fault(3, 2)
        and fault(np.bool_(True), True) is None
    )


@pytest.mark.parametrize(
    "strange", [np.array([None, 1.0]), np.array(["a", "b"]), 10**400, {}, [[1], [1, 2]]]
)
def test_strange_answers_are_described_and_never_raise(strange):
    assert fault(strange, torch.ones(2)) == f"numbers are expected, not {type(strange).__name__}"


def test_many_values_are_not_one():
    assert fault(torch.tensor([True, False]), True) == "one value is expected, not 2"
    assert fault(np.array([1, 2, 3]), 2) == "one value is expected, not 3"


def test_the_short_form_is_one_line():
    assert in_short(torch.arange(8.0)) == "shape (8,): 0, 1, 2, 3, 4, 5, ..."


@pytest.mark.parametrize(
    "derive",
    [
        lambda x: torch.autograd.grad((x.requires_grad_() ** 2).sum(), x)[0],
        lambda x: torch.func.grad(lambda x: (x**2).sum())(x),
        lambda x: torch.func.vjp(torch.square, x)[1](x),
        lambda x: torch.func.jvp(torch.square, (x,), (x,))[1],
        lambda x: torch.func.jacfwd(torch.square)(x).sum(1),
        lambda x: torch.autograd.functional.jacobian(torch.square, x).sum(1),
    ],
)
def test_autograd_is_seen_however_it_is_called(derive, capsys):
    @exercise("99.2", hints=HINTS, rule=lambda inputs: without_autograd())
    def check():
        yield (torch.ones(3),), 2 * torch.ones(3)

    check(derive)
    assert "99.2: not yet. This exercise asks for the derivative by hand" in capsys.readouterr().out
    check(lambda x: 2 * x)
    assert "passed" in capsys.readouterr().out


def test_evaluations_are_counted():
    counted = Counted(torch.sin, most=2, name="the sine")
    assert str(counted) == "the sine (evaluations allowed: 2)"
    counted(torch.zeros(1)), counted(torch.zeros(1))
    assert counted.evaluations == 2
    with pytest.raises(RuleBroken, match="2 times"):
        counted(torch.zeros(1))


def test_large_and_complex_tensors_are_seen():
    x = torch.ones(10)
    with Small(most=10, real=True):
        assert x.expand(10, 10).shape == (10, 10)  # a view makes no numbers
        assert (x * 2).sum() == 20
        with pytest.raises(RuleBroken, match="100 numbers"):
            x[:, None] * x
        with pytest.raises(RuleBroken, match="real numbers"):
            torch.fft.rfft(x)
