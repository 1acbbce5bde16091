"""A stand-in for CUDA graphs on the CPU: it records tensor operations, and replays just these.

As in a CUDA graph, a replay runs no Python of the step: numbers and branches stay those of the
capture, and what may differ must be read from tensors that keep their places. As there, the values
of tensors cannot be looked at during a capture.
"""

from contextlib import nullcontext
from types import SimpleNamespace

import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

WAITS = ("_local_scalar_dense", "nonzero", "masked_select")  # of values: a GPU would be waited for


class Graph(TorchDispatchMode):
    """Records the operations inside of it, `capture_begin` to `capture_end` of torch.cuda.CUDAGraph."""

    def __init__(self):
        super().__init__()
        self.operations = []

    def register_generator_state(self, rng: torch.Generator) -> None:
        """A generator that is seeded before a replay gives the numbers of an ordinary step."""

    def __torch_dispatch__(self, operation, types, args=(), kwargs=None):
        kwargs = kwargs or {}
        if any(wait in operation.name() for wait in WAITS):
            raise RuntimeError(f"{operation.name()} waits for the device")
        seeded = torch.Tag.nondeterministic_seeded in operation.tags
        if seeded and "generator" not in kwargs and "attention" not in operation.name():
            raise RuntimeError(f"{operation.name()} draws from no registered generator")
        results = operation(*args, **kwargs)
        self.operations.append((operation, args, kwargs, results))
        return results

    @torch.no_grad()
    def replay(self) -> None:
        """Run the operations again, each into the place where its results were."""
        for operation, args, kwargs, results in self.operations:
            again = operation(*args, **kwargs)
            for place, value in zip(tree_leaves(results), tree_leaves(again), strict=True):
                if isinstance(place, torch.Tensor) and place.data_ptr() != value.data_ptr():
                    place.copy_(value)


def stand_in(monkeypatch) -> None:
    """Let graphs be recorded on the CPU."""
    stream = SimpleNamespace(wait_stream=lambda other: None)
    monkeypatch.setattr(torch.cuda, "CUDAGraph", Graph)
    monkeypatch.setattr(torch.cuda, "graph", lambda graph: graph)
    monkeypatch.setattr(torch.cuda, "Stream", lambda: stream)
    monkeypatch.setattr(torch.cuda, "current_stream", lambda: stream)
    monkeypatch.setattr(torch.cuda, "stream", lambda stream: nullcontext())
    monkeypatch.setattr("minildm.training.gradients.refuse_graph", lambda config, context: None)
