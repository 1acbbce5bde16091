"""`minildm train`: corpus, model and trainer out of flags; also under `torchrun`."""

import math
import shlex
from dataclasses import asdict, dataclass, fields, is_dataclass, replace
from pathlib import Path

import torch
from tqdm import tqdm

from ..errors import UserError
from ..evaluation.likelihood import miss, nats, reconstruction
from ..evaluation.provenance import provenance
from ..evaluation.scorecard import validity
from ..models.base import LanguageModel
from ..models.gpt import GPT
from ..models.ldlm import LDLM
from ..models.manta import Manta
from ..models.masked import Masked
from ..models.vae import VAE
from ..nets.frozen import FrozenEncoder
from ..text.batches import tensor
from ..text.corpora import Corpus, load_corpus
from ..text.tokenizers import Tokenizer, WordTokenizer
from ..training.checkpoint import config_card, fit, trained_state
from ..training.distributed import Ranks, join, leave
from ..training.loop import Trainer
from ..training.presets import CorpusConfig
from ..training.zoo import load, load_frozen, load_space
from .flags import TrainFlags, parse

LEAST = {"layer": -math.inf, "encoder_layers": 0, "warmup": 0, "told_first": 0}  # of counts that may be below 1
WATCHED = 256  # validation rows looked at during training
WRITTEN = 32  # texts written during training
CALIBRATED = 2048  # training rows that set the scale of frozen states


@dataclass(frozen=True)
class Pretrained:
    """What a new model stands on: a frozen encoder or a VAE, the tokenizer it reads with, its name, and how to get another."""

    model: FrozenEncoder | VAE | None = None
    tokenizer: Tokenizer | None = None
    name: str = ""
    advice: str = ""


def find_pretrained(kind: str, flags: TrainFlags) -> Pretrained:
    """The frozen encoder of an LDLM, the VAE of a Manta-LM, or nothing."""
    if kind == "ldlm":
        return Pretrained(*load_frozen(flags.frozen, flags.model.layer), f"the frozen model {flags.frozen}",
                          "train a GPT on that corpus and give its run as --frozen, or give hub:NAME or minilm")
    if kind == "manta":
        return Pretrained(*load_space(flags.vae), f"the VAE {flags.vae}",
                          "train a VAE on that corpus and give its run as --vae")
    return Pretrained()


def read_corpus(flags: TrainFlags, base: Pretrained) -> Corpus:
    """The corpus that the flags name, in the tokens of the pretrained model if there is one."""
    tales, own = flags.corpus.partition(":")[0] == "tales", base.tokenizer
    if isinstance(own, WordTokenizer) and not tales:
        raise UserError(f"{base.name} knows only the words of Tales, not those of {flags.corpus}: {base.advice}")
    corpus = load_corpus(flags.corpus, flags.length, tokenizer=None if isinstance(own, WordTokenizer) else own,
                         pack=flags.pack, vocabulary=flags.vocabulary, documents=flags.documents)
    if own and own.card() != corpus.tokenizer.card():
        raise UserError(f"{base.name} and the corpus {flags.corpus} have different words: {base.advice}")
    return corpus


def refuse_sizes(config, flag: str = "--model") -> None:
    """Refuse a number that no model can have: a count below its least, by default 1, or another number below 0."""
    for name, value in ((each.name, getattr(config, each.name)) for each in fields(config)):
        least = LEAST.get(name, 1 if isinstance(value, int) else 0)
        if is_dataclass(value):
            refuse_sizes(value, f"{flag}.{name}")
        elif isinstance(value, int | float) and not isinstance(value, bool) and not least <= value < math.inf:
            raise UserError(f"{flag}.{name.replace('_', '-')} must be at least {least} and finite, not {value}")


