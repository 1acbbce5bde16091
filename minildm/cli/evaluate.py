"""`minildm evaluate`: the scorecard of a trained model, as JSON and as lines with units."""

import json
import os
import sys
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
import tyro
from tqdm import tqdm

from ..errors import UserError, expand, write_atomically
from ..evaluation.diversity import training_grams
from ..evaluation.likelihood import held_out, is_tales
from ..evaluation.provenance import provenance
from ..evaluation.report import errors, lines
from ..evaluation.scorecard import COPIES, PART, REPEATS, Reference, scorecard
from ..models.base import Generation
from ..models.generation import GenerationConfig
from ..pretrained import Loaded, load, publish
from ..sampling import Sampler
from ..text.corpora import Corpus, load_corpus
from ..text.tokenizers import Tokenizer, WordTokenizer
from ..tokens import BOS
from .parsing import parse_flags
from .writing import PATIENCE, DrawingFlags, check_count, check_file, check_sizes, device

READ = 100_000  # training rows in which copies are looked up
HELD_OUT = 2048  # validation rows


@dataclass(frozen=True)
class EvaluateFlags(DrawingFlags):
    """Measure what a trained model writes over several seeds, and what it knows of new texts."""

    model: tyro.conf.Positional[str]  # a model of the zoo, or the folder of a run or a checkpoint
    count: int = 512  # texts a seed
    seeds: int = 3  # how many seeds, from 0
    out: Path | None = None  # JSON file: scorecard.json in the run's folder, or runs/MODEL.json
    publish: str | None = None  # put the run into the zoo under this name, with these scores


def read_corpus(flags: EvaluateFlags, loaded: Loaded) -> Corpus:
    """The corpus that a model was trained on."""
    config = loaded.card["config"]
    if "corpus" not in config:
        raise UserError(
            f"the card of {flags.model} names no corpus to measure it on: train it with "
            "`minildm train`"
        )
    source = config["corpus"]
    corpus = load_corpus(
        corpus_name(source["name"], Path(flags.model)),
        loaded.model.config.seq_len,
        pack=source["pack"],
        documents=source["documents"],
        tokenizer=None if isinstance(loaded.tokenizer, WordTokenizer) else loaded.tokenizer,
        quiet=not sys.stderr.isatty(),
    )
    if loaded.card["corpus"]["sha256"] != corpus.card["sha256"]:
        raise UserError(
            f"the corpus {source['name']} has changed since {flags.model} was trained on it: train "
            "it again"
        )
    return corpus


def check(flags: EvaluateFlags, loaded: Loaded) -> None:
    """Refuse samples without texts, and options of drawing for a model that draws none."""
    if flags.count < 1 or flags.seeds < 1:
        raise UserError(
            f"{flags.count} texts of {flags.seeds} seeds are no sample: give at least 1 of each"
        )
    title = loaded.model.title
    if flags.config != GenerationConfig() and not loaded.model.capabilities.writes:
        raise UserError(
            f"{title} writes no texts, so only what it rebuilds is measured: leave out the flags "
            "of drawing, such as --steps and --solver"
        )
    check_sizes(loaded.model, flags.config)


def evaluate(flags: EvaluateFlags) -> tuple[dict, Tokenizer]:
    """The scorecard of a model with its figures on held-out texts, and the model's tokenizer."""
    loaded = load(flags.model)
    check(flags, loaded)
    model = loaded.model.to(device())
    sampler = Sampler(model, flags.config)
    corpus = read_corpus(flags, loaded)
    name = loaded.card["config"]["corpus"]["name"]
    asked = {key: value for key, value in asdict(flags.config).items() if value is not None}
    origin = {
        "model": flags.model,
        "model_type": loaded.card["model_type"],
        "corpus": name,
        "dtype": "float32",
        "scorer": "exact distribution of Tales" if is_tales(name) else "none",
        **asked,
        "training_rows_searched": min(READ, len(corpus.train)),
        **provenance(device()),
    }
    card: dict[str, Any] = {"origin": origin}
    if model.capabilities.writes:
        card = scored(flags, sampler, corpus, loaded.tokenizer, origin)
    card["held_out"] = held_out(model, loaded.tokenizer, name, corpus.valid[:HELD_OUT])
    card["missing"] = loaded.missing
    return card, loaded.tokenizer


def scored(
    flags: EvaluateFlags, sampler: Sampler, corpus: Corpus, tokenizer: Tokenizer, origin: dict
) -> dict:
    """The scorecard, with a bar of the texts that are drawn."""
    check_count(min(flags.count, PART), sampler.config.length, tokenizer.size)
    total = flags.count * flags.seeds + REPEATS
    bar = tqdm(desc="texts", total=total, delay=PATIENCE, leave=False, disable=None)
    prompt = None if sampler.model.capabilities.latent else torch.tensor([[BOS]])

    def write(count: int, rng: torch.Generator) -> Generation:
        made = sampler(count, rng=rng, prompt=prompt)
        bar.update(count)
        return made

    training = training_grams(corpus.train[:READ], COPIES, tokenizer.size)
    with bar:
        return scorecard(
            write,
            Reference(tokenizer, is_tales(origin["corpus"]), training),
            count=flags.count,
            seeds=flags.seeds,
            device=device(),
            origin=origin,
        )


def corpus_name(name: str, run: Path) -> str:
    """The name of a run's corpus; a relative path is looked for here, then above the run."""
    source, _, path = name.partition(":")
    if source == "file" and not os.path.exists(expand(path)):
        found = [folder / path for folder in run.resolve().parents if os.path.isfile(folder / path)]
        return f"file:{found[0]}" if found else name
    return name


def main(argv: list[str]) -> None:
    """Measure, print, write, and publish if asked to."""
    flags = parse_flags(EvaluateFlags, argv, "minildm evaluate")
    folder = Path(flags.model)
    name = folder.resolve().name
    out = flags.out or (
        folder / "scorecard.json" if os.path.isdir(folder) else Path("runs", f"{name}.json")
    )
    check_file(out)
    card, tokenizer = evaluate(flags)
    if "mean" in card:
        print(
            f"{name}: {flags.count} texts of each of {flags.seeds} seeds, "
            "mean ± standard deviation over seeds"
        )
        print(
            "\n".join([*lines(card["mean"], tokenizer, card["spread"]), *errors(card["mean"])])
            + "\n"
        )
    print(f"{name}: held-out texts")
    print("\n".join(lines(card["held_out"], tokenizer)) or f"  not measured: {card['missing']}")
    write_atomically(out, lambda beside: beside.write_text(json.dumps(card, indent=1) + "\n"))
    print(f"\nwritten to {out}")
    if flags.publish:
        scores = {k: card[k] for k in ("mean", "spread", "held_out") if k in card}
        if "mean" in card:
            scores |= {"seeds": flags.seeds, "count": flags.count}
        print(f"published as {publish(folder, flags.publish, scores)}")
