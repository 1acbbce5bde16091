"""Steps replayed from a graph equal ordinary steps: on the CPU by a recording of their operations, on a GPU for real."""

from functools import partial

import pytest
import torch
from safetensors.torch import load_file

from minildm.errors import UserError
from minildm.models.base import Losses
from minildm.models.gpt import GPT, GPTConfig
from minildm.models.recipe import Recipe, gamma
from minildm.training.checkpoint import steps_saved
from minildm.training.config import TrainConfig
from minildm.training.cuda_graph import refuse_graph
from minildm.training.distributed import DistributedContext
from minildm.training.loop import Trainer
from minildm.training.metrics import read_metrics

from . import tiny
from .recorded import stand_in
from .test_resume import FILES, lines, stop_at

BLOCKS = dict(
    blocks=True,
    max_offset=4.0,
    next_token_fraction=0.35,
    next_token_steps=2,
    block_size=3,
    observed_fraction=0.3,
)
MODELS = {
    **tiny.MODELS,
    "manta, blocks": partial(tiny.tiny_manta, **BLOCKS),
    "ldlm, short warm-up": partial(tiny.tiny_ldlm, Recipe(warmup=7, draws=2)),
}
CUDA = torch.device("cuda")
TOLERANCE = 0.03  # of the way that the weights go; see the test on a GPU


@pytest.fixture
def recorded(monkeypatch):
    """Graphs on the CPU."""
    stand_in(monkeypatch)


def trainer_of(model, run, graph, context=DistributedContext(), **changes) -> Trainer:
    config = TrainConfig(
        **{"steps": 12, "batch": 8, "warmup": 4, "log_every": 1, "save_every": 4, **changes},
        cuda_graph=graph,
    )
    card = {"config": {"train": {**vars(config), "cuda_graph": None}}}
    return Trainer(model, tiny.rows(), config, run, card, context)


def assert_same(run, other) -> None:
    """Every weight, average and moment of each checkpoint, and every line."""
    assert [p.name for p in steps_saved(run)] == [p.name for p in steps_saved(other)] != []
    for saved, twin in zip(steps_saved(run), steps_saved(other)):
        for name in FILES:
            ours, theirs = (load_file(p / f"{name}.safetensors") for p in (saved, twin))
            assert ours.keys() == theirs.keys()
            assert all(torch.equal(ours[key], theirs[key]) for key in ours), name
    assert lines(run) == lines(other)


def test_without_a_gpu_a_graph_is_refused(tmp_path):
    with pytest.raises(
        UserError, match=r"^--train\.cuda-graph needs a GPU with CUDA: leave it out"
    ):
        tiny.make_trainer("gpt", tmp_path / "run", cuda_graph=True)
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("accumulate, world", [(2, 1), (1, 2)])
def test_a_batch_in_parts_is_refused(accumulate, world):
    config = TrainConfig(cuda_graph=True, accumulate=accumulate)
    with pytest.raises(UserError, match=r"leave out --train\.accumulate and torchrun"):
        refuse_graph(config, DistributedContext(0, world, CUDA))
    refuse_graph(TrainConfig(accumulate=accumulate), DistributedContext(0, world, CUDA))
    refuse_graph(TrainConfig(cuda_graph=True), DistributedContext(0, 1, CUDA))


@pytest.mark.parametrize(
    "model_type, bf16",
    [*((model_type, False) for model_type in MODELS), ("gpt", True), ("ldlm", True)],
)
def test_replayed_steps_equal_ordinary_steps(model_type, bf16, tmp_path, recorded):
    """Bit by bit, with the learning rate, gamma, the times' distribution and the first steps' loss on the move."""
    for graph in (False, True):
        run = tmp_path / str(graph)
        trainer = trainer_of(MODELS[model_type](), run, graph, bf16=bf16, eval_every=3)
        trainer.fit(tiny.score, quiet=True)
        assert bool(trainer.gradients.graph) == graph
    assert_same(tmp_path / "True", tmp_path / "False")
    if model_type == "manta, blocks":
        moving = [line["moving"] for line in lines(tmp_path / "True") if line["kind"] == "step"]
        assert len(set(moving)) > 6


def test_gamma_is_read_from_the_tensor_of_the_step(tmp_path, recorded):
    trainer_of(MODELS["ldlm, short warm-up"](), tmp_path, True).fit(quiet=True)
    found = [line["gamma"] for line in read_metrics(tmp_path / "metrics.jsonl")]
    assert found == [round(gamma(step, 7).item(), 5) for step in range(12)]
    assert found[0] == 0.001 and found[-1] == 1.0 and sorted(found) == found


