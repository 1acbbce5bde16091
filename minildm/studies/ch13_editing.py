"""Gaps, damage and guidance: what each model makes of tales that it has not seen.

Each model has 32 network evaluations a text, or what a GPT needs. What is cheap comes first;
posterior-mean guidance, which needs gradients, comes last.
"""

import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ..evaluation.editing import HIGH_NLL, damage, fill_from_left, gaps, outcome
from ..models.generation import GenerationConfig
from ..models.guidance import contains, is_met
from ..pretrained import Loaded, load
from ..sampling.sampler import Sampler
from ..text.batches import tensor
from ..text.corpora import load_corpus
from .common import generator, scores
from .record import Record

STEPS = 32
SEEDS = 3
AT_ONCE = 64  # texts
GAP = 0.3  # fraction of a tale's tokens
DAMAGE = 0.1  # fraction of a tale's tokens
PARTS = 8  # network evaluations of the self-check; the repair has the rest
STARTS = (0.4, 0.6, 0.8)  # fractions of the steps that a repair by noise keeps
WORDS = ("happy", "boat", "library")  # guidance targets, one a seed
SCALES = {"ancestral": (0.0, 1.0, 2.0), "entropy_bounded": (0.0, 0.25, 0.5, 1.0, 2.0)}
TEMPERATURES = {"ldlm-tales": (0.5, 0.0)}  # of an LDLM's noise
TOKEN_TEMPERATURES = (1.0, 0.5)  # of the other models' token probabilities
NUM_TRIES = 5  # drawings of a text that should contain a word


@dataclass(frozen=True)
class Case:
    """A model, held-out tales, and the seed of what is done to them."""

    name: str
    loaded: Loaded
    truth: Tensor
    seed: int

    @property
    def temperatures(self) -> tuple[float, float]:
        return TEMPERATURES.get(self.name, TOKEN_TEMPERATURES)

    @property
    def target_word(self) -> str:
        return WORDS[self.seed]

    @property
    def target_token(self) -> int:
        return self.loaded.tokenizer.encode(self.target_word)[0]

    def validity(self, tokens: Tensor) -> dict[str, float]:
        """Fractions of grammatical and of consistent texts."""
        found = scores(self.loaded.tokenizer, tokens)
        return {name: found[name] for name in ("grammatical", "consistent")}

    def hits(self, tokens: Tensor) -> float:
        """The fraction of texts that contain the target word."""
        texts = [self.loaded.tokenizer.decode(row) for row in tokens.tolist()]
        return sum(self.target_word in text.split() for text in texts) / len(texts)

    def draw(
        self,
        config: GenerationConfig,
        rng: torch.Generator,
        count: int,
        prompt: Tensor | None = None,
        observed: Tensor | None = None,
    ) -> Tensor:
        """The tokens of texts that the model writes, a few at a time."""
        sampler = Sampler(self.loaded.model, config)
        parts = []
        for i in range(0, count, AT_ONCE):
            rows = [None if x is None else x[i : i + AT_ONCE] for x in (prompt, observed)]
            size = min(AT_ONCE, count - i)
            parts.append(sampler(size, rng=rng, prompt=rows[0], observed=rows[1]).tokens)
        return torch.cat(parts)

    def fill(
        self, tokens: Tensor, observed: Tensor, steps: int, rng: torch.Generator, temperature: float
    ) -> Tensor:
        """The texts that the model makes of what is observed."""
        model = self.loaded.model
        if "observed" not in model.capabilities.options:
            return fill_from_left(model, tokens, observed, rng, temperature)
        config = GenerationConfig(steps=steps, temperature=temperature)
        return self.draw(config, rng, len(tokens), tokens, observed)


Rows = Iterator[dict[str, Any]]


def infilling(case: Case) -> Rows:
    """One gap in each tale."""
    hidden = gaps(case.truth, GAP, random.Random(case.seed))
    for temperature in case.temperatures:
        rng = generator(case.seed)
        tokens = case.fill(case.truth, ~hidden, STEPS, rng, temperature)
        same = (tokens == case.truth)[hidden].float().mean().item()
        yield {"temperature": temperature, **case.validity(tokens), "same": same}


