"""Where an LDLM loses track of which character is which, trained for an hour or on a GPU.

`start`: held-out tales are noised to where a text is after a fraction of the steps, and written on
from there. `guidance`: the self-condition c counts for more, in two evaluations a step,

    z_hat = f(z_t, t, c) + scale (f(z_t, t, c) - f(z_t, t, 0))

`temperature`: that of the noise in ancestral steps, which is otherwise the model's own.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, cast

import torch
from torch import Tensor

from ..evaluation.diversity import distinct
from ..evaluation.scorecard import validity
from ..models.generation import GenerationConfig
from ..models.ldlm import LDLM
from ..pretrained import Loaded, load
from ..sampling.sampler import Sampler
from ..text.batches import tensor
from ..text.corpora import load_corpus
from ..text.tales_parser import parse
from .common import generator
from .record import Record

STEPS = 32
SEEDS = 3
PARTS = {  # part -> values
    "start": (0.0, 0.2, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9),  # fractions of the steps
    "temperature": (1.0, 0.8, 0.6, 0.5, 0.4, 0.2),
    "guidance": (0.0, 0.25, 0.5, 1.0, 2.0),  # scales
}
MODELS = {"ldlm-cpu": tuple(PARTS), "ldlm-tales": ("start", "temperature")}


@contextmanager
def self_condition_guidance(model: LDLM, scale: float) -> Iterator[None]:
    """Inside, what the self-condition changes in a prediction counts 1 + scale times."""
    denoise = model.denoise

    def guided(zt: Tensor, t: Tensor, c: Tensor) -> Tensor:
        with_condition = denoise(zt, t, c)
        return with_condition + scale * (with_condition - denoise(zt, t, torch.zeros_like(c)))

    if scale:
        model.denoise = guided
    try:
        yield
    finally:
        model.__dict__.pop("denoise", None)


def duplicate_names(texts: list[str]) -> float:
    """The fraction of texts whose opening calls two characters by one name."""
    found = [any("two characters" in e.message for e in parse(text).errors) for text in texts]
    return sum(found) / len(texts)


def measure(loaded: Loaded, part: str, value: float, seed: int, truth: Tensor) -> dict[str, Any]:
    """Validity, variety and likeness to the true tales of texts of one row."""
    begun = part == "start" and value > 0
    config = GenerationConfig(
        steps=STEPS,
        start=value if begun else 0.0,
        temperature=value if part == "temperature" else None,
    )
    with self_condition_guidance(cast(LDLM, loaded.model), value if part == "guidance" else 0.0):
        sampler = Sampler(loaded.model, config)
        prompt = truth if begun else None
        tokens = sampler(len(truth), rng=generator(seed), prompt=prompt).tokens
    texts = [loaded.tokenizer.decode(row) for row in tokens.tolist()]
    found = {k: score for k, score in validity(texts).items() if k != "exact_nats_per_token"}
    return {
        **found,
        "error_duplicate_names": duplicate_names(texts),
        "distinct_4": distinct(tokens.numpy(), 4, loaded.tokenizer.size),
        "tokens_kept": (tokens == truth).float().mean().item(),
    }


def run(out: Path = Path("runs/ch12_entity_binding.json"), count: int = 128) -> None:
    """Where an LDLM loses track of which character is which, and what guidance helps.

    Args:
        out: File of the record.
        count: Tales of each row.
    """
    record = Record(out, count=count, steps=STEPS)
    for name, parts in MODELS.items():
        loaded = load(name)
        length = loaded.model.config.seq_len
        tales = tensor(load_corpus("tales", length, documents=100_000).valid)
        for part in parts:
            for seed in range(SEEDS):
                truth = tales[seed * count : (seed + 1) * count]
                for value in PARTS[part]:
                    case = {"model": name, "part": part, "value": value, "seed": seed}
                    if case not in record:
                        record.add(case | measure(loaded, part, value, seed, truth))
