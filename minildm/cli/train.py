"""`minildm train`: corpus, model and trainer out of flags; also under `torchrun`."""

import shlex
from dataclasses import asdict, dataclass, replace

import torch
from tqdm import tqdm

from ..errors import UserError, check_place, expand
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
from ..training.config import learning_rate
from ..training.distributed import Ranks, join, leave
from ..training.loop import Trainer
from ..training.presets import CorpusConfig
from ..training.sizes import refuse_weights
from ..training.zoo import load, load_frozen, load_space, outline
from .flags import TrainFlags, parse

WATCHED = 256  # validation rows looked at during training
WRITTEN = 32  # texts written during training
CALIBRATED = 2048  # training rows that set the scale of frozen states
INTERRUPTED = 130  # exit status after Ctrl-C, as shells have it


@dataclass(frozen=True)
class Pretrained:
    """What a new model stands on: a frozen encoder or a VAE, the tokenizer it reads with, its name,
    and how to get another.
    """

    model: FrozenEncoder | VAE | None = None
    tokenizer: Tokenizer | None = None
    name: str = ""
    advice: str = ""


def find_pretrained(kind: str, flags: TrainFlags) -> Pretrained:
    """The frozen encoder of an LDLM, the VAE of a Manta-LM, or nothing."""
    if kind == "ldlm":
        return Pretrained(
            *load_frozen(flags.frozen, flags.model.layer),
            f"the frozen model {flags.frozen}",
            "train a GPT on that corpus and give its run as --frozen, or give hub:NAME or minilm",
        )
    if kind == "manta":
        return Pretrained(
            *load_space(flags.vae),
            f"the VAE {flags.vae}",
            "train a VAE on that corpus and give its run as --vae",
        )
    return Pretrained()


def read_corpus(flags: TrainFlags, base: Pretrained, quiet: bool) -> Corpus:
    """The corpus that the flags name, in the tokens of the pretrained model if there is one."""
    tales, own = flags.corpus.partition(":")[0] == "tales", base.tokenizer
    if isinstance(own, WordTokenizer) and not tales:
        raise UserError(
            f"{base.name} knows only the words of Tales, not those of {flags.corpus}: {base.advice}"
        )
    corpus = load_corpus(
        flags.corpus,
        flags.length,
        tokenizer=None if isinstance(own, WordTokenizer) else own,
        pack=flags.pack,
        vocabulary=flags.vocabulary,
        documents=flags.documents,
        quiet=quiet,
    )
    if own and own.card() != corpus.tokenizer.card():
        raise UserError(
            f"{base.name} and the corpus {flags.corpus} have different words: {base.advice}"
        )
    return corpus


def find_sizes(
    kind: str, flags: TrainFlags, pretrained: FrozenEncoder | VAE | None, device: torch.device
):
    """The configuration of the model but for its vocabulary, of which the flags say the largest."""
    own = {
        "ldlm": lambda: {"frozen": flags.frozen, "hidden": pretrained.width},
        "manta": lambda: {"space": pretrained.config},
    }
    sizes = replace(
        flags.model,
        vocabulary=max(flags.vocabulary, 1),
        length=flags.length,
        **own.get(kind, dict)(),
    )
    refuse_weights(outline(kind, config_card(sizes)), device)
    return sizes


def make_model(
    kind: str, sizes, corpus: Corpus, pretrained: FrozenEncoder | VAE | None, seed: int
) -> LanguageModel:
    """The untrained model, its weights drawn from the seed; frozen states get their scale from
    training rows.
    """
    torch.manual_seed(seed)
    sizes = replace(sizes, vocabulary=corpus.tokenizer.size)
    if kind == "ldlm":
        pretrained.calibrate(tensor(corpus.train[:CALIBRATED]))
        return LDLM(sizes, pretrained)
    return (
        Manta(sizes, pretrained)
        if kind == "manta"
        else {"gpt": GPT, "masked": Masked, "vae": VAE}[kind](sizes)
    )


