"""What every test starts from: chapters may compute in float64, and some tests run a chapter's code."""

import pytest
import torch


@pytest.fixture(autouse=True)
def single_precision():
    torch.set_default_dtype(torch.float32)
