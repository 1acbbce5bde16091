"""Language generation as optimal control: a textbook you can run.

import minildm as ml
model = ml.load("ldlm-tales")
print(ml.sample(model, "once at the castle", steps=32, seed=0).texts[0])
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from .errors import UserError

if TYPE_CHECKING:
    from .api import Sample, evaluate, sample, train
    from .chapters import chapter
    from .models.generation import GenerationConfig
    from .models.gpt import GPT, GPTConfig
    from .models.horizon import HorizonConfig, HorizonLM
    from .models.ldlm import LDLM, LDLMConfig
    from .models.manta import MantaLM
    from .models.manta_config import MantaLMConfig
    from .models.masked import MaskedDiffusion, MaskedDiffusionConfig
    from .models.vae import VAE, VAEConfig
    from .pretrained import Loaded, load
    from .sampling import Sampler
    from .training.config import TrainConfig
    from .training.presets import find_run
    from .training.runs import CorpusConfig, Run

__version__ = "0.2.0"
__all__ = [
    "GPT",
    "LDLM",
    "VAE",
    "CorpusConfig",
    "GPTConfig",
    "GenerationConfig",
    "HorizonConfig",
    "HorizonLM",
    "LDLMConfig",
    "Loaded",
    "MantaLM",
    "MantaLMConfig",
    "MaskedDiffusion",
    "MaskedDiffusionConfig",
    "Run",
    "Sample",
    "Sampler",
    "TrainConfig",
    "UserError",
    "VAEConfig",
    "chapter",
    "evaluate",
    "find_run",
    "load",
    "sample",
    "train",
]
_PLACES = {  # imported when first asked for, because torch and plotting are heavy
    "CorpusConfig": "training.runs",
    "GPT": "models.gpt",
    "GPTConfig": "models.gpt",
    "GenerationConfig": "models.generation",
    "HorizonConfig": "models.horizon",
    "HorizonLM": "models.horizon",
    "LDLM": "models.ldlm",
    "LDLMConfig": "models.ldlm",
    "Loaded": "pretrained",
    "MantaLM": "models.manta",
    "MantaLMConfig": "models.manta_config",
    "MaskedDiffusion": "models.masked",
    "MaskedDiffusionConfig": "models.masked",
    "Run": "training.runs",
    "Sample": "api",
    "Sampler": "sampling",
    "TrainConfig": "training.config",
    "VAE": "models.vae",
    "VAEConfig": "models.vae",
    "chapter": "chapters",
    "evaluate": "api",
    "find_run": "training.presets",
    "load": "pretrained",
    "sample": "api",
    "train": "api",
}


def __getattr__(name: str) -> Any:
    if name in _PLACES:
        return getattr(import_module(f".{_PLACES[name]}", __name__), name)
    raise AttributeError(f"module 'minildm' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
