"""How a text is drawn from a model: what may be asked for, and what a model can do."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from jaxtyping import Float
from torch import Tensor

GuidanceTarget = Callable[
    [Float[Tensor, "b n vocab_size"]], Float[Tensor, " b"]
]  # log p_i(w) -> terminal cost -log P(target), in nats
PolicySolver = Literal["ancestral", "euler", "sampled", "entropy_bounded"]


@dataclass(frozen=True)
class GenerationConfig:
    """How texts are drawn; None stands for the model's own default."""

    steps: int | None = None  # solver steps; not of a GPT, which takes one a token
    solver: str | None = None  # one of the model's `capabilities.solvers`
    length: int | None = None  # tokens of a text, by default the length of training
    temperature: float | None = None  # of token probabilities, or of an LDLM's ancestral noise
    top_p: float = 1.0  # probability mass of the tokens that may be drawn
    guidance_target: GuidanceTarget | None = None  # terminal cost that texts are guided by
    guidance_scale: float = 1.0  # multiple of its gradient; 1 is Bayes' rule
    offset: float | None = None  # by how much the last position's noise level is behind the first's
    entropy_bound: float | None = None  # nats of tokens that are drawn together
    horizon: int | None = None  # latents under way at once
    refinements: int | None = None  # evaluations that each of them takes from noise to data
    noise_estimate: bool | None = None  # tell the policy the noise level that the state shows
    start: float = 0.0  # fraction of the steps after which a noised text is taken up
    warped: bool = True  # follow the learned time grid, else a uniform one
    num_tries: int = 1  # drawings of a text until it meets the guidance target


@dataclass(frozen=True)
class GenerationDefaults:
    """What a model does where a `GenerationConfig` says nothing."""

    steps: int | None = 32  # solver steps; None: one a token
    solver: str = "ancestral"  # one of the model's solvers
    temperature: float = 1.0  # of token probabilities, or of an LDLM's ancestral noise


@dataclass(frozen=True)
class MantaGeneration(GenerationDefaults):
    """How a Manta-LM draws texts where nothing else is asked for."""

    solver: PolicySolver = "ancestral"  # by which texts are drawn
    temperature: float = 0.5  # of the token posterior
    offset: float = 2.0  # of noise levels over a text
    entropy_bound: float = 0.02  # nats of tokens that solver entropy_bounded draws together


@dataclass(frozen=True)
class HorizonGeneration(GenerationDefaults):
    """How texts are drawn with a receding horizon where nothing else is asked for."""

    steps: int | None = None  # as many evaluations as horizon and refinements take
    temperature: float = 0.5  # of the ancestral noise
    refinements: int = 16  # evaluations that each latent takes from noise to data
    noise_estimate: bool = True  # tell the policy the noise level that the state shows


@dataclass(frozen=True)
class Capabilities:
    """What can be asked of a model."""

    solvers: tuple[str, ...]  # the first is the plainest
    options: frozenset[str]  # fields of `GenerationConfig`, and "prompt" and "observed"
    latent: bool = False  # its state is latents, (batch, n, d), else tokens, (batch, n)
    writes: bool = True  # it puts tokens in order; a VAE does not
    tempered: tuple[str, ...] = ()  # solvers that a temperature means something to; empty: all
