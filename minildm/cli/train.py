"""`minildm train`: corpus, model and trainer out of flags; also under `torchrun`."""

import shlex
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import torch
from tqdm import tqdm

from ..errors import UserError, check_place, expand
from ..evaluation.likelihood import figures_of, is_tales
from ..evaluation.provenance import provenance
from ..evaluation.scorecard import validity
from ..models.base import LanguageModel
from ..models.registry import MODEL_TYPES, build, outline
from ..pretrained import load, load_foundation
from ..sampling import Sampler
from ..text.batches import tensor
from ..text.corpora import Corpus, load_corpus
from ..text.tokenizers import Tokenizer, WordTokenizer
from ..training.checkpoint import config_card, fit, trained_state
from ..training.config import learning_rate
from ..training.cuda_graph import refuse_graph
from ..training.distributed import DistributedContext, join, leave
from ..training.loop import Trainer
from ..training.presets import CorpusConfig
from ..training.sizes import refuse_sizes, refuse_weights
from .flags import parse

WATCHED = 256  # validation rows that are evaluated during training
WRITTEN = 32  # texts drawn during training
CALIBRATED = 2048  # training rows on which a model measures what it does not learn
INTERRUPTED = 130  # exit status after Ctrl-C, as shells have it


@dataclass(frozen=True)
class Base:
    """The pretrained part that a new model is built around, if it has one."""

    part: torch.nn.Module | None = None
    tokenizer: Tokenizer | None = None  # that it reads with
    name: str = ""  # as the user says it
    title: str = ""  # in sentences
    advice: str = ""  # how to get another one


def find_base(model_type: str, flags: Any) -> Base:
    """The frozen encoder of an LDLM, the VAE of a Manta-LM, or nothing."""
    foundation = MODEL_TYPES[model_type].foundation
    if foundation is None:
        return Base()
    name = getattr(flags, foundation.flag)
    part, tokenizer = load_foundation(foundation, name, flags.model)
    return Base(part, tokenizer, name, f"{foundation.title} {name}", foundation.advice)


def read_corpus(flags: Any, base: Base, quiet: bool) -> Corpus:
    """The corpus that the flags name, in the tokens of the pretrained part if there is one."""
    own = base.tokenizer
    if isinstance(own, WordTokenizer) and not is_tales(flags.corpus):
        raise UserError(
            f"{base.title} knows only the words of Tales, not those of {flags.corpus}: "
            f"{base.advice}"
        )
    corpus = load_corpus(
        flags.corpus,
        flags.length,
        tokenizer=None if isinstance(own, WordTokenizer) else own,
        pack=flags.pack,
        vocab_size=flags.vocab_size,
        documents=flags.documents,
        quiet=quiet,
    )
    if own and own.card() != corpus.tokenizer.card():
        raise UserError(
            f"{base.title} and the corpus {flags.corpus} have different words: {base.advice}"
        )
    return corpus


def find_config(model_type: str, flags: Any, base: Base, device: torch.device) -> Any:
    """The configuration of the model, with the largest vocabulary that the flags allow."""
    entry = MODEL_TYPES[model_type]
    values = vars(flags.model) | {"vocab_size": max(flags.vocab_size, 1), "seq_len": flags.length}
    config = entry.config(**values)
    if base.part is not None:
        config = entry.model.fit_config(config, base.name, base.part)
    refuse_sizes(config)
    refuse_weights(outline(model_type, config), device)
    return config


def make_model(
    model_type: str, config: Any, corpus: Corpus, base: Base, seed: int
) -> LanguageModel:
    """The untrained model, with weights drawn from the seed."""
    torch.manual_seed(seed)
    config = replace(config, vocab_size=corpus.tokenizer.size)
    model = build(model_type, config, base.part)
    model.calibrate(tensor(corpus.train[:CALIBRATED]))
    return model


def begin_with(model: LanguageModel, name: str, corpus: Corpus) -> None:
    """Give a model the weights of another one, but for those that only the new one has."""
    first = load(name)
    if first.tokenizer.card() != corpus.tokenizer.card():
        raise UserError(
            f"{name} and the corpus {corpus.name} have different words: start from "
            "a model of that corpus"
        )
    new = {name: x for name, x in trained_state(model).items() if not x.any()}
    fit(model, new | trained_state(first.model), name)


def make_card(model_type: str, flags: Any, command: str, model: LanguageModel, corpus: Corpus):
    """What the checkpoints of a run say of it."""
    source = CorpusConfig(flags.corpus, flags.vocab_size, flags.pack, flags.documents)
    return {
        "model_type": model_type,
        "command": command,
        "config": {
            "model": config_card(model.config),
            "train": config_card(flags.train),
            "corpus": asdict(source),
        },
        "corpus": corpus.card,
        "tokenizer": corpus.tokenizer.card(),
        **provenance(model.device),
        **model.card(),
    }


