"""The zoo: small trained models by name; runs and their checkpoints load the same way, with their
averaged weights.
"""

import json
import os
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors.torch import save, save_file
from torch import Tensor

from ..errors import UserError, reason, write_atomically
from ..models.base import LanguageModel
from ..models.frozen_models import (
    FrozenEncoder,
    frozen_gpt,
    frozen_minilm,
    frozen_transformer,
    minilm_folder,
)
from ..models.gpt import GPT, GPTConfig
from ..models.ldlm import LDLM, LDLMConfig
from ..models.manta import Manta
from ..models.manta_config import MantaConfig
from ..models.masked import Masked, MaskedConfig
from ..models.recipe import Recipe
from ..models.vae import VAE, VAEConfig
from ..text.tokenizers import PretrainedTokenizer, Tokenizer, load_tokenizer
from . import checkpoint
from .journal import read_journal
from .sizes import refuse_sizes

ZOO = Path(__file__).parent.parent / "zoo"
LARGEST = 12_000_000  # bytes of a model of the zoo


@dataclass
class Loaded:
    """A trained model with its tokenizer and its card; `missing` says why an LDLM came without its
    frozen encoder.
    """

    model: LanguageModel
    tokenizer: Tokenizer
    card: dict
    missing: str | None = None


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
            f"{run} holds no checkpoint: name the folder of a run, one of its checkpoints, or a model of the zoo"
        )
    best = checkpoint.read_card(folders[-1]).get("best") or folders[-1].name
    if best not in [folder.name for folder in folders]:
        raise UserError(
            f"the best checkpoint of {run}, {best}, is not there: name another one, such as {folders[-1]}"
        )
    return run / best


def open_files(name: str) -> tuple[dict, Path, str]:
    """Card, path of the weights, and a name for sentences, of what the user called a model."""
    known = name.removeprefix("zoo:")
    if known in names():
        return (
            checkpoint.read_card(ZOO, f"{known}.json"),
            ZOO / f"{known}.safetensors",
            f"zoo:{known}",
        )
    folder = Path(name)
    if name.startswith("zoo:") or not os.path.isdir(
        folder
    ):  # also False for names that no folder can have
        raise UserError(
            f"no model {name!r}: the zoo has {', '.join(names()) or 'none yet'}; or name the folder of a run"
        )
    folder = folder if (folder / "card.json").exists() else chosen(folder)
    return checkpoint.read_card(folder), folder / "average.safetensors", str(folder)


def build(kind: str, sizes: dict) -> LanguageModel:
    """An untrained model from the fields of its configuration."""
    if kind == "ldlm":
        model, config = LDLM, LDLMConfig(**{**sizes, "recipe": Recipe(**sizes["recipe"])})
    elif kind == "manta":
        model, config = Manta, MantaConfig(**{**sizes, "space": VAEConfig(**sizes["space"])})
    else:
        model, config = {
            "gpt": (GPT, GPTConfig),
            "masked": (Masked, MaskedConfig),
            "vae": (VAE, VAEConfig),
        }[kind]
        config = config(**sizes)
    refuse_sizes(config)
    return model(config)


def outline(kind: str, sizes: dict) -> LanguageModel:
    """The same without storage, for its names and shapes.

    Args:
        kind: Of model.
        sizes: The fields of its configuration.

    Returns:
        The model.

    Raises:
        UserError: On impossible sizes.
    """
    with torch.device("meta"):
        return build(kind, sizes)


def load(name: str | Path, frozen: bool = True) -> Loaded:
    """Load a model of the zoo, a run, or a checkpoint, ready for use: averaged weights, evaluation
    mode, float32.

    Args:
        name: In the zoo, or the folder of a run or of a checkpoint.
        frozen: : also load an LDLM's frozen encoder, which reading texts needs and writing does
            not.

    Returns:
        A `Loaded`, whose `missing` is a sentence when the frozen encoder cannot be had.

    Raises:
        UserError: On an unknown name, damaged files, weights that do not fit the card, and a
            changed frozen encoder.
    """
    card, path, source = open_files(str(name))
    tensors = checkpoint.read_tensors(path)
    scale = {k: tensors.pop(f"frozen.{k}", None) for k in ("mean", "whiten")}
    try:
        tokenizer, kind, sizes = (
            load_tokenizer(card["tokenizer"]),
            card["kind"],
            card["config"]["model"],
        )
        try:
            expected, vocabulary = outline(kind, sizes), sizes["vocabulary"]
        except UserError as fault:  # which speaks of flags
            raise ValueError(reason(fault).removeprefix("--")) from None
    except UserError:  # of the tokenizer
        raise
    except Exception as fault:  # what wrong fields make models and tokenizers raise may be anything
        raise UserError(
            f"the card of {source} is damaged or not one of this version ({reason(fault)}): "
            "train the model again"
        ) from None
    if tokenizer.size != vocabulary:
        raise UserError(
            f"{source} has a vocabulary of {vocabulary} but its tokenizer one of {tokenizer.size}: "
            "restore its own tokenizer"
        )
    checkpoint.check(
        expected, tensors, source
    )  # before memory is taken for sizes that may be wrong
    model = build(kind, sizes)
    checkpoint.fit(model, tensors, source)
    missing = attach(model, card, scale, source) if frozen and card["kind"] == "ldlm" else None
    return Loaded(model.eval(), tokenizer, card, missing)


