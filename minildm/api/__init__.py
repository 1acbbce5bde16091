"""The public functions: draw texts from a trained model, train one, and measure one."""

from dataclasses import dataclass, replace
from pathlib import Path

import torch
from jaxtyping import Int
from torch import Tensor

from ..models.generation import GenerationConfig
from ..pretrained import Loaded, load
from ..sampling import Sampler
from ..text.nearest import legal
from ..tokens import BOS
from ..training.distributed import join, leave
from ..training.runs import Run
from .limits import check_writes, device
from .measuring import measured
from .training import fit, prepare


@dataclass(frozen=True)
class Sample:
    """Texts drawn from a model."""

    texts: list[str]
    tokens: Int[Tensor, "count length"]
    nfe: int  # function evaluations of the network
    seconds: float


def sample(
    model: Loaded,
    prompt: str = "",
    count: int = 1,
    *,
    steps: int | None = None,
    seed: int = 0,
    config: GenerationConfig = GenerationConfig(),
) -> Sample:
    """Draw texts from a trained model.

    Args:
        model: From `load`.
        prompt: How each text begins, in words that the tokenizer has.
        count: Number of texts.
        steps: Solver steps; by default those of `config`, or as the model does by default.
        seed: Of all random numbers; one seed gives one set of texts on a machine.
        config: How texts are drawn: solver, temperature, length and more.

    Returns:
        A `Sample`.

    Raises:
        UserError: On words that the tokenizer does not have, and on what the model cannot do.
    """
    check_writes(model.model)
    if steps is not None:
        config = replace(config, steps=steps)
    given = None
    if prompt:
        ids = model.tokenizer.encode(legal(prompt, model.tokenizer))
        given = torch.tensor([[BOS, *ids]], device=device())
    sampler = Sampler(model.model.to(device()), config)
    drawn = sampler(count, rng=torch.Generator(device()).manual_seed(seed), prompt=given)
    tokens = drawn.tokens.cpu()
    texts = [model.tokenizer.decode(row) for row in tokens.tolist()]
    return Sample(texts, tokens, drawn.nfe, drawn.seconds)


def train(run: Run, out: str | Path, quiet: bool = False) -> Loaded:
    """Train a model on a corpus, or go on from the last checkpoint in the folder of its run.

    Args:
        run: The configurations of model, training and corpus; `find_run` has those of the book.
        out: Folder of the run.
        quiet: Whether to show no progress bar and no text.

    Returns:
        The trained model, its weights averaged over the steps.

    Raises:
        UserError: On configurations that no model can have, a corpus that cannot be read, and a
            folder that cannot be written or has a run of another configuration.
    """
    context = join()
    quiet = quiet or context.rank > 0
    try:
        trainer, corpus = prepare(run, out, context, quiet, f"minildm.train({run}, {str(out)!r})")
        trainer.resume()
        fit(trainer, corpus, quiet)
    finally:
        leave()
    return load(out)


def evaluate(
    model: str | Path,
    count: int = 512,
    seeds: int = 3,
    *,
    config: GenerationConfig = GenerationConfig(),
) -> dict:
    """Measure what a model writes, over several seeds, and what it knows of held-out texts.

    Args:
        model: A model of the zoo, or the folder of a run or a checkpoint.
        count: Texts a seed.
        seeds: How many, from 0.
        config: How texts are drawn: solver, steps, length and more.

    Returns:
        The scorecard: "mean" and "spread" over seeds, "rows", one a seed, and "held_out".

    Raises:
        UserError: On an unknown model, what it cannot do, and a corpus that has changed.
    """
    return measured(load(model), str(model), count, seeds, config)