def draw_texts(model: LanguageModel, corpus: Corpus, count: int) -> list[str]:
    """Texts that the model draws as it does by default."""
    rng = torch.Generator(model.device).manual_seed(0)
    tokens = Sampler(model)(count, rng=rng).tokens
    return [corpus.tokenizer.decode(row) for row in tokens.tolist()]


def watch(
    corpus: Corpus,
) -> tuple[Callable[[LanguageModel, int], dict], Callable[[LanguageModel], str]]:
    """The evaluation of a run, and a text alone.

    The evaluation has figures of held-out and of drawn texts, and one text to read.
    """

    def evaluate(model: LanguageModel, step: int) -> dict:
        figures: dict[str, Any] = dict(figures_of(model, corpus.valid[:WATCHED]))
        if "nats_per_token" in figures:
            figures["score"] = figures["nats_per_token"]
        drawn = draw_texts(model, corpus, WRITTEN)
        if is_tales(corpus.name):
            scores = validity(drawn).items()
            figures |= {name: score for name, score in scores if not name.startswith("error_")}
        return {**figures, "text": drawn[0]}

    def write(model: LanguageModel) -> str:
        return draw_texts(model, corpus, 1)[0]

    return evaluate, write


def schedule(trainer: Trainer) -> str:
    """What another number of steps means for the learning rate of a run that goes on."""
    c, step = trainer.config, trainer.step
    old = learning_rate(step, replace(c, steps=trainer.planned))
    new = learning_rate(step, c)
    return (
        f"the training has {c.steps} steps instead of {trainer.planned}, and its learning rate "
        f"falls over all of them: at step {step} it is {new:.2e} where it was to be {old:.2e}"
    )


def next_commands(model: LanguageModel, run: Path) -> str:
    """What to do with a trained run, as commands for the shell."""
    place = shlex.quote(str(run))
    use = f"minildm sample {place}"
    if not model.capabilities.writes:
        name, foundation = next(
            (name, entry.foundation)
            for name, entry in MODEL_TYPES.items()
            if entry.foundation and entry.foundation.role == "space"
        )
        use = f"minildm train {name} --{foundation.flag} {place}"
    return f"    {use}\n    minildm evaluate {place}"


def go_on(trainer: Trainer, said: Callable[[str], object]) -> None:
    """Resume from the last checkpoint in the run's folder, if there is one."""
    if not trainer.resume():
        return
    steps = trainer.config.steps
    said(f"resumed {trainer.run} at step {trainer.step} of {steps}")
    if trainer.planned != steps:
        said(schedule(trainer))
    if trainer.step == steps:
        said("all its steps are made: to train on, give more of them by --train.steps")


def train(model_type: str, flags: Any, command: str, context: DistributedContext) -> None:
    """Train to the end, from the last checkpoint in the run's folder if there is one."""
    run = expand(flags.out)
    check_place(run)
    refuse_graph(flags.train, context)
    quiet = flags.quiet or context.rank > 0
    base = find_base(model_type, flags)
    config = find_config(model_type, flags, base, context.device)
    corpus = read_corpus(flags, base, quiet)
    model = make_model(model_type, config, corpus, base, flags.train.seed)
    if flags.weights:
        begin_with(model, flags.weights, corpus)
    card = make_card(model_type, flags, command, model, corpus)
    trainer = Trainer(model, corpus.train, flags.train, run, card, context)
    said = tqdm.write if context.rank == 0 else str
    go_on(trainer, said)
    evaluate, write = watch(corpus)
    try:
        trainer.fit(evaluate, quiet, write)
    except KeyboardInterrupt:
        said(interrupted(trainer))
        said(f"    {command}")
        raise SystemExit(INTERRUPTED) from None
    said(
        f"trained to step {trainer.step}: checkpoints and the metrics log are in {run}; go on with"
    )
    said(next_commands(model, run))


def interrupted(trainer: Trainer) -> str:
    """What is saved of a run that was stopped, before the command that goes on with it."""
    if trainer.saved is None:
        return "stopped before the first checkpoint, so nothing is saved; begin again with"
    return (
        f"stopped; {trainer.run} is saved at step {trainer.saved} of {trainer.config.steps} "
        "and goes on from there with"
    )


def main(argv: list[str]) -> None:
    """Parse the flags and train, alone or in a group."""
    model_type, flags = parse(argv)
    try:
        train(model_type, flags, shlex.join(["minildm", "train", *argv]), join())
    finally:
        leave()
