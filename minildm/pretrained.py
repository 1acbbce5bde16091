"""Trained models by name: those of the zoo, runs, and checkpoints, all with averaged weights."""

import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save, save_file
from torch import Tensor

from .errors import UserError, reason, write_atomically
from .models.base import LanguageModel
from .models.frozen_models import frozen_minilm, frozen_transformer, minilm_folder
from .models.registry import MODEL_TYPES, Foundation, build, outline, read_config
from .nets.frozen import FrozenEncoder
from .text.tokenizers import PretrainedTokenizer, Tokenizer, load_tokenizer
from .training import checkpoint
from .training.metrics import minutes
from .training.renamed import current_model
from .training.sizes import refuse_sizes

ZOO = Path(__file__).parent / "zoo"
LARGEST = 12_000_000  # bytes of a model of the zoo


@dataclass
class Loaded:
    """A trained model with its tokenizer and its card."""

    model: LanguageModel
    tokenizer: Tokenizer
    card: dict
    missing: str | None = None  # why it came without its frozen encoder


def names() -> list[str]:
    """Models of the zoo that have both a card and weights.

    Returns:
        Sorted names.
    """
    return sorted(p.stem for p in ZOO.glob("*.json") if p.with_suffix(".safetensors").exists())


def chosen(run: Path) -> Path:
    """The checkpoint of a run that stands for it: the best if evaluations had a score, else the
    last.
    """
    folders = checkpoint.steps_saved(run)
    if not folders:
        raise UserError(
            f"{run} holds no checkpoint: name the folder of a run, one of its checkpoints, "
            "or a model of the zoo"
        )
    best = checkpoint.read_card(folders[-1]).get("best") or folders[-1].name
    if best not in [folder.name for folder in folders]:
        raise UserError(
            f"the best checkpoint of {run}, {best}, is not there: "
            f"name another one, such as {folders[-1]}"
        )
    return run / best


def open_files(name: str) -> tuple[dict, Path, str]:
    """Card, path of the weights, and a name for sentences, of what the user called a model."""
    known = current_model(name.removeprefix("zoo:"))
    if known in names():
        card = checkpoint.read_card(ZOO, f"{known}.json")
        return card, ZOO / f"{known}.safetensors", f"zoo:{known}"
    folder = Path(name)
    # also False for names that no folder can have
    if name.startswith("zoo:") or not os.path.isdir(folder):
        raise UserError(
            f"no model {name!r}: the zoo has {', '.join(names()) or 'none yet'}; "
            "or name the folder of a run"
        )
    folder = folder if (folder / "card.json").exists() else chosen(folder)
    return checkpoint.read_card(folder), checkpoint.ema_file(folder), str(folder)


def read_model(card: dict, source: str) -> tuple[Tokenizer, str, Any, LanguageModel]:
    """Tokenizer, model type, configuration and outline of the model that a card describes."""
    try:
        tokenizer = load_tokenizer(card["tokenizer"])
    except UserError:
        raise
    except Exception as fault:
        raise damaged(source, reason(fault)) from None
    try:
        model_type = card["model_type"]
        config = read_config(MODEL_TYPES[model_type].config, card["config"]["model"])
        refuse_sizes(config)
        return tokenizer, model_type, config, outline(model_type, config)
    except Exception as fault:  # what wrong fields make models raise may be anything
        raise damaged(source, reason(fault).removeprefix("--")) from None


def damaged(source: str, why: str) -> UserError:
    """The refusal of a card that cannot be understood."""
    return UserError(
        f"the card of {source} is damaged or not one of this version ({why}): train the model again"
    )


def load(name: str | Path, frozen: bool = True) -> Loaded:
    """Load a model ready for use: averaged weights, evaluation mode, float32.

    Args:
        name: In the zoo, or the folder of a run or of a checkpoint.
        frozen: Whether to load an LDLM's frozen encoder too, which only reading texts needs.

    Returns:
        A `Loaded`, whose `missing` is a sentence when the frozen encoder cannot be had.

    Raises:
        UserError: On an unknown name, damaged files, weights that do not fit the card, and a
            changed frozen encoder.
    """
    card, path, source = open_files(str(name))
    tensors = checkpoint.read_tensors(path)
    scale = {k: tensors.pop(f"frozen.{k}", None) for k in ("mean", "whiten")}
    tokenizer, model_type, config, expected = read_model(card, source)
    if tokenizer.size != config.vocab_size:
        raise UserError(
            f"{source} has a vocabulary of {config.vocab_size} but its tokenizer one of "
            f"{tokenizer.size}: restore its own tokenizer"
        )
    # before memory is taken for sizes that may be wrong
    checkpoint.check(expected, tensors, source)
    model = build(model_type, config)
    checkpoint.fit(model, tensors, source)
    foundation = MODEL_TYPES[model_type].foundation
    missing = None
    if frozen and foundation is not None and foundation.outside:
        missing = attach(model, card, scale, source)
    return Loaded(model.eval(), tokenizer, card, missing)


