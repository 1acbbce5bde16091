"""The distribution that words are drawn from: its mass, its ends, its shape."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from minildm.sampling.discrete import nucleus


def rng(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@settings(deadline=None)
@given(st.integers(0, 1000), st.floats(0.2, 3), st.floats(0.05, 1))
def test_nucleus_is_the_smallest_set_of_words_with_the_mass_asked_for(seed, temperature, top_p):
    logits = torch.randn(3, 9, generator=rng(seed))
    full = (logits.double() / temperature).softmax(-1)
    for p, row in zip(nucleus(logits, temperature, top_p), full):
        kept = p > 0
        assert p.dtype == torch.float64 and p.sum().item() == pytest.approx(1)
        assert row[kept].sum() >= top_p - 1e-9
        assert row[kept].sum() - row[kept].min() < top_p + 1e-9
        assert row[kept].min() >= row[~kept].max() if (~kept).any() else True
        assert torch.allclose(p[kept], row[kept] / row[kept].sum())


def test_nucleus_at_its_ends():
    logits = torch.tensor([[1.0, 3.0, 2.0]])
    assert nucleus(logits, 0.0, 0.5).tolist() == [[0, 1, 0]]
    assert nucleus(logits, 1.0, 1e-9).tolist() == [[0, 1, 0]]
    assert torch.allclose(nucleus(logits, 1.0, 1.0), logits.double().softmax(-1))
    assert torch.equal(
        nucleus(logits.expand(2, 5, 3), 0.7, 0.9), nucleus(logits, 0.7, 0.9).expand(2, 5, 3)
    )
