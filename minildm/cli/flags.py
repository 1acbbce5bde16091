"""Flags of `minildm train`, generated from the configurations; presets and sizes set their
defaults.
"""

import argparse
from dataclasses import dataclass, field
from typing import Literal

import tyro

from ..errors import UserError
from ..models.gpt import GPTConfig
from ..models.ldlm import LDLMConfig
from ..models.manta_config import MantaConfig
from ..models.masked import MaskedConfig
from ..models.vae import VAEConfig
from ..training.loop import TrainConfig
from ..training.presets import KINDS, Run, find_run
from .parsing import parse_flags


@dataclass(frozen=True)
class GPTFlags(GPTConfig):
    """Sizes of the GPT; its vocabulary and length are those of the corpus."""

    vocabulary: tyro.conf.Suppress[int] = 0
    length: tyro.conf.Suppress[int] = 0


@dataclass(frozen=True)
class MaskedFlags(MaskedConfig):
    """Sizes of the masked diffusion model; its vocabulary and length are those of the corpus."""

    vocabulary: tyro.conf.Suppress[int] = 0
    length: tyro.conf.Suppress[int] = 0


@dataclass(frozen=True)
class LDLMFlags(LDLMConfig):
    """Sizes of the LDLM; its vocabulary and length are those of the corpus, its states those of
    --frozen.
    """

    vocabulary: tyro.conf.Suppress[int] = 0
    length: tyro.conf.Suppress[int] = 0
    frozen: tyro.conf.Suppress[str] = ""
    hidden: tyro.conf.Suppress[int] = 0


@dataclass(frozen=True)
class VAEFlags(VAEConfig):
    """Sizes of the VAE; its vocabulary and length are those of the corpus."""

    vocabulary: tyro.conf.Suppress[int] = 0
    length: tyro.conf.Suppress[int] = 0


@dataclass(frozen=True)
class MantaFlags(MantaConfig):
    """Sizes of the Manta-LM; its vocabulary and length are those of the corpus, its space that of
    --vae.
    """

    vocabulary: tyro.conf.Suppress[int] = 0
    length: tyro.conf.Suppress[int] = 0
    space: tyro.conf.Suppress[VAEConfig] = field(default_factory=VAEConfig)


@dataclass(frozen=True)
class TrainFlags:
    """Train a model on a corpus. A run stopped at any moment goes on from its last checkpoint."""

    preset: str | None = (
        None  # a run of the book: KIND-tales, KIND-brief, ldlm-matched; other flags change its values
    )
    size: Literal["nano", "micro", "small", "base"] | None = (
        None  # or a point on the scale dial, by default nano
    )
    corpus: str = "tales"  # tales, tales:EVENTS, pydocs, kjv, file:PATH (UTF-8, a document a paragraph) or hub:NAME
    length: int = 64  # tokens a text
    vocabulary: int = (
        512  # entries of a tokenizer trained on the corpus; Tales have their own words
    )
    documents: int = 100_000  # how many of a corpus that has no end
    pack: bool = False  # join documents and cut full rows, else a document is a row where all fit
    weights: str | None = (
        None  # begin with the weights of this run or model of the zoo, for another round
    )
    out: str = ""  # folder of the run, by default runs/NAME of the preset or size
    quiet: bool = False  # no progress bar and no sample text
    train: TrainConfig = field(default_factory=TrainConfig)


@dataclass(frozen=True)
class TrainGPT(TrainFlags):
    """Train a GPT on a corpus. A run stopped at any moment goes on from its last checkpoint."""

    model: GPTFlags = field(default_factory=GPTFlags)


@dataclass(frozen=True)
class TrainMasked(TrainFlags):
    """Train a masked diffusion model on a corpus. A run stopped at any moment goes on from its last
    checkpoint.
    """

    model: MaskedFlags = field(default_factory=MaskedFlags)


@dataclass(frozen=True)
class TrainLDLM(TrainFlags):
    """Train an LDLM on a corpus, on the states of a frozen language model that reads the same
    tokens.

    Tales have zoo:gpt-brief. For another corpus train a GPT on it first and name its run, or take
    hub:NAME or minilm.
    """

    frozen: str = (
        "zoo:gpt-brief"  # zoo:NAME, the folder of a GPT's run, hub:NAME, hub:PATH or minilm
    )
    model: LDLMFlags = field(default_factory=LDLMFlags)


@dataclass(frozen=True)
class TrainVAE(TrainFlags):
    """Train a VAE on a corpus, the latent space of a Manta-LM. A run stopped at any moment goes on
    from its last checkpoint.
    """

    model: VAEFlags = field(default_factory=VAEFlags)


@dataclass(frozen=True)
class TrainManta(TrainFlags):
    """Train a Manta-LM on a corpus, in the latent space of a VAE that was trained on the same
    words.

    Tales have zoo:vae-tales. For another corpus train a VAE on it first and name its run.
    """

    vae: str = "zoo:vae-tales"  # zoo:NAME or the folder of a VAE's run
    model: MantaFlags = field(default_factory=MantaFlags)


FLAGS = {
    "gpt": (TrainGPT, GPTFlags),
    "masked": (TrainMasked, MaskedFlags),
    "ldlm": (TrainLDLM, LDLMFlags),
    "vae": (TrainVAE, VAEFlags),
    "manta": (TrainManta, MantaFlags),
}


def defaults(run: Run, name: str) -> TrainFlags:
    """The flags that stand for a run of the presets."""
    common = dict(
        corpus=run.corpus.name,
        length=run.model.length,
        vocabulary=run.corpus.vocabulary,
        documents=run.corpus.documents,
        pack=run.corpus.pack,
        out=f"runs/{name}",
        train=run.train,
    )
    if run.kind == "ldlm":
        common["frozen"] = run.model.frozen
    flags, sizes = FLAGS[run.kind]
    return flags(**common, model=sizes(**vars(run.model)))


def parse(argv: list[str]) -> tuple[str, TrainFlags]:
    """The kind of model and the flags that a command line asks for."""
    if not argv or argv[0] not in KINDS:
        if argv and argv[0] in ("-h", "--help"):
            print(f"usage: minildm train {'|'.join(KINDS)} [--help] ...")
            raise SystemExit(0)
        raise UserError(f"say what to train: minildm train {'|'.join(KINDS)}")
    kind, *rest = argv
    first = argparse.ArgumentParser(add_help=False, allow_abbrev=False, exit_on_error=False)
    first.add_argument("--preset", nargs="?")
    first.add_argument("--size", nargs="?")
    chosen = first.parse_known_args(rest)[0]
    run = find_run(kind, chosen.preset, chosen.size)
    name = chosen.preset or f"{kind}-{chosen.size or 'nano'}"
    return kind, parse_flags(
        FLAGS[kind][0],
        rest,
        f"minildm train {kind}",
        default=defaults(run, name),
        config=(tyro.conf.FlagCreatePairsOff,),
    )
