"""The settings of a training: its learning rate, and numbers that are refused."""

import math
import re

import pytest

from minildm.errors import UserError
from minildm.training.config import TrainConfig, learning_rate


def test_learning_rate_rises_linearly_then_falls_as_a_cosine():
    c = TrainConfig(steps=1000, warmup=100, lr=2.0, final_lr=0.1)
    table = {0: 0.02, 49: 1.0, 99: 2.0, 100: 2.0, 550: 2.0 * 0.55, 1000: 0.2}
    for step, rate in table.items():
        assert learning_rate(step, c) == pytest.approx(rate)
    x = (300 - 100) / 900
    assert learning_rate(300, c) == pytest.approx(2 * (0.1 + 0.9 * (1 + math.cos(math.pi * x)) / 2))


def test_learning_rate_without_warmup_and_with_nothing_but_warmup():
    assert learning_rate(0, TrainConfig(steps=10, warmup=0, lr=1.0)) == 1.0
    assert [learning_rate(s, TrainConfig(steps=4, warmup=4, lr=1.0)) for s in range(4)] == [
        0.25,
        0.5,
        0.75,
        1.0,
    ]


@pytest.mark.parametrize(
    "name", ["steps", "batch", "accumulate", "log_every", "eval_every", "save_every"]
)
def test_zero_or_negative_counts_are_refused(name):
    for value in (0, -3):
        with pytest.raises(
            UserError, match=f"--{name.replace('_', '-')} must be at least 1, not {value}"
        ):
            TrainConfig(**{name: value})


@pytest.mark.parametrize(
    "change, said",
    [
        ({"lr": 0.0}, "--lr must be above 0, not 0.0"),
        ({"lr": math.nan}, "--lr must be above 0, not nan"),
        ({"clip": 0.0}, "--clip must be above 0"),
        ({"ema": 1.0}, "--ema must be from 0 to below 1, not 1.0"),
        ({"beta2": 1.5}, "--beta2 must be from 0 to below 1"),
        ({"warmup": -5}, "--warmup must be at least 0, not -5"),
        ({"weight_decay": -1.0}, "--weight-decay must be at least 0"),
        ({"final_lr": -0.1}, "--final-lr must be at least 0"),
        ({"seed": -1}, "--seed must be from 0 to 2147483647, not -1"),
        ({"seed": 2**31}, "--seed must be from 0 to 2147483647"),
    ],
)
def test_numbers_that_train_nothing_are_refused(change, said):
    with pytest.raises(UserError, match=re.escape(said)):
        TrainConfig(**change)
