"""What a receding horizon does to texts: the dial, lengths beyond training, and disturbances.

A policy over the latents of an LDLM draws tales with horizons from a few latents to more than the
whole text, each refined as often as 32 evaluations allow. Then it continues true tales to several
times the length of its training, and tales are disturbed half-way.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast

import torch
from jaxtyping import Int
from torch import Tensor

from ..evaluation.disturbances import Push, disturbed
from ..evaluation.scorecard import good_sentences
from ..models.generation import GenerationConfig
from ..models.horizon import HorizonLM
from ..pretrained import Loaded, load
from ..sampling.sampler import Sampler
from ..text import tales
from ..text.tales_parser import parse
from ..text.tokenizers import Tokenizer
from ..tokens import BOS, PAD
from .common import generator, scores
from .record import Record

MODEL = "manta-horizon-tales"
DIAL = ((8, 4), (16, 6), (32, 10), (64, 16), (128, 21))  # horizons and refinements
WARM = ((32, 10), (64, 16))  # those that are also drawn at temperature 1
TIMES = (1, 2, 4, 8)  # the length of training
EVENTS = 80  # of the tales that are continued, more than fit
SIZES = (0.5, 1.0, 2.0)  # of disturbances, in standard deviations of the latents
KEPT = ("grammatical", "consistent", "exact_nats_per_token", "error_entity", "error_species")


def written(loaded: Loaded, asked: dict[str, Any], seed: int, count: int) -> dict[str, Any]:
    """The scores of tales that are drawn in one way."""
    made = Sampler(loaded.model, GenerationConfig(**asked))(count, rng=generator(seed))
    found = scores(loaded.tokenizer, made.tokens)
    return {"nfe": made.nfe, **{key: found[key] for key in KEPT}}


def long_tales(tokenizer: Tokenizer, count: int, length: int) -> Int[Tensor, "count length"]:
    """The beginnings of tales that are not over after `length` tokens."""
    rows = torch.full((count, length), PAD)
    for row, text in zip(rows, tales.split("test", count, EVENTS)):
        row.copy_(torch.tensor([BOS, *tokenizer.encode(text)][:length]))
    return rows


def returned(loaded: Loaded, tokens: Int[Tensor, "b n"]) -> float:
    """The fraction of tokens that are the same after encoding and decoding."""
    model = cast(HorizonLM, loaded.model)
    read = model.decode_tokens(model.embed(tokens), tokens.shape[1])[0]
    return float((read == tokens).float().mean())


def sentences_and_events(tokenizer: Tokenizer, tokens: Int[Tensor, "b n"]) -> dict[str, float]:
    """The fraction of good sentences, and of events that contradict nothing before them."""
    texts = [tokenizer.decode(row) for row in tokens.tolist()]
    whole = [text[: text.rfind(".") + 1] for text in texts]
    reports = [parse(text) for text in whole]
    events = sum(report.events for report in reports)
    wrong = sum(e.type not in ("grammar", "ending") for r in reports for e in r.errors)
    return {
        "good_sentences": good_sentences(whole),
        "events": events / len(reports),
        "consistent_events": 1 - wrong / max(events, 1),
    }


def lengths(loaded: Loaded, seed: int, count: int) -> Iterator[dict[str, Any]]:
    """True tales, encoded and decoded, and continued from their first 48 tokens."""
    unit = loaded.model.config.seq_len
    for times in TIMES:
        given = long_tales(loaded.tokenizer, count, times * unit)
        sampler = Sampler(
            loaded.model, GenerationConfig(horizon=unit // 2, refinements=10, length=times * unit)
        )
        made = sampler(count, rng=generator(seed), prompt=given[:, : 3 * unit // 4])
        yield {
            "times": times,
            "nfe": made.nfe,
            "returned": returned(loaded, given),
            **sentences_and_events(loaded.tokenizer, made.tokens),
            "true": sentences_and_events(loaded.tokenizer, given),
        }


def pushed(loaded: Loaded, size: float, estimate: bool, seed: int, count: int) -> dict[str, Any]:
    """The scores of tales that are disturbed half-way, and go on by feedback or by replay."""
    sampler = Sampler(loaded.model, GenerationConfig(noise_estimate=estimate))
    found = disturbed(sampler, count, Push(size=size, moment=0.5), seed=seed)
    paths = {"undisturbed": found.plan, "feedback": found.closed, "replay": found.replayed}
    return {
        name: scores(loaded.tokenizer, path.tokens[-1])["grammatical"]
        for name, path in paths.items()
        if path.tokens is not None
    }


def run(
    out: Path = Path("runs/ch13_horizon.json"),
    model: str = MODEL,
    count: int = 512,
    seeds: int = 3,
    few: int = 32,
) -> None:
    """What a receding horizon does to texts: the dial, longer texts, and disturbances.

    Args:
        out: File of the record.
        model: In the zoo, or the folder of a run.
        count: Tales drawn in each way.
        seeds: Seeds of the default way; the others have one.
        few: Longer tales of each length, and a quarter of the tales that are disturbed.
    """
    loaded = load(model)
    record = Record(out, model=model, count=count, few=few)
    unit = loaded.model.config.seq_len
    ways = [(*way, 0.5) for way in DIAL] + [(*way, 1.0) for way in WARM]
    for horizon, refinements, temperature in ways:
        asked = {"horizon": horizon, "refinements": refinements, "temperature": temperature}
        for seed in range(seeds if horizon == unit else 1):
            case = {"what": "dial", **asked, "seed": seed}
            if case not in record:
                record.add(case | written(loaded, asked, seed, count))
    if {"what": "length"} not in record:
        record.add(*({"what": "length", **row} for row in lengths(loaded, 0, few)))
    for size in SIZES:
        for estimate in (True, False):
            case = {"what": "disturbance", "size": size, "estimate": estimate}
            if case not in record:
                record.add(case | pushed(loaded, size, estimate, 0, 4 * few))
