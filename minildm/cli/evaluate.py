"""`minildm evaluate`: the scorecard of a trained model, as JSON and as lines with names and units."""

import json
import os
import sys
from dataclasses import dataclass
from pathlib import Path

import torch
import tyro
from tqdm import tqdm

from ..errors import UserError, expand, write_atomically
from ..evaluation.diversity import training_grams
from ..evaluation.likelihood import held_out
from ..evaluation.provenance import provenance
from ..evaluation.report import errors, lines
from ..evaluation.scorecard import COPIES, REPEATS, scorecard
from ..models.base import Generation
from ..models.vae import VAE
from ..text.corpora import load_corpus
from ..text.tokenizers import Tokenizer, WordTokenizer
from ..training.zoo import load, publish
from .parsing import parse_flags
from .writing import PATIENCE, Solver, check_file, device, writer

READ = 100_000  # training rows in which copies are looked up
HELD_OUT = 2048  # validation rows


@dataclass(frozen=True)
class EvaluateFlags:
    """Measure what a trained model writes, over several seeds, and what it knows of texts it has
    not seen.
    """

    model: tyro.conf.Positional[str]  # a model of the zoo, or the folder of a run or a checkpoint
    count: int = 512  # texts a seed
    seeds: int = 3  # how many seeds, from 0
    steps: int | None = (
        None  # solver steps, by default 32, and of a masked model as many as there are tokens
    )
    solver: Solver | None = (
        None  # ancestral; masked confidence, margin; LDLM ddim, euler, heun; Manta euler, drawn, paced
    )
    length: int | None = None  # longest text in tokens, by default that of training
    temperature: float | None = (
        None  # of the law over words, or of an LDLM's noise; by default the model's own, else 1
    )
    top_p: float | None = (
        None  # of a GPT and a masked model: draw from the most probable words that have this mass
    )
    lag: float | None = (
        None  # of a Manta-LM: how far the rear of a text is behind its front, by default its own; 0: together
    )
    entropy_bound: float | None = (
        None  # of a Manta-LM's solver paced: nats of words drawn at one look, by default its own
    )
    out: Path | None = (
        None  # the JSON file, by default scorecard.json in the run's folder or runs/MODEL.json
    )
    publish: str | None = (
        None  # put the run into the zoo under this name, with these scores in its card
    )


def evaluate(flags: EvaluateFlags) -> tuple[dict, Tokenizer]:
    """The scorecard of a model with its figures on held-out texts, and the model's tokenizer."""
    if flags.count < 1 or flags.seeds < 1:
        raise UserError(
            f"{flags.count} texts of {flags.seeds} seeds are no sample: give at least 1 of each"
        )
    loaded = load(flags.model)
    names = ("steps", "solver", "length", "temperature", "top_p", "lag", "entropy_bound")
    asked = {name: getattr(flags, name) for name in names}
    if not isinstance(loaded.model, VAE):
        write = writer(loaded, **asked)
    elif any(value is not None for value in asked.values()):
        raise UserError(
            f"a VAE writes no texts, so only what it rebuilds is measured: leave out --{', --'.join(asked)}"
        )
    config, tokenizer = loaded.card["config"], loaded.tokenizer
    if "corpus" not in config:
        raise UserError(
            f"the card of {flags.model} names no corpus to measure it on: train it with `minildm train`"
        )
    source = config["corpus"]
    corpus = load_corpus(
        corpus_name(source["name"], Path(flags.model)),
        config["model"]["length"],
        pack=source["pack"],
        documents=source["documents"],
        tokenizer=None if isinstance(tokenizer, WordTokenizer) else tokenizer,
        quiet=not sys.stderr.isatty(),
    )
    if loaded.card["corpus"]["sha256"] != corpus.card["sha256"]:
        raise UserError(
            f"the corpus {source['name']} has changed since {flags.model} was trained on it: train it again"
        )
    tales = source["name"].partition(":")[0] == "tales"
    origin = {
        "model": flags.model,
        "kind": loaded.card["kind"],
        "corpus": source["name"],
        "dtype": "float32",
        "scorer": "exact law of Tales" if tales else "none",
        **asked,
        "training_rows_searched": min(READ, len(corpus.train)),
        **provenance(device()),
    }
    if isinstance(loaded.model, VAE):
        card = {"origin": origin}
    else:
        training = training_grams(corpus.train[:READ], COPIES, tokenizer.size)
        with tqdm(
            desc="texts",
            total=flags.count * flags.seeds + REPEATS,
            delay=PATIENCE,
            leave=False,
            disable=None,
        ) as bar:

            def counted(count: int, rng: torch.Generator) -> Generation:
                made = write(count, rng)
                bar.update(count)
                return made

            card = scorecard(
                counted,
                tokenizer,
                tales=tales,
                training=training,
                count=flags.count,
                seeds=flags.seeds,
                device=device(),
                origin=origin,
            )
    card["held_out"] = held_out(loaded.model, tokenizer, source["name"], corpus.valid[:HELD_OUT])
    card["missing"] = loaded.missing
    return card, tokenizer


def corpus_name(name: str, run: Path) -> str:
    """The name of a run's corpus; a file whose path is relative is looked for here, then in the
    folders above the run.
    """
    kind, _, path = name.partition(":")
    if kind == "file" and not os.path.exists(expand(path)):
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
            f"{name}: {flags.count} texts of each of {flags.seeds} seeds, mean ± standard deviation over seeds"
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
