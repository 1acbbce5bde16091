"""The optimizer: each trained weight has one, and Muon moves matrices alike in all directions."""

import pytest
import torch

from minildm.training.config import TrainConfig
from minildm.training.optim import Muon, make_optimizer, orthogonal_factor

from . import tiny


def weights(optimizer) -> list[set[int]]:
    return [{id(p) for p in group["params"]} for group in optimizer.param_groups]


@pytest.mark.parametrize("optimizer_name", ["muon", "adamw"])
def test_every_trained_weight_has_one_optimizer_and_only_matrices_decay(optimizer_name):
    model = tiny.tiny_ldlm(tiny.RECIPES["ldlm"])
    optimizer = make_optimizer(model, TrainConfig(weight_decay=0.3, optimizer=optimizer_name))
    trained = {
        id(p): (name, p) for name, p in model.named_parameters() if not name.startswith("frozen.")
    }
    groups = weights(optimizer)
    assert sum(map(len, groups)) == len(trained) and set().union(*groups) == set(trained)
    for group, ids in zip(optimizer.param_groups, groups):
        assert all((group["weight_decay"] > 0) == (trained[i][1].dim() >= 2) for i in ids)
    orthogonal = groups[2:]
    assert len(orthogonal) == (optimizer_name == "muon")
    for i in set().union(*orthogonal):
        assert trained[i][1].dim() == 2 and ".blocks." in trained[i][0]


def test_a_step_of_muon_turns_all_directions_alike():
    """The update of a matrix has singular values near 0.2 lr sqrt(width), whatever those of the gradient."""
    model = tiny.tiny_gpt()
    optimizer = make_optimizer(model, TrainConfig(weight_decay=0.0, lr=1.0))
    matrix = optimizer.parts[1].param_groups[0]["params"][0]
    before = matrix.detach().clone()
    scales = torch.logspace(0, -2, min(matrix.shape))
    matrix.grad = torch.diag(scales).new_zeros(matrix.shape)
    matrix.grad[range(len(scales)), range(len(scales))] = scales
    optimizer.parts[1].step()
    moved = torch.linalg.svdvals(matrix - before) / (0.2 * max(matrix.shape) ** 0.5)
    assert 0.5 < moved.min() and moved.max() < 1.3  # the iteration is tuned for speed, not for ones


def test_stacked_matrices_move_as_torch_moves_each():
    """Our Muon and torch's, from the same weights with the same gradients, through decay and momentum."""
    shapes, rng = [(8, 8), (16, 8), (8, 16), (8, 8), (16, 8)], torch.Generator().manual_seed(0)
    start = [torch.randn(shape, generator=rng) for shape in shapes]
    ours, theirs = ([torch.nn.Parameter(x.clone()) for x in start] for _ in range(2))
    muon = Muon(ours, lr=0.1, weight_decay=0.3)
    peer = torch.optim.Muon(theirs, lr=0.1, weight_decay=0.3, adjust_lr_fn="match_rms_adamw")
    for step in range(3):
        for p, q in zip(ours, theirs):
            p.grad = (
                torch.randn(p.shape, generator=rng) if step or p.shape != (8, 16) else None
            )  # one joins later
            q.grad = None if p.grad is None else p.grad.clone()
        muon.step()
        peer.step()
    for p, q, x in zip(ours, theirs, start):
        assert (
            torch.allclose(p, q, atol=2e-3) and (p - x).abs().max() > 0.1
        )  # bfloat16 rounds to 0.4% of 0.1 * 0.2 * 4


def test_orthogonal_factor_of_tall_and_wide_matrices():
    """U S' V^T with S' near one: X^T Q is symmetric and positive, and the singular values of Q are near one."""
    for shape in ((3, 6, 16), (3, 16, 6), (3, 6, 6)):
        x = torch.randn(shape, generator=torch.Generator().manual_seed(1))
        q = orthogonal_factor(x).float()
        assert 0.4 < torch.linalg.svdvals(q).min() and torch.linalg.svdvals(q).max() < 1.3
        both = (x.mT if shape[1] > shape[2] else x) @ (q if shape[1] > shape[2] else q.mT)
        assert (
            torch.allclose(both, both.mT, atol=0.05 * both.abs().max().item())
            and torch.linalg.eigvalsh(both).min() > 0
        )
