"""Outlines of models: their names and shapes, without storage and without drawing weights."""

import pytest
from torch.utils._python_dispatch import TorchDispatchMode

from minildm.models.registry import MODEL_TYPES, build, outline


class Operations(TorchDispatchMode):
    """The names of the operations that are carried out."""

    def __init__(self):
        super().__init__()
        self.names: set[str] = set()

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        self.names.add(func.overloadpacket.__name__)
        return func(*args, **(kwargs or {}))


@pytest.mark.parametrize("model_type", MODEL_TYPES)
def test_an_outline_has_the_shapes_of_the_model_and_draws_nothing(model_type):
    config = MODEL_TYPES[model_type].config()
    with Operations() as operations:
        expected = outline(model_type, config).state_dict()
    assert all(x.is_meta for x in expected.values())
    assert not {"normal_", "uniform_"} & operations.names
    with Operations() as operations:
        model = build(model_type, config).state_dict()
    assert {"normal_", "uniform_"} & operations.names
    assert {k: (x.shape, x.dtype) for k, x in expected.items()} == {
        k: (x.shape, x.dtype) for k, x in model.items()
    }