def make_model(kind: str, flags: TrainFlags, corpus: Corpus, pretrained: FrozenEncoder | VAE | None) -> LanguageModel:
    """The untrained model, its weights drawn from the seed; frozen states get their scale from training rows."""
    torch.manual_seed(flags.train.seed)
    heads, width = flags.model.heads, flags.model.width
    if heads < 1 or width < 1 or width % (2 * heads):
        raise UserError(f"a width of {width} cannot be cut into {heads} heads of even size: change --model.width")
    own = {"ldlm": lambda: {"frozen": flags.frozen, "hidden": pretrained.width}, "manta": lambda: {"space": pretrained.config}}
    sizes = replace(flags.model, vocabulary=corpus.tokenizer.size, length=flags.length, **own.get(kind, dict)())
    refuse_sizes(sizes)
    if kind == "ldlm":
        pretrained.calibrate(tensor(corpus.train[:CALIBRATED]))
        return LDLM(sizes, pretrained)
    return Manta(sizes, pretrained) if kind == "manta" else {"gpt": GPT, "masked": Masked, "vae": VAE}[kind](sizes)


def watch(corpus: Corpus, quiet: bool):
    """The evaluation of a run: figures of unseen and of written texts, and one text to read."""
    def evaluate(model: LanguageModel, step: int) -> dict:
        rows, rng = corpus.valid[:WATCHED], torch.Generator(model.device).manual_seed(0)
        if isinstance(model, LDLM | VAE):
            figures = reconstruction(model, rows)
        elif isinstance(model, Manta):
            figures = miss(model, rows)
        else:
            figures = nats(model, rows)
            figures["score"] = figures["nats_per_token"]
        texts = [corpus.tokenizer.decode(row) for row in model.generate(WRITTEN, rng=rng).tokens.tolist()]
        if corpus.name.partition(":")[0] == "tales":
            figures |= {k: v for k, v in validity(texts).items() if not k.startswith("error_")}
        if not quiet:
            tqdm.write(f"step {step}: " + ", ".join(f"{k} {v:.4g}" for k, v in figures.items()) + f"\n    {texts[0]}")
        return {**figures, "text": texts[0]}

    return evaluate


def train(kind: str, flags: TrainFlags, command: str, ranks: Ranks) -> None:
    """Train to the end, from the last checkpoint in the run's folder if there is one."""
    base = find_pretrained(kind, flags)
    corpus = read_corpus(flags, base)
    model = make_model(kind, flags, corpus, base.model)
    if flags.weights:
        first = load(flags.weights)
        if first.tokenizer.card() != corpus.tokenizer.card():
            raise UserError(f"{flags.weights} and the corpus {flags.corpus} have different words: start from "
                            "a model of that corpus")
        silent = {name: x for name, x in trained_state(model).items() if not x.any()}  # what a first round need not have had
        fit(model, silent | trained_state(first.model), flags.weights)
    source = CorpusConfig(flags.corpus, flags.vocabulary, flags.pack, flags.documents)
    card = {"kind": kind, "command": command,
            "config": {"model": config_card(model.config), "train": config_card(flags.train), "corpus": asdict(source)},
            "corpus": corpus.card, "tokenizer": corpus.tokenizer.card(), **provenance(ranks.device)}
    if kind == "ldlm":
        card["frozen"] = {"name": flags.frozen, "fingerprint": base.model.fingerprint()}
    trainer = Trainer(model, corpus.train, flags.train, Path(flags.out), card, ranks)
    said = tqdm.write if ranks.rank == 0 else lambda text: None
    if trainer.resume():
        said(f"resumed {flags.out} at step {trainer.step} of {flags.train.steps}")
    trainer.fit(watch(corpus, flags.quiet), flags.quiet or ranks.rank > 0)
    said(f"trained {flags.out} to step {trainer.step}: write with `minildm sample {flags.out}`")


def main(argv: list[str]) -> None:
    """Parse the flags and train, alone or in a group."""
    kind, flags = parse(argv)
    try:
        train(kind, flags, shlex.join(["minildm", "train", *argv]), join())
    finally:
        leave()