def attach(
    model: LanguageModel, card: dict, scale: dict[str, Tensor | None], source: str
) -> str | None:
    """Give a model the frozen encoder it was trained on, or say why it cannot be had."""
    if "frozen" not in card:
        return f"the card of {source} does not say on which frozen encoder it was trained"
    config = model.config
    try:
        encoder = load_frozen(config.frozen, config.layer, config.frozen_reach)[0]
    except UserError as fault:
        return str(fault)
    if encoder.fingerprint() != card["frozen"]["fingerprint"]:
        raise UserError(
            f"{source} was trained on another {config.frozen} than the one found: restore that one"
        )
    mean, whiten = scale["mean"], scale["whiten"]
    if mean is None or whiten is None:
        raise UserError(
            f"{source} lacks frozen.mean or frozen.whiten, the scale of its frozen states: "
            "train it again"
        )
    encoder.mean.copy_(mean)
    encoder.whiten.copy_(whiten)
    model.frozen = encoder
    return None


def load_foundation(foundation: Foundation, name: str, config) -> tuple[torch.nn.Module, Tokenizer]:
    """The pretrained part that a model is built around, and the tokenizer whose ids it reads.

    Args:
        foundation: What part.
        name: Of it, as the user says it.
        config: Of the model, which says the layer of an encoder.

    Returns:
        The part and the tokenizer.

    Raises:
        UserError: When it cannot be had, or is of another type.
    """
    if foundation.role == "encoder":
        return load_frozen(name, config.layer, config.frozen_reach)
    return load_space(name)


def load_frozen(name: str, layer: int, reach: int | None = None) -> tuple[FrozenEncoder, Tokenizer]:
    """A frozen encoder, not calibrated yet, and the tokenizer whose ids it reads.

    Args:
        name: zoo:NAME or the folder of a run, each a GPT, hub:NAME, hub:PATH or minilm.
        layer: In [embedding, block 1, ..., block L].
        reach: Tokens that each of its blocks reads before a token, or all.

    Returns:
        (`FrozenEncoder`, `Tokenizer`).

    Raises:
        UserError: When it cannot be had, is no GPT, has no such layer, or cannot limit its reach.
    """
    if reach is not None and (name == "minilm" or name.startswith("hub:")):
        raise UserError(
            f"the reach of {name} cannot be limited: leave out --model.reach, or take a GPT "
            "of this package"
        )
    if name == "minilm":
        return frozen_minilm(layer), PretrainedTokenizer(minilm_folder() / "tokenizer.json")
    if name.startswith("hub:"):
        found = name.removeprefix("hub:")
        return frozen_transformer(found, layer), PretrainedTokenizer(tokenizer_file(found))
    loaded = load(name)
    return loaded.model.as_encoder(layer, name, reach), loaded.tokenizer


def load_space(name: str) -> tuple[LanguageModel, Tokenizer]:
    """A trained VAE, the latent space of a Manta-LM, and the tokenizer whose ids it reads.

    Args:
        name: zoo:NAME or the folder of a run.

    Returns:
        (`VAE`, `Tokenizer`).

    Raises:
        UserError: When it is no VAE.
    """
    loaded = load(name)
    return loaded.model.as_space(name), loaded.tokenizer


def tokenizer_file(name: str) -> Path:
    """The tokenizer.json of a model of the hub, or of a folder."""
    if Path(name).is_dir():
        return Path(name) / "tokenizer.json"
    # comes with transformers, which has loaded the model by now
    from huggingface_hub import hf_hub_download

    return Path(hf_hub_download(name, "tokenizer.json"))


def halved(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """Matrices of weights in half precision, but for the scale of frozen states."""

    def half(name: str, x: Tensor) -> Tensor:
        matrix = x.dtype == torch.float32 and x.dim() > 1
        return x.half() if matrix and not name.startswith("frozen.") else x

    return {name: half(name, x) for name, x in tensors.items()}


def packed(tensors: dict[str, Tensor]) -> int:
    """Bytes of a file of tensors, with its header."""
    return len(save(tensors))


def publish(run: Path, name: str, scores: dict | None = None) -> Path:
    """Put the averaged weights of a run into the zoo, with its card; what is too large has its
    matrices in half precision.

    Args:
        run: The folder of a finished run.
        name: In the zoo.
        scores: Measured, for the card.

    Returns:
        The path of the card.

    Raises:
        UserError: When the run cannot be loaded, is too large, or the disk refuses.
    """
    run = Path(run)
    load(run, frozen=False)  # refuses what could not be loaded later
    folder = chosen(run)
    card = {
        k: v for k, v in checkpoint.read_card(folder).items() if k not in ("best", "best_score")
    }
    card |= {
        "name": name,
        "steps": card.pop("step"),
        "seed": card["config"]["train"]["seed"],
        "minutes": round(minutes(run), 1),
        "scores": scores or {},
    }
    tensors = checkpoint.read_tensors(checkpoint.ema_file(folder))
    if packed(tensors) > LARGEST:
        tensors = halved(tensors)
    if packed(tensors) > LARGEST:
        raise UserError(
            f"{run} is too large for the zoo: its weights take more than {LARGEST / 1e6:.0f} MB"
        )
    write_atomically(ZOO / f"{name}.safetensors", lambda beside: save_file(tensors, beside))
    write_atomically(
        ZOO / f"{name}.json", lambda beside: beside.write_text(json.dumps(card, indent=1) + "\n")
    )
    return ZOO / f"{name}.json"