def watch(corpus: Corpus):
    """The evaluation of a run: figures of unseen and of written texts, and one text to read; and
    the text alone.
    """

    def texts(model: LanguageModel, count: int) -> list[str]:
        rng = torch.Generator(model.device).manual_seed(0)
        return [
            corpus.tokenizer.decode(row) for row in model.generate(count, rng=rng).tokens.tolist()
        ]

    def evaluate(model: LanguageModel, step: int) -> dict:
        rows = corpus.valid[:WATCHED]
        if isinstance(model, LDLM | VAE):
            figures = reconstruction(model, rows)
        elif isinstance(model, Manta):
            figures = miss(model, rows)
        else:
            figures = nats(model, rows)
            figures["score"] = figures["nats_per_token"]
        written = texts(model, WRITTEN)
        if corpus.name.partition(":")[0] == "tales":
            figures |= {k: v for k, v in validity(written).items() if not k.startswith("error_")}
        return {**figures, "text": written[0]}

    return evaluate, lambda model: texts(model, 1)[0]


def schedule(trainer: Trainer) -> str:
    """What another number of steps means for the learning rate of a run that goes on."""
    c, step = trainer.config, trainer.step
    old, new = (
        learning_rate(step, replace(c, steps=steps)) for steps in (trainer.planned, c.steps)
    )
    return (
        f"the training has {c.steps} steps instead of {trainer.planned}, and its learning rate falls over all of them: "
        f"at step {step} it is {new:.2e} where it was to be {old:.2e}"
    )


def next_commands(kind: str, run: str) -> str:
    """What to do with a trained run, as commands for the shell."""
    run = shlex.quote(run)
    use = f"minildm train manta --vae {run}" if kind == "vae" else f"minildm sample {run}"
    return f"    {use}\n    minildm evaluate {run}"


def train(kind: str, flags: TrainFlags, command: str, ranks: Ranks) -> None:
    """Train to the end, from the last checkpoint in the run's folder if there is one."""
    run = expand(flags.out)
    check_place(run)
    quiet = flags.quiet or ranks.rank > 0
    base = find_pretrained(kind, flags)
    sizes = find_sizes(kind, flags, base.model, ranks.device)
    corpus = read_corpus(flags, base, quiet)
    model = make_model(kind, sizes, corpus, base.model, flags.train.seed)
    if flags.weights:
        first = load(flags.weights)
        if first.tokenizer.card() != corpus.tokenizer.card():
            raise UserError(
                f"{flags.weights} and the corpus {flags.corpus} have different words: start from "
                "a model of that corpus"
            )
        silent = {
            name: x for name, x in trained_state(model).items() if not x.any()
        }  # what a first round need not have had
        fit(model, silent | trained_state(first.model), flags.weights)
    source = CorpusConfig(flags.corpus, flags.vocabulary, flags.pack, flags.documents)
    card = {
        "kind": kind,
        "command": command,
        "config": {
            "model": config_card(model.config),
            "train": config_card(flags.train),
            "corpus": asdict(source),
        },
        "corpus": corpus.card,
        "tokenizer": corpus.tokenizer.card(),
        **provenance(ranks.device),
    }
    if kind == "ldlm":
        card["frozen"] = {"name": flags.frozen, "fingerprint": base.model.fingerprint()}
    trainer = Trainer(model, corpus.train, flags.train, run, card, ranks)
    said = tqdm.write if ranks.rank == 0 else lambda text: None
    if trainer.resume():
        said(f"resumed {run} at step {trainer.step} of {flags.train.steps}")
        if trainer.planned != flags.train.steps:
            said(schedule(trainer))
        if trainer.step == flags.train.steps:
            said("all its steps are made: to train on, give more of them by --train.steps")
    evaluate, write = watch(corpus)
    try:
        trainer.fit(evaluate, quiet, write)
    except KeyboardInterrupt:
        saved = trainer.saved
        said(
            "stopped before the first checkpoint, so nothing is saved; begin again with"
            if saved is None
            else f"stopped; {run} is saved at step {saved} of {flags.train.steps} and goes on from there with"
        )
        said(f"    {command}")
        raise SystemExit(INTERRUPTED) from None
    said(
        f"trained to step {trainer.step}: checkpoints and the metrics log are in {run}; go on with"
    )
    said(next_commands(kind, str(run)))


def main(argv: list[str]) -> None:
    """Parse the flags and train, alone or in a group."""
    kind, flags = parse(argv)
    try:
        train(kind, flags, shlex.join(["minildm", "train", *argv]), join())
    finally:
        leave()