def attach(model: LDLM, card: dict, scale: dict[str, Tensor | None], source: str) -> str | None:
    """Give an LDLM the frozen encoder it was trained on, or return the sentence that says why it
    cannot be had.
    """
    if "frozen" not in card:
        return f"the card of {source} does not say on which frozen encoder it was trained"
    try:
        encoder = load_frozen(model.config.frozen, model.config.layer)[0]
    except UserError as fault:
        return str(fault)
    if encoder.fingerprint() != card["frozen"]["fingerprint"]:
        raise UserError(
            f"{source} was trained on another {model.config.frozen} than the one found: restore that one"
        )
    if scale["mean"] is None or scale["whiten"] is None:
        raise UserError(
            f"{source} lacks frozen.mean or frozen.whiten, the scale of its frozen states: train it again"
        )
    encoder.mean.copy_(scale["mean"])
    encoder.whiten.copy_(scale["whiten"])
    model.frozen = encoder
    return None


def load_frozen(name: str, layer: int) -> tuple[FrozenEncoder, Tokenizer]:
    """A frozen encoder, not calibrated yet, and the tokenizer whose ids it reads.

    Args:
        name: : zoo:NAME or the folder of a run, each a GPT, hub:NAME, hub:PATH or minilm.
        layer: In [embedding, block 1, ..., block L].

    Returns:
        (`FrozenEncoder`, `Tokenizer`).

    Raises:
        UserError: When it cannot be had, is no GPT, or has no such layer.

    Source: LDLM [OD].
    """
    if name == "minilm":
        return frozen_minilm(layer), PretrainedTokenizer(minilm_folder() / "tokenizer.json")
    if name.startswith("hub:"):
        found = name.removeprefix("hub:")
        return frozen_transformer(found, layer), PretrainedTokenizer(tokenizer_file(found))
    loaded = load(name)
    if not isinstance(loaded.model, GPT):
        raise UserError(
            f"{name} is no GPT, so it has no states to reshape: name a GPT for --frozen"
        )
    return frozen_gpt(loaded.model, layer, name), loaded.tokenizer


def load_space(name: str) -> tuple[VAE, Tokenizer]:
    """A trained VAE, the latent space of a Manta-LM, and the tokenizer whose ids it reads.

    Args:
        name: : zoo:NAME or the folder of a run.

    Returns:
        (`VAE`, `Tokenizer`).

    Raises:
        UserError: When it is no VAE.
    """
    loaded = load(name)
    if not isinstance(loaded.model, VAE):
        raise UserError(
            f"{name} is no VAE, so it has no latent space to steer in: name a VAE for --vae"
        )
    return loaded.model, loaded.tokenizer


def tokenizer_file(name: str) -> Path:
    """The tokenizer.json of a model of the hub, or of a folder."""
    if Path(name).is_dir():
        return Path(name) / "tokenizer.json"
    from huggingface_hub import (
        hf_hub_download,
    )  # comes with transformers, which has loaded the model by now

    return Path(hf_hub_download(name, "tokenizer.json"))


def minutes(run: Path) -> float:
    """Minutes that the steps of a run took, from the speeds in its journal."""
    try:
        lines = [line for line in read_journal(run / "journal.jsonl") if line["kind"] == "step"]
        row = checkpoint.read_card(checkpoint.steps_saved(run)[-1])["config"]
        tokens = row["train"]["batch"] * row["model"]["length"] * lines[-1]["step"]
        return tokens * sum(1 / line["tokens_per_s"] for line in lines) / len(lines) / 60
    except (KeyError, TypeError, IndexError, ZeroDivisionError) as fault:
        raise UserError(
            f"the journal of {run} does not say how long it took ({reason(fault)}): train it again"
        ) from None


def halved(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """Matrices of weights in half precision; vectors, and the scale of frozen states, as they are."""
    return {
        name: x.half()
        if x.dtype == torch.float32 and x.dim() > 1 and not name.startswith("frozen.")
        else x
        for name, x in tensors.items()
    }


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
    tensors = checkpoint.read_tensors(folder / "average.safetensors")
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
