"""The public functions: draw texts from a trained model, train one, and measure one."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from jaxtyping import Int
from torch import Tensor

from .errors import UserError
from .models.generation import GenerationConfig
from .pretrained import Loaded, load
from .sampling import Sampler
from .text.nearest import legal
from .tokens import BOS


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
    from .cli.writing import check_writes

    check_writes(model.model)
    if steps is not None:
        config = replace(config, steps=steps)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    given = None
    if prompt:
        ids = model.tokenizer.encode(legal(prompt, model.tokenizer))
        given = torch.tensor([[BOS, *ids]], device=device)
    sampler = Sampler(model.model.to(device), config)
    drawn = sampler(count, rng=torch.Generator(device).manual_seed(seed), prompt=given)
    tokens = drawn.tokens.cpu()
    texts = [model.tokenizer.decode(row) for row in tokens.tolist()]
    return Sample(texts, tokens, drawn.nfe, drawn.seconds)


def train(
    model_type: str,
    corpus: str = "tales",
    out: str | Path = "",
    options: Mapping[str, object] | None = None,
) -> Loaded:
    """Train a model on a corpus, or go on from the last checkpoint in the folder of its run.

    Args:
        model_type: gpt, masked, ldlm, vae or manta.
        corpus: tales, tales:EVENTS, pydocs, kjv, file:PATH or hub:NAME.
        out: Folder of the run; by default runs/NAME of the preset or size.
        options: Other flags of `minildm train`, such as {"size": "micro", "train.steps": 500}.

    Returns:
        The trained model, its weights averaged over the steps.

    Raises:
        UserError: On options that there are not, and on a corpus that cannot be read.
    """
    from .cli import train as command
    from .cli.flags import parse

    given = {"corpus": corpus, **({"out": out} if out else {}), **(options or {})}
    argv = [model_type, *as_flags(given)]
    command.main(argv)
    return load(parse(argv)[1].out)


def evaluate(
    model: str | Path,
    count: int = 512,
    seeds: int = 3,
    options: Mapping[str, object] | None = None,
) -> dict:
    """Measure what a model writes, over several seeds, and what it knows of held-out texts.

    Args:
        model: A model of the zoo, or the folder of a run or a checkpoint.
        count: Texts a seed.
        seeds: How many, from 0.
        options: Other flags of `minildm evaluate`, such as {"steps": 11, "solver": "confidence"}.

    Returns:
        The scorecard: "mean" and "spread" over seeds, "rows", one a seed, and "held_out".

    Raises:
        UserError: On an unknown model, options that there are not, and a corpus that has changed.
    """
    from .cli.evaluate import EvaluateFlags
    from .cli.evaluate import evaluate as scorecard
    from .cli.parsing import parse_flags

    given = {"count": count, "seeds": seeds, **(options or {})}
    flags = parse_flags(EvaluateFlags, [str(model), *as_flags(given)], "minildm evaluate")
    return scorecard(flags)[0]


def as_flags(options: Mapping[str, object]) -> list[str]:
    """Options as flags of the command line: {"train.steps": 5, "quiet": True} is
    --train.steps 5 --quiet.
    """
    argv = []
    for name, value in options.items():
        flag = name.replace("_", "-")
        if isinstance(value, bool):
            *group, last = flag.split(".")
            argv.append("--" + ".".join([*group, last if value else f"no-{last}"]))
        elif isinstance(value, str | int | float | Path):
            argv += [f"--{flag}", str(value)]
        else:
            raise UserError(f"option {name} is {value!r}: give a text, a number, True or False")
    return argv
