"""The model types: one entry each, from which cards are read and commands and flags are made."""

from dataclasses import dataclass, is_dataclass
from typing import Any, Literal, get_type_hints

import torch
from torch.overrides import TorchFunctionMode

from .base import LanguageModel
from .gpt import GPT, GPTConfig
from .horizon import HorizonConfig, HorizonLM
from .ldlm import LDLM, LDLMConfig
from .manta import MantaLM
from .manta_config import MantaLMConfig
from .masked import MaskedDiffusion, MaskedDiffusionConfig
from .vae import VAE, VAEConfig


@dataclass(frozen=True)
class Foundation:
    """The pretrained part that a model is built around, and how the user names it."""

    role: Literal["encoder", "space"]  # what it is for the model
    flag: str  # of `minildm train`
    default: str  # a model of the zoo
    help: str  # what the flag takes
    title: str  # in sentences
    advice: str  # how to get one for another corpus
    fields: tuple[str, ...]  # of the configuration, which it decides
    outside: bool  # its weights are not in the model's own checkpoints


@dataclass(frozen=True)
class ModelType:
    """What is needed to build, train and load a type of models."""

    model: type[LanguageModel]
    config: type  # the frozen dataclass of its sizes
    foundation: Foundation | None = None


FROZEN = Foundation(
    "encoder",
    "frozen",
    "zoo:gpt-cpu",
    "zoo:NAME, the folder of a GPT's run, hub:NAME, hub:PATH or minilm",
    "the frozen model",
    "train a GPT on that corpus and give its run as --frozen, or give hub:NAME or minilm",
    ("frozen", "hidden"),
    outside=True,
)
SPACE = Foundation(
    "space",
    "vae",
    "zoo:vae-tales",
    "zoo:NAME or the folder of a VAE's run",
    "the VAE",
    "train a VAE on that corpus and give its run as --vae",
    ("space",),
    outside=False,
)
MODEL_TYPES = {
    "gpt": ModelType(GPT, GPTConfig),
    "masked": ModelType(MaskedDiffusion, MaskedDiffusionConfig),
    "ldlm": ModelType(LDLM, LDLMConfig, FROZEN),
    "vae": ModelType(VAE, VAEConfig),
    "manta": ModelType(MantaLM, MantaLMConfig, SPACE),
    "manta-horizon": ModelType(HorizonLM, HorizonConfig, FROZEN),
}


def type_of(config: Any) -> str:
    """The name of the model type that a configuration is of.

    Args:
        config: The configuration.

    Returns:
        A key of MODEL_TYPES.
    """
    return next(name for name, entry in MODEL_TYPES.items() if entry.config is type(config))


def read_config(config: type, fields: dict) -> Any:
    """A configuration from its fields, as a card has them.

    Args:
        config: Its class.
        fields: By name; configurations inside it as fields by name, too.

    Returns:
        The configuration; what the card does not say is as by default.
    """
    hints = get_type_hints(config)
    return config(
        **{
            name: read_config(hints[name], value) if is_dataclass(hints.get(name)) else value
            for name, value in fields.items()
        }
    )


def build(model_type: str, config: Any, part: Any = None) -> LanguageModel:
    """An untrained model.

    Args:
        model_type: A key of MODEL_TYPES.
        config: Its configuration.
        part: The pretrained part that it is built around, if it has one and needs it now.

    Returns:
        The model.
    """
    entry = MODEL_TYPES[model_type]
    return entry.model(config) if entry.foundation is None else entry.model(config, part)


class Uninitialized(TorchFunctionMode):
    """Skips what `torch.nn.init` draws, which on the meta device takes most of the time."""

    def __torch_function__(self, func, types, args=(), kwargs=None):
        kwargs = kwargs or {}
        if getattr(func, "__module__", "") == torch.nn.init.__name__:
            return args[0] if args else kwargs["tensor"]
        return func(*args, **kwargs)


def outline(model_type: str, config: Any) -> LanguageModel:
    """An untrained model without storage, for its names and shapes.

    Args:
        model_type: A key of MODEL_TYPES.
        config: Its configuration.

    Returns:
        The model.
    """
    with torch.device("meta"), Uninitialized():
        return build(model_type, config)