class Counting(GPT):
    """A GPT with a schedule in Python, which a graph cannot see."""

    count = 0

    def losses(self, tokens, *, step, rng) -> Losses:
        self.count += 1
        return Losses({"counted": super().losses(tokens, step=step, rng=rng).total * self.count})


class Looking(GPT):
    """A GPT that looks at the value of a tensor in each step."""

    def losses(self, tokens, *, step, rng) -> Losses:
        losses = super().losses(tokens, step=step, rng=rng)
        return losses if losses.total.item() > 0 else Losses({})


class Spoiled(GPT):
    """A GPT whose loss is not finite from step 5 on."""

    def losses(self, tokens, *, step, rng) -> Losses:
        total = super().losses(tokens, step=step, rng=rng).total
        late = torch.as_tensor(step) >= 5
        return Losses({"spoiled": total * torch.where(late, torch.nan, 1.0)})


def small(model_type: type[GPT]) -> GPT:
    torch.manual_seed(0)
    return model_type(GPTConfig(tiny.VOCAB_SIZE, tiny.LENGTH, 16, 2, 1))


def test_what_is_no_tensor_stands_still(tmp_path, recorded):
    """So the stand-in is as strict as a CUDA graph: it would find a schedule that is not in tensors."""
    model = small(Counting)
    trainer_of(model, tmp_path, True).fit(quiet=True)
    assert model.count == 4  # three runs before the capture, and the capture


def test_a_model_that_waits_for_the_device_is_refused(tmp_path, recorded):
    trainer = trainer_of(small(Looking), tmp_path, True)
    with pytest.raises(
        UserError, match=r"cannot be captured as a CUDA graph \(.*_local_scalar_dense"
    ):
        trainer.fit(quiet=True)


def test_what_is_not_finite_is_refused_before_it_is_saved(tmp_path, recorded):
    """Between lines nothing is waited for; the step that is named is that of the line."""
    trainer = trainer_of(small(Spoiled), tmp_path, True, log_every=100)
    with pytest.raises(UserError, match=r"the loss term spoiled is nan at step 7: the batch is in"):
        trainer.fit(quiet=True)
    assert [p.name for p in steps_saved(tmp_path)] == ["step_0000004"]
    saved = load_file(steps_saved(tmp_path)[0] / "model.safetensors")
    assert all(torch.isfinite(x).all() for x in saved.values())
    batch = load_file(tmp_path / "bad_batch.safetensors")["tokens"]
    assert torch.equal(batch, trainer.batches.at(7))


@pytest.mark.parametrize("model_type", ["gpt", "ldlm", "running", "manta, blocks"])
def test_a_stopped_run_goes_on_exactly(model_type, tmp_path, recorded):
    trainer_of(MODELS[model_type](), tmp_path / "whole", True).fit(tiny.score, quiet=True)
    stop_at(trainer_of(MODELS[model_type](), tmp_path / "run", True), 6)
    again = trainer_of(MODELS[model_type](), tmp_path / "run", True)
    assert again.resume() and again.step == 4
    again.fit(tiny.score, quiet=True)
    assert_same(tmp_path / "run", tmp_path / "whole")


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU with CUDA")
@pytest.mark.parametrize("model_type", MODELS)
def test_on_a_gpu_too(model_type, tmp_path):
    """Twenty steps with and without a graph, by the norm of the difference against that of the way that the weights went.

    Both run the same kernels on the same random numbers; only sums by atomic additions may be ordered otherwise, which
    changes a gradient by about 1e-7 of its size. On the CPU such changes moved the weights by 1e-6 (GPT) to 1e-2 (Manta-LM
    with data prediction, many of whose gradients are nearly zero, and AdamW divides by their size) of their way, whereas
    noise or batches that stand still moved them by 0.06 to 0.8, and the step that gamma reads by 0.1.
    """
    start, found = MODELS[model_type]().state_dict(), []
    for graph in (False, True):
        run = tmp_path / str(graph)
        context = DistributedContext(device=CUDA)
        trainer_of(MODELS[model_type](), run, graph, context, steps=20, save_every=20).fit(
            quiet=True
        )
        found.append(load_file(run / "step_0000020" / "model.safetensors"))
    plain, replayed = found

    def distance(a: dict, b: dict) -> float:
        return sum((a[k].double() - b[k].double()).square().sum().item() for k in plain) ** 0.5

    assert distance(plain, replayed) <= TOLERANCE * distance(plain, start)
