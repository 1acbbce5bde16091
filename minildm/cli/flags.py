"""Flags of `minildm train`, made from the registry; presets and sizes set their defaults."""

import argparse
import inspect
import io
import tokenize
from dataclasses import dataclass, field, fields, make_dataclass
from functools import cache
from typing import Annotated, Any, Literal

import tyro

from ..errors import UserError
from ..models.registry import MODEL_TYPES, ModelType
from ..training.config import TrainConfig
from ..training.presets import find_run, foundation_of
from ..training.renamed import RENAMED_FIELDS, RENAMED_GENERATION
from ..training.runs import CorpusConfig, Run
from .parsing import parse_flags

INDENT = 4  # of the fields of a class
OF_THE_CORPUS = ("vocab_size", "seq_len")  # sizes that no flag of a model sets
KEPT = ("--length",)  # flags of the command that are called like fields of before


@dataclass(frozen=True)
class TrainFlags:
    """Train a model on a corpus. A run stopped at any moment goes on from its last checkpoint."""

    preset: str | None = None  # a run of the book: TYPE-tales, TYPE-cpu, ...; flags change it
    size: Literal["nano", "micro", "small", "base"] | None = None  # or a size, by default nano
    corpus: str = "tales"  # tales, tales:EVENTS, pydocs, kjv, file:PATH or hub:NAME
    length: int = 64  # tokens a text
    vocab_size: int = 512  # of a tokenizer trained on the corpus; Tales have their own words
    documents: int = 100_000  # how many of a corpus that has no end
    pack: bool = False  # join documents and cut full rows, else a document is a row where all fit
    weights: str = ""  # begin with the weights of this run or model of the zoo
    out: str = ""  # folder of the run, by default runs/NAME of the preset or size
    quiet: bool = False  # no progress bar and no sample text
    train: TrainConfig = field(default_factory=TrainConfig)
    model: Any = None


@cache
def comments(flags: type) -> dict[str, str]:
    """The comments behind the fields of a dataclass and of those it inherits from."""
    found: dict[str, str] = {}
    for base in reversed(flags.__mro__[:-1]):
        name = ""
        source = inspect.cleandoc(inspect.getsource(base))
        for token in tokenize.generate_tokens(io.StringIO(source).readline):
            if token.type == tokenize.NAME and token.start[1] == INDENT:
                name = token.string
            elif token.type == tokenize.COMMENT:
                found[name] = token.string.removeprefix("#").strip()
    return found


def documented(text: str, flags: type) -> dict[str, str]:
    """The docstring of a class of flags: a text, and what the comments say of each field."""
    lines = [f"    {name}: {comment}" for name, comment in comments(flags).items() if name]
    return {"__doc__": "\n".join([text, "", "Args:", *lines])}


def model_flags(entry: ModelType) -> type:
    """The configuration of a model type as flags, but for what its corpus and foundation decide."""
    decided = OF_THE_CORPUS + (entry.foundation.fields if entry.foundation else ())
    hidden = [
        (each.name, tyro.conf.Suppress[each.type], each)
        for each in fields(entry.config)
        if each.name in decided
    ]
    text = f"Sizes of {entry.model.title}; its vocabulary and length are those of the corpus"
    if entry.foundation:
        text += f", {' and '.join(entry.foundation.fields)} those of --{entry.foundation.flag}"
    name = f"{entry.model.__name__}Flags"
    namespace = documented(f"{text}.", entry.config)
    return make_dataclass(name, hidden, bases=(entry.config,), frozen=True, namespace=namespace)


@cache
def train_flags(model_type: str) -> tuple[type, type]:
    """The flags of `minildm train TYPE`, and those of them that are the model's."""
    entry = MODEL_TYPES[model_type]
    sizes = model_flags(entry)
    own: list[tuple[str, Any, Any]] = [("model", sizes, field(default_factory=sizes))]
    text = f"Train {entry.model.title} on a corpus. "
    text += "A run stopped at any moment goes on from its last checkpoint."
    foundation = entry.foundation
    if foundation:
        text += (
            f"\n\n{foundation.title.capitalize()} of Tales is {foundation.default}.\n\n"
            f"For another corpus {foundation.advice}."
        )
        annotated = Annotated[str, tyro.conf.arg(help=foundation.help)]
        own.append((foundation.flag, annotated, foundation.default))
    name = f"Train{entry.model.__name__}"
    namespace = documented(text, TrainFlags)
    flags = make_dataclass(name, own, bases=(TrainFlags,), frozen=True, namespace=namespace)
    return flags, sizes


def defaults(model_type: str, run: Run, name: str) -> TrainFlags:
    """The flags that stand for a run of the presets."""
    flags, sizes = train_flags(model_type)
    foundation = MODEL_TYPES[model_type].foundation
    return flags(
        corpus=run.corpus.name,
        length=run.model.seq_len,
        vocab_size=run.corpus.vocab_size,
        documents=run.corpus.documents,
        pack=run.corpus.pack,
        out=f"runs/{name}",
        train=run.train,
        model=sizes(**vars(run.model)),
        **({foundation.flag: foundation_of(run)} if foundation else {}),
    )


def run_of(model_type: str, flags: Any) -> Run:
    """The run that flags ask for."""
    entry = MODEL_TYPES[model_type]
    return Run(
        entry.config(**(vars(flags.model) | {"seq_len": flags.length})),
        flags.train,
        CorpusConfig(flags.corpus, flags.vocab_size, flags.pack, flags.documents),
        getattr(flags, entry.foundation.flag) if entry.foundation else "",
        flags.weights,
    )


def refuse_old(argv: list[str]) -> None:
    """Answer a flag of before with the one of today."""
    for given in (word.partition("=")[0] for word in argv):
        place, dot, name = given.replace("_", "-").rpartition(".")
        name = name.removeprefix("--").replace("-", "_")
        if given in KEPT or place not in ("", "--model", "--model.space"):
            continue
        if place and name in RENAMED_GENERATION:
            today = f"--model.generation.{RENAMED_GENERATION[name]}"
        elif name in RENAMED_FIELDS and (place or name == "vocabulary"):
            today = f"{place}{dot}{'' if place else '--'}{RENAMED_FIELDS[name]}"
        else:
            continue
        raise UserError(f"{given} is now called {today.replace('_', '-')}")


def parse(argv: list[str]) -> tuple[str, Any]:
    """The model type and the flags that a command line asks for."""
    if not argv or argv[0] not in MODEL_TYPES:
        if argv and argv[0] in ("-h", "--help"):
            print(f"usage: minildm train {'|'.join(MODEL_TYPES)} [--help] ...")
            raise SystemExit(0)
        raise UserError(f"say what to train: minildm train {'|'.join(MODEL_TYPES)}")
    model_type, *rest = argv
    refuse_old(rest)
    first = argparse.ArgumentParser(add_help=False, allow_abbrev=False, exit_on_error=False)
    first.add_argument("--preset", nargs="?")
    first.add_argument("--size", nargs="?")
    chosen = first.parse_known_args(rest)[0]
    run = find_run(model_type, chosen.preset, chosen.size)
    name = chosen.preset or f"{model_type}-{chosen.size or 'nano'}"
    return model_type, parse_flags(
        train_flags(model_type)[0],
        rest,
        f"minildm train {model_type}",
        default=defaults(model_type, run, name),
        config=(tyro.conf.FlagCreatePairsOff,),
    )
