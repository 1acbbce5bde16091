"""The scorecard of a trained model: what it writes over several seeds, and held-out texts."""

import os
import sys
from pathlib import Path
from typing import Any

import torch
from tqdm import tqdm

from ..errors import UserError, expand
from ..evaluation.diversity import training_grams
from ..evaluation.likelihood import held_out, is_tales
from ..evaluation.provenance import provenance
from ..evaluation.scorecard import COPIES, PART, REPEATS, Reference, scorecard
from ..models.base import Generation
from ..models.generation import GenerationConfig
from ..pretrained import Loaded
from ..sampling import Sampler
from ..text.corpora import Corpus, load_corpus
from ..text.tokenizers import WordTokenizer
from ..tokens import BOS
from .limits import check_count, check_sizes, device

READ = 100_000  # training rows in which copies are looked up
HELD_OUT = 2048  # validation rows
PATIENCE = 2.0  # seconds without a bar


def measured(
    loaded: Loaded, name: str, count: int, seeds: int, config: GenerationConfig
) -> dict[str, Any]:
    """The scorecard of a model, with its figures on held-out texts.

    Args:
        loaded: The model.
        name: Under which it was loaded.
        count: Texts of each seed.
        seeds: Number of seeds, from 0.
        config: How texts are drawn.

    Returns:
        "mean", "spread" and "rows" of a model that writes, "held_out", and "missing".

    Raises:
        UserError: On what the model cannot do, and a corpus that is not the one of its training.
    """
    check(loaded, count, seeds, config)
    model = loaded.model.to(device())
    sampler = Sampler(model, config)
    corpus = read_corpus(loaded, name)
    source = loaded.card["config"]["corpus"]["name"]
    origin = {
        "model": name,
        "model_type": loaded.card["model_type"],
        "corpus": source,
        "dtype": "float32",
        "scorer": "exact distribution of Tales" if is_tales(source) else "none",
        **{key: value for key, value in vars(config).items() if value is not None},
        "training_rows_searched": min(READ, len(corpus.train)),
        **provenance(device()),
    }
    card: dict[str, Any] = {"origin": origin}
    if model.capabilities.writes:
        check_count(min(count, PART), sampler.config.length, loaded.tokenizer.size)
        training = training_grams(corpus.train[:READ], COPIES, loaded.tokenizer.size)
        reference = Reference(loaded.tokenizer, is_tales(source), training)
        card = scored(sampler, reference, count, seeds, origin)
    card["held_out"] = held_out(model, loaded.tokenizer, source, corpus.valid[:HELD_OUT])
    card["missing"] = loaded.missing
    return card


def check(loaded: Loaded, count: int, seeds: int, config: GenerationConfig) -> None:
    """Refuse samples without texts, and options of drawing for a model that draws none."""
    if count < 1 or seeds < 1:
        raise UserError(f"{count} texts of {seeds} seeds are no sample: give at least 1 of each")
    if config != GenerationConfig() and not loaded.model.capabilities.writes:
        raise UserError(
            f"{loaded.model.title} writes no texts, so only what it rebuilds is measured: leave "
            "out the flags of drawing, such as --steps and --solver"
        )
    check_sizes(loaded.model, config)


def read_corpus(loaded: Loaded, name: str) -> Corpus:
    """The corpus that a model was trained on."""
    config = loaded.card["config"]
    if "corpus" not in config:
        raise UserError(
            f"the card of {name} names no corpus to measure it on: train it with `minildm train`"
        )
    source = config["corpus"]
    corpus = load_corpus(
        corpus_name(source["name"], Path(name)),
        loaded.model.config.seq_len,
        pack=source["pack"],
        documents=source["documents"],
        tokenizer=None if isinstance(loaded.tokenizer, WordTokenizer) else loaded.tokenizer,
        quiet=not sys.stderr.isatty(),
    )
    if loaded.card["corpus"]["sha256"] != corpus.card["sha256"]:
        raise UserError(
            f"the corpus {source['name']} has changed since {name} was trained on it: train "
            "it again"
        )
    return corpus


def corpus_name(name: str, run: Path) -> str:
    """The name of a run's corpus; a relative path is looked for here, then above the run."""
    source, _, path = name.partition(":")
    if source == "file" and not os.path.exists(expand(path)):
        found = [folder / path for folder in run.resolve().parents if os.path.isfile(folder / path)]
        return f"file:{found[0]}" if found else name
    return name


def scored(
    sampler: Sampler, reference: Reference, count: int, seeds: int, origin: dict[str, Any]
) -> dict[str, Any]:
    """The scorecard, with a bar of the texts that are drawn."""
    bar = tqdm(
        desc="texts", total=count * seeds + REPEATS, delay=PATIENCE, leave=False, disable=None
    )
    prompt = None if sampler.model.capabilities.latent else torch.tensor([[BOS]])

    def write(part: int, rng: torch.Generator) -> Generation:
        made = sampler(part, rng=rng, prompt=prompt)
        bar.update(part)
        return made

    with bar:
        return scorecard(write, reference, count=count, seeds=seeds, device=device(), origin=origin)
