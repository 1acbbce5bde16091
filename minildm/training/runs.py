"""What a training run is made from: a model, how it is trained, and what it reads."""

from dataclasses import dataclass, field
from typing import Any

from .config import TrainConfig


@dataclass(frozen=True)
class CorpusConfig:
    """What a model reads."""

    name: str = "tales"  # tales, tales:EVENTS, tales:3+30, pydocs, kjv, file:PATH or hub:NAME
    vocab_size: int = 512  # of a tokenizer trained on the corpus; Tales have their own words
    pack: bool = False  # join documents and cut full rows, else a document is a row where all fit
    documents: int = 100_000  # how many of a corpus that has no end


@dataclass(frozen=True)
class Run:
    """Everything that a training run is made from."""

    model: Any  # the configuration of one of MODEL_TYPES
    train: TrainConfig
    corpus: CorpusConfig = field(default_factory=CorpusConfig)
    foundation: str = ""  # the pretrained part, by default that of the configuration or of Tales
    weights: str = ""  # a run or model of the zoo whose weights it begins with
