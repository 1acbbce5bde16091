"""Models in bfloat16 and float64: all of them write, and what they measured of their latents keeps its precision."""

import weakref

import pytest
import torch

from minildm.models.base import LanguageModel
from minildm.models.generation import MantaGeneration
from minildm.models.gpt import GPT, GPTConfig
from minildm.models.guidance import contains
from minildm.models.masked import MaskedDiffusion, MaskedDiffusionConfig
from tests.sampling.draw import draw

from .small import ldlm, rng
from .tiny_manta import WORDS, manta, space


def stirred(model: torch.nn.Module) -> torch.nn.Module:
    """A model away from its start, so that no two positions are equally likely to come next."""
    with torch.no_grad():
        for p in model.parameters():
            p += 0.3 * torch.randn(p.shape, generator=rng(p.numel()))
    return model.eval()


WAYS = {  # model -> how it is made, and ways to write with it
    "gpt": (
        lambda: stirred(GPT(GPTConfig(WORDS, 8, d_model=16, n_heads=2, n_layers=2))),
        [{}, {"top_p": 0.9}],
    ),
    "masked": (
        lambda: stirred(
            MaskedDiffusion(MaskedDiffusionConfig(WORDS, 8, d_model=16, n_heads=2, n_layers=2))
        ),
        [{}, {"solver": "confidence"}, {"solver": "margin", "top_p": 0.9}],
    ),
    "vae": (space, [{}]),
    "ldlm": (
        lambda: ldlm().eval(),
        [
            {},
            {"solver": "ddim"},
            {"solver": "euler"},
            {"solver": "heun"},
            {"guidance_target": contains(5)},
        ],
    ),
    "compressed": (lambda: ldlm(compression=2).eval(), [{}]),
    "manta": (
        manta,
        [{"solver": solver, "offset": 1.0} for solver in ("ancestral", "euler", "sampled")]
        + [{"guidance_target": contains(5)}],
    ),
    "blocks": (
        lambda: manta(
            blocks=True, block_size=3, generation=MantaGeneration(solver="entropy_bounded")
        ),
        [{}, {"guidance_target": contains(5)}],
    ),
    **{
        kernel: (lambda kernel=kernel: manta(kernel=kernel), [{}])
        for kernel in ("spectral", "slice", "causal")
    },
}
GIVEN = {
    "prompt": torch.tensor([[1, 4, 5, 6, 7, 8, 9, 2]]),
    "observed": torch.tensor([[1, 1, 0, 0, 1, 0, 1, 1]], dtype=torch.bool),
}


def written(model_type: str, dtype: torch.dtype) -> list[torch.Tensor]:
    """Texts of a model in a precision, one batch a way of writing."""
    torch.manual_seed(0)
    make, ways = WAYS[model_type]
    if model_type not in ("gpt", "vae"):
        ways = [*ways, GIVEN]
    model = make().to(dtype)
    return [draw(model, 3, rng=rng(), record=True, **way).tokens for way in ways]


@pytest.mark.parametrize("model_type", WAYS)
def test_float64_writes_what_float32_writes(model_type):
    for double, single in zip(
        written(model_type, torch.float64), written(model_type, torch.float32)
    ):
        assert torch.equal(double, single)


@pytest.mark.parametrize("model_type", WAYS)
def test_bfloat16_writes(model_type):
    for half, single in zip(
        written(model_type, torch.bfloat16), written(model_type, torch.float32)
    ):
        assert half.shape == single.shape and 0 <= int(half.min()) and int(half.max()) < 20


@pytest.mark.parametrize("model_type", ["ldlm", "manta", "vae"])
def test_statistics_keep_their_precision(model_type):
    model = WAYS[model_type][0]()
    before = {name: buffer.clone() for name, buffer in model.named_buffers()}
    model.to(torch.bfloat16)
    assert {p.dtype for p in model.parameters()} == {torch.bfloat16} and before
    for name, buffer in model.named_buffers():
        assert buffer.dtype == before[name].dtype and torch.equal(buffer, before[name])


def test_buffers_live_until_all_weights_are_cast():
    """They are known by their ids, which a new tensor may take once they are gone."""
    model = LanguageModel()
    model.first, model.last = torch.nn.BatchNorm1d(2), torch.nn.Linear(2, 2)
    buffers, alive = [weakref.ref(buffer) for buffer in model.buffers()], []

    def moved(x: torch.Tensor) -> torch.Tensor:
        alive.append(all(buffer() is not None for buffer in buffers))
        return x.to("meta")

    model._apply(moved)
    assert len(buffers) == 3 and len(alive) >= 5 and all(alive)
