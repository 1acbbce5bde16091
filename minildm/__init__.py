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
    from .models.gpt import GPT
    from .models.ldlm import LDLM
    from .models.manta import MantaLM
    from .models.masked import MaskedDiffusion
    from .models.vae import VAE
    from .pretrained import Loaded, load
    from .sampling import Sampler

__version__ = "0.2.0"
__all__ = [
    "GPT",
    "LDLM",
    "VAE",
    "GenerationConfig",
    "Loaded",
    "MantaLM",
    "MaskedDiffusion",
    "Sample",
    "Sampler",
    "UserError",
    "chapter",
    "evaluate",
    "load",
    "sample",
    "train",
]
_PLACES = {  # imported when first asked for, because torch and plotting are heavy
    "GPT": "models.gpt",
    "GenerationConfig": "models.generation",
    "LDLM": "models.ldlm",
    "Loaded": "pretrained",
    "MantaLM": "models.manta",
    "MaskedDiffusion": "models.masked",
    "Sample": "api",
    "Sampler": "sampling",
    "VAE": "models.vae",
    "chapter": "chapters",
    "evaluate": "api",
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
