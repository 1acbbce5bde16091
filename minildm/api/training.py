"""A training run: corpus, model and trainer out of the configurations of a `Run`."""

from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import torch

from ..errors import UserError, check_place, expand
from ..evaluation.likelihood import figures_of, is_tales
from ..evaluation.provenance import provenance
from ..evaluation.scorecard import validity
from ..models.base import LanguageModel
from ..models.registry import MODEL_TYPES, build, outline, type_of
from ..pretrained import load, load_foundation
from ..sampling import Sampler
from ..text.batches import tensor
from ..text.corpora import Corpus, load_corpus
from ..text.tokenizers import Tokenizer, WordTokenizer
from ..training import checkpoint
from ..training.cuda_graph import refuse_graph
from ..training.distributed import DistributedContext
from ..training.loop import Trainer
from ..training.presets import foundation_of
from ..training.runs import Run
from ..training.sizes import refuse_sizes, refuse_weights

WATCHED = 256  # validation rows that are evaluated during training
WRITTEN = 32  # texts drawn during training
CALIBRATED = 2048  # training rows on which a model measures what it does not learn


@dataclass(frozen=True)
class Base:
    """The pretrained part that a new model is built around, if it has one."""

    part: torch.nn.Module | None = None
    tokenizer: Tokenizer | None = None  # that it reads with
    name: str = ""  # as the user says it
    title: str = ""  # in sentences
    advice: str = ""  # how to get another one


def find_base(run: Run) -> Base:
    """The frozen encoder of an LDLM, the VAE of a Manta-LM, or nothing."""
    foundation = MODEL_TYPES[type_of(run.model)].foundation
    if foundation is None:
        return Base()
    name = foundation_of(run)
    part, tokenizer = load_foundation(foundation, name, run.model)
    return Base(part, tokenizer, name, f"{foundation.title} {name}", foundation.advice)


def read_corpus(run: Run, base: Base, quiet: bool) -> Corpus:
    """The corpus of a run, in the tokens of the pretrained part if there is one."""
    own = base.tokenizer
    source = run.corpus
    if isinstance(own, WordTokenizer) and not is_tales(source.name):
        raise UserError(
            f"{base.title} knows only the words of Tales, not those of {source.name}: {base.advice}"
        )
    corpus = load_corpus(
        source.name,
        run.model.seq_len,
        tokenizer=None if isinstance(own, WordTokenizer) else own,
        pack=source.pack,
        vocab_size=source.vocab_size,
        documents=source.documents,
        quiet=quiet,
    )
    if own and own.card() != corpus.tokenizer.card():
        raise UserError(
            f"{base.title} and the corpus {source.name} have different words: {base.advice}"
        )
    return corpus


def find_config(run: Run, base: Base, device: torch.device) -> Any:
    """The configuration of the model, with the largest vocabulary that the corpus may have."""
    config = replace(run.model, vocab_size=max(run.corpus.vocab_size, 1))
    model_type = type_of(config)
    if base.part is not None:
        config = MODEL_TYPES[model_type].model.fit_config(config, base.name, base.part)
    refuse_sizes(config)
    refuse_weights(outline(model_type, config), device)
    return config


def make_model(config: Any, corpus: Corpus, base: Base, seed: int) -> LanguageModel:
    """The untrained model, with weights drawn from the seed."""
    torch.manual_seed(seed)
    config = replace(config, vocab_size=corpus.tokenizer.size)
    model = build(type_of(config), config, base.part)
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
    new = {name: x for name, x in checkpoint.trained_state(model).items() if not x.any()}
    checkpoint.fit(model, new | checkpoint.trained_state(first.model), name)


def make_card(run: Run, command: str, model: LanguageModel, corpus: Corpus) -> dict[str, Any]:
    """What the checkpoints of a run say of it."""
    return {
        "model_type": type_of(run.model),
        "command": command,
        "config": {
            "model": checkpoint.config_card(model.config),
            "train": checkpoint.config_card(run.train),
            "corpus": asdict(run.corpus),
        },
        "corpus": corpus.card,
        "tokenizer": corpus.tokenizer.card(),
        **provenance(model.device),
        **model.card(),
    }


def prepare(
    run: Run, out: str | Path, context: DistributedContext, quiet: bool, command: str
) -> tuple[Trainer, Corpus]:
    """The trainer of a run, at its first step, and its corpus.

    Args:
        run: What the run is made from.
        out: Its folder.
        context: This process among those that train.
        quiet: Whether to say nothing while the corpus is prepared.
        command: What trains it again, for its card.

    Returns:
        The trainer, whose `resume` goes on from the last checkpoint, and the corpus.

    Raises:
        UserError: On what cannot be read, written or trained; before long work where possible.
    """
    folder = expand(out)
    check_place(folder)
    refuse_graph(run.train, context)
    base = find_base(run)
    config = find_config(run, base, context.device)
    corpus = read_corpus(run, base, quiet)
    model = make_model(config, corpus, base, run.train.seed)
    if run.weights:
        begin_with(model, run.weights, corpus)
    card = make_card(run, command, model, corpus)
    return Trainer(model, corpus.train, run.train, folder, card, context), corpus


def draw_texts(model: LanguageModel, corpus: Corpus, count: int) -> list[str]:
    """Texts that the model draws as it does by default."""
    rng = torch.Generator(model.device).manual_seed(0)
    tokens = Sampler(model)(count, rng=rng).tokens
    return [corpus.tokenizer.decode(row) for row in tokens.tolist()]


def fit(trainer: Trainer, corpus: Corpus, quiet: bool) -> None:
    """Train to the end, with figures of held-out and of drawn texts on the way.

    Args:
        trainer: From `prepare`.
        corpus: From `prepare`.
        quiet: Whether to show no progress bar and no text.
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

    trainer.fit(evaluate, quiet, write)
