"""The surprise of a masked model, where it is known."""

import math

import numpy as np
import pytest
import torch

from minildm.studies.ch09_step_cost import model_surprise
from tests.models.small import rng
from tests.studies.small import masked


def test_a_model_without_opinions_is_surprised_alike_at_all_times():
    model = masked(vocab_size=12, seq_len=16)
    torch.nn.init.zeros_(model.embedding.weight)
    rows = np.random.default_rng(0).integers(4, 12, (600, 16))
    curve = model_surprise(model, rows, [0.0, 0.3, 0.8], rng())
    assert curve[0].item() == pytest.approx(math.log(11), rel=1e-5)  # any token but <mask>
    assert curve.tolist() == pytest.approx([math.log(11)] * 3, rel=0.08)
