"""Requests that a model can meet: defaults are filled in, and all else is refused here."""

import math
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from ..errors import UserError
from ..models.base import LanguageModel
from ..models.generation import GenerationConfig, GuidanceTarget

OPTIONS = {  # what may be asked for, in words
    "steps": "number of steps to choose",
    "solver": "solvers to choose from",
    "temperature": "temperature",
    "top_p": "nucleus to draw from",
    "guidance_target": "gradient of guidance",
    "guidance_scale": "gradient of guidance",
    "offset": "noise levels with an offset",
    "entropy_bound": "entropy bound",
    "horizon": "horizon",
    "refinements": "refinements",
    "noise_estimate": "estimate of its noise level",
    "start": "latents to start from",
    "warped": "learned time grid",
    "num_tries": "way to try again",
}
NUMBERS = ("temperature", "guidance_scale", "offset", "entropy_bound")  # of 0 or more


@dataclass(frozen=True)
class Settings:
    """How texts are drawn, with the model's defaults where a `GenerationConfig` says nothing."""

    steps: int
    solver: str
    length: int
    temperature: float
    top_p: float = 1.0
    guidance_target: GuidanceTarget | None = None
    guidance_scale: float = 1.0
    offset: float = 0.0
    entropy_bound: float = 0.0
    horizon: int | None = None
    refinements: int = 1
    noise_estimate: bool = False
    start: float = 0.0
    warped: bool = True
    num_tries: int = 1


def complete(config: GenerationConfig, model: LanguageModel) -> Settings:
    """The settings that a configuration stands for, with the model's defaults.

    A start or an offset asks for solver ancestral, where no solver is named.

    Args:
        config: What is asked for.
        model: The model.

    Returns:
        Settings in which everything is said.

    Raises:
        UserError: On what the model cannot do, and on numbers without a meaning.
    """
    check_options(config, model)
    check_numbers(config)
    defaults = model.generation
    travels = bool(config.start) or config.offset is not None
    length = model.config.seq_len if config.length is None else config.length
    given: dict[str, Any] = {k: v for k, v in vars(config).items() if v is not None}
    own: dict[str, Any] = dict(vars(defaults))
    own["steps"] = defaults.steps or length
    if travels:
        own["solver"] = "ancestral"
    own |= given
    own["length"] = length
    settings = Settings(**own)
    check_sizes(settings)
    check_solver(config, settings.solver, model)
    return settings


def check_options(config: GenerationConfig, model: LanguageModel) -> None:
    """Refuse an option that means nothing to the model."""
    plain = GenerationConfig()
    for name, words in OPTIONS.items():
        asked = getattr(config, name) != getattr(plain, name)
        if asked and name not in model.capabilities.options:
            raise UserError(f"{model.title} has no {words}: leave out {name}")


def check_numbers(config: GenerationConfig) -> None:
    """Refuse numbers that have no meaning."""
    for name in NUMBERS:
        value = getattr(config, name)
        if value is not None and not 0 <= value < math.inf:
            said = name.replace("_", " ")
            raise UserError(f"the {said} {value} has no meaning: give a number of 0 or more")
    if not 0 < config.top_p <= 1:
        raise UserError(f"a top_p of {config.top_p} has no meaning: give a fraction above 0")
    if not 0 <= config.start < 1:
        raise UserError(f"a start of {config.start} has no meaning: give a fraction from 0 to 1")
    if config.num_tries < 1:
        raise UserError(f"{config.num_tries} tries draw nothing: give 1 or more")
    if config.num_tries > 1 and config.guidance_target is None:
        raise UserError(
            "tries are repeated until a guidance target is met: give a target, or 1 try"
        )


def check_sizes(config: Settings) -> None:
    """Refuse texts without tokens and processes without steps."""
    if config.length < 2:
        raise UserError(
            f"a length of {config.length} tokens leaves no room for a text: ask for at least 2"
        )
    if config.steps < 1:
        raise UserError(f"cannot sample in {config.steps} steps: ask for at least 1")


def check_solver(asked: GenerationConfig, solver: str, model: LanguageModel) -> None:
    """Refuse a solver that the model does not have, or that cannot do what else is asked."""
    solvers = model.capabilities.solvers
    if solvers and solver not in solvers:
        raise UserError(
            f"{model.title} has no solver {solver!r}: choose one of {', '.join(solvers)}"
        )
    if asked.entropy_bound is not None and solver != "entropy_bounded":
        raise UserError(f"solver {solver} has no entropy bound: take solver entropy_bounded")
    if solver == "entropy_bounded" and (asked.offset is not None or asked.start):
        raise UserError("solver entropy_bounded takes no offset and no start: leave them out")
    only = model.capabilities.tempered
    if asked.temperature is not None and only and solver not in only:
        raise UserError(
            f"solver {solver} adds no noise that a temperature could scale: "
            f"take solver {' or '.join(only)}"
        )


def check_prompt(
    model: LanguageModel,
    config: Settings,
    count: int,
    prompt: Tensor | None,
    observed: Tensor | None,
) -> None:
    """Refuse a count without texts, and a prompt that leaves no room or that nobody reads.

    Args:
        model: The model.
        config: The settings.
        count: Number of texts.
        prompt: Tokens (batch, p), if any.
        observed: Where they are given, if not everywhere.

    Raises:
        UserError: On a request that cannot be met.
    """
    if count < 1:
        raise UserError(f"cannot write {count} texts: ask for at least 1")
    if prompt is None:
        return
    needs = "prompt" if observed is None else "observed"
    if needs not in model.capabilities.options:
        what = "a given beginning" if observed is None else "given gaps"
        raise UserError(f"{model.title} writes no text around {what}: leave out {needs}")
    whole = bool(config.start) or observed is not None
    if not whole and prompt.shape[-1] >= config.length:
        raise UserError(
            f"the prompt has {prompt.shape[-1]} tokens but the text only {config.length}: "
            "shorten it or raise the length"
        )
