"""The policy's network: which rows are read, noise levels of positions, and the pointer by its sum."""

import pytest
import torch

from minildm.nets.operators import KERNELS
from minildm.nets.vector_field import Context, Pointer, VectorField, VectorFieldConfig

LATENT = 4
TOKENS = 9
D_MODEL = 16
HEADS = 2
N = 12
REACH = 3  # of the short convolution
kernel = pytest.mark.parametrize("name", KERNELS)


def randn(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def field(name: str = "attention") -> VectorField:
    """A field whose blocks and convolution do something."""
    torch.manual_seed(1)
    made = VectorField(VectorFieldConfig(LATENT, TOKENS, D_MODEL, HEADS, 2, name))
    with torch.no_grad():
        for i, p in enumerate(made.parameters()):
            p += 0.2 * randn(*p.shape, seed=i)
    return made.requires_grad_(False)


def inputs(n: int = N) -> dict[str, torch.Tensor]:
    return {
        "zt": randn(2, n, LATENT),
        "t": randn(2, n, seed=3).sigmoid(),
        "c": randn(2, n, LATENT, seed=1),
        "posterior": randn(2, n, TOKENS, seed=2).softmax(-1),
    }


def changed(given: dict, name: str, places) -> dict:
    other = {k: v.clone() for k, v in given.items()}
    other[name][:, places] = (
        other[name][:, places].flip(-1) if name == "posterior" else 0.5 - other[name][:, places]
    )
    return other


@kernel
@pytest.mark.parametrize("name_of_input", ["zt", "t", "c", "posterior"])
def test_only_a_causal_field_does_not_read_what_comes_later(name, name_of_input):
    made = field(name)
    given = inputs()
    other = changed(given, name_of_input, slice(7, None))
    x = made(**given)
    y = made(**other)
    features = (x - y).abs().amax((0, 2))
    scores = (
        (made.scores(x, given["posterior"]) - made.scores(y, other["posterior"])).abs().amax((0, 2))
    )
    for gap in (features, scores):
        assert gap[7:].min() > 1e-4
        assert gap[:7].max() < 1e-5 if name == "causal" else gap[:7].min() > 1e-4


@kernel
def test_every_position_has_its_own_noise_level(name):
    """With no block left, features feel the noise levels within reach of the short convolution, and no other."""
    made = field(name)
    given = inputs()
    made.blocks = torch.nn.ModuleList()
    moved = (made(**given) - made(**changed(given, "t", 6))).abs().amax((0, 2))
    after = 0 if name == "causal" else REACH
    near = torch.zeros(N, dtype=torch.bool)
    near[6 - after : 6 + REACH + 1] = True
    assert (moved[near] > 1e-4).all() and not moved[~near].any()


@pytest.mark.parametrize("name", ["attention", "causal"])
def test_rows_feel_what_they_read_and_nothing_else(name):
    """Three tokens, then six rows that read them and their own group, at positions of their own."""
    made = field(name)
    given = inputs(9)
    positions = torch.tensor([0, 1, 2, 0, 1, 2, 3, 4, 5])
    group = torch.tensor([0, 0, 0, 1, 1, 1, 2, 2, 2])
    mask = ((group == group[:, None]) | (group == 0)).expand(2, -1, -1)
    context = Context(mask, positions)

    def run(given):
        x = made(**given, context=context)
        return torch.cat((x, made.scores(x, given["posterior"], context)), -1)

    for name_of_input in given:
        moved = (run(given) - run(changed(given, name_of_input, slice(3, 6)))).abs().amax((0, 2))
        felt = moved[3:6].max() if name == "causal" else moved[3:6].min()
        assert felt > 1e-4 and not moved[:3].any() and not moved[6:].any()
    alone = {k: v[:, :3] for k, v in given.items()}
    x = made(**alone)
    assert torch.allclose(
        run(given)[:, :3], torch.cat((x, made.scores(x, alone["posterior"])), -1), atol=1e-5
    )


def test_a_row_that_reads_no_other_points_nowhere():
    made = pointer(False)
    x = randn(1, 5, D_MODEL)
    posterior = randn(1, 5, TOKENS, seed=1).softmax(-1)
    mask = torch.eye(5, dtype=torch.bool)[None].clone()
    mask[0, 3, 1] = True
    points = made(x, posterior, mask)
    assert not points[0, [0, 1, 2, 4]].any()
    assert torch.allclose(points[0, 3], made.gain(x)[0, 3].sum() * posterior[0, 1], atol=1e-6)


def pointer(causal: bool) -> Pointer:
    torch.manual_seed(2)
    return Pointer(D_MODEL, HEADS, causal).requires_grad_(False)


@pytest.mark.parametrize("causal", [True, False])
def test_a_pointer_is_the_sum_that_defines_it(causal):
    made = pointer(causal)
    x = randn(1, 5, D_MODEL)
    posterior = randn(1, 5, TOKENS, seed=1).softmax(-1)
    d = D_MODEL // HEADS
    q, k = made.query_key(x)[0].view(5, 2, HEADS, d).unbind(1)
    for i in range(5):
        seen = [j for j in range(5) if (j <= i if causal else j != i)]
        total = torch.zeros(TOKENS)
        for h in range(HEADS):
            kappa = torch.stack([q[i, h] @ k[j, h] / d**0.5 for j in seen]).softmax(0)
            total += made.gain(x)[0, i, h] * sum(
                kappa[s] * posterior[0, j] for s, j in enumerate(seen)
            )
        assert torch.allclose(made(x, posterior)[0, i], total, atol=1e-5)


def test_the_first_token_of_a_causal_pointer_points_at_itself():
    made = pointer(True)
    x = randn(1, 5, D_MODEL)
    posterior = torch.eye(TOKENS)[None, :5]
    assert torch.allclose(made(x, posterior)[0, 0], made.gain(x)[0, 0].sum() * posterior[0, 0])


def test_tokens_that_stand_elsewhere_are_likelier_at_the_start():
    """The gains begin at 2, so before training a field prefers tokens of the text to others."""
    torch.manual_seed(0)
    made = VectorField(VectorFieldConfig(LATENT, TOKENS, D_MODEL, HEADS, 2))
    posterior = torch.zeros(1, 4, TOKENS).index_fill(2, torch.tensor([3]), 1.0)
    points = made.pointer(torch.randn(1, 4, D_MODEL), posterior)
    assert (points[..., 3] > 1).all() and not points[..., :3].any()


@kernel
def test_checkpointing_changes_nothing(name):
    made = field(name).train().requires_grad_()
    given = {k: v.requires_grad_() for k, v in inputs().items()}
    slopes = []
    for made.checkpointing in (False, True):
        slopes.append(
            torch.autograd.grad(made(**given).square().sum(), [given["zt"], made.in_proj.weight])
        )
    assert all(torch.allclose(a, b, rtol=1e-4, atol=1e-4) for a, b in zip(*slopes))