def repair(case: Case) -> Rows:
    """Replaced tokens: all is noised and written anew, or only what surprises the model."""
    truth = case.truth
    broken = damage(truth, DAMAGE, case.loaded.tokenizer.size, random.Random(case.seed))

    def figures(tokens: Tensor) -> dict[str, float]:
        return {**case.validity(tokens), **outcome(broken, tokens, truth)}

    yield {"by": "nothing", **figures(broken)}
    if "start" in case.loaded.model.capabilities.options:
        for start in STARTS:
            config = GenerationConfig(steps=STEPS, start=start)
            tokens = case.draw(config, generator(case.seed), len(truth), broken)
            yield {"by": "noise", "start": start, **figures(tokens)}
    rng = generator(case.seed)
    surprising = case.loaded.model.token_nll(broken, rng, PARTS) > HIGH_NLL
    tokens = case.fill(broken, ~surprising, STEPS - PARTS, rng, min(case.temperatures))
    yield {
        "by": "self-check",
        "surprising": surprising.float().sum(1).mean().item(),
        "hit": surprising[broken != truth].float().mean().item(),
        **figures(tokens),
    }


def guided(case: Case, solver: str) -> Rows:
    """Texts that should contain a word, at all guidance scales of a solver."""
    for scale in SCALES[solver]:
        target = contains(case.target_token) if scale else None
        config = GenerationConfig(
            steps=STEPS, solver=solver, guidance_target=target, guidance_scale=scale or 1.0
        )
        tokens = case.draw(config, generator(case.seed), len(case.truth))
        hits = case.hits(tokens)
        yield {"word": case.target_word, "scale": scale, "hits": hits, **case.validity(tokens)}


def rejection(case: Case) -> Rows:
    """Texts drawn again until they contain the word, by a Manta-LM with reweighting and without."""
    target = contains(case.target_token)
    reweights = "entropy_bounded" in case.loaded.model.capabilities.solvers
    for scale in (0.0, 1.0) if reweights else (0.0,):
        config = GenerationConfig(guidance_target=target) if scale else GenerationConfig()
        rng = generator(case.seed)
        tokens = case.draw(config, rng, len(case.truth))
        drawn = len(tokens)
        for _ in range(NUM_TRIES - 1):
            missed = ~is_met(target, tokens, case.loaded.tokenizer.size)
            if not missed.any():
                break
            tokens[missed] = case.draw(config, rng, int(missed.sum()))
            drawn += int(missed.sum())
        row = {"word": case.target_word, "scale": scale, "num_tries": NUM_TRIES}
        texts = drawn / len(tokens)
        yield {**row, "texts": texts, "hits": case.hits(tokens), **case.validity(tokens)}


TASKS: dict[str, Callable[[Case], Rows]] = {
    "infilling": infilling,
    "repair": repair,
    "guidance": partial(guided, solver="ancestral"),
    "reweighting": partial(guided, solver="entropy_bounded"),
    "rejection": rejection,
}
ORDER = (
    ("infilling", "gpt-tales"),
    ("repair", "gpt-tales"),
    ("rejection", "gpt-tales"),
    ("infilling", "masked-tales"),
    ("repair", "masked-tales"),
    ("infilling", "manta-tales"),
    ("repair", "manta-tales"),
    ("reweighting", "manta-tales"),
    ("rejection", "manta-tales"),
    ("repair", "ldlm-tales"),
    ("infilling", "ldlm-tales"),
    ("guidance", "manta-tales"),
    ("guidance", "ldlm-tales"),
)


def run(
    out: Path = Path("runs/ch13_editing.json"),
    count: int = 512,
    only: tuple[str, ...] = tuple(TASKS),
) -> None:
    """How well each model fills gaps, repairs damage, and writes texts that contain a word.

    Args:
        out: File of the record.
        count: Tales of each row.
        only: Tasks among infilling, repair, guidance, reweighting and rejection.
    """
    record = Record(out, count=count)
    tales = load_corpus("tales", 64, documents=100_000).valid
    for task, name in ORDER:
        seeds = [
            seed
            for seed in range(SEEDS)
            if {"task": task, "model": name, "seed": seed} not in record
        ]
        if task not in only or not seeds:
            continue
        loaded = load(name)
        for seed in seeds:
            truth = tensor(tales[seed * count : (seed + 1) * count])
            rows = TASKS[task](Case(name, loaded, truth, seed))
            record.add(*({"task": task, "model": name, "seed": seed, **row} for row in rows))
