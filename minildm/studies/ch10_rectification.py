"""Rectification: how the weight of the KL divergence shapes a latent space and its samplers."""

import math
import tempfile
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from ..dynamics.adaptive import DormandPrince
from ..dynamics.precision import double
from ..dynamics.solvers import integrate
from ..models.vae import VAE, VAEConfig
from ..text.batches import tensor
from ..text.corpora import Corpus, load_corpus
from ..text.tales_parser import parse
from ..training.config import TrainConfig
from .ch10_latent_codes import (
    ACTIVE,
    codes,
    decode_between,
    fraction_of_neither,
    perturbed_accuracy,
)
from .ch10_word_field import (
    WordDistribution,
    pair_expansion_rates,
    responsibilities,
    word_distribution,
    word_jacobian,
    word_velocity,
)
from .common import generator, trained
from .record import Record

RUNGS = (1, 2, 4, 8, 16, 32, 64, 128, 256, 512)  # numbers of Euler steps that are tried
WEIGHTS = (1e-5, 1e-4, 1e-3, 1e-2, 1e-1, 1.0)
TRAIN = TrainConfig(steps=600, batch=16, lr=3e-3, warmup=50, ema=0.99, bf16=True, save_every=600)
START = 0.5  # std at the start, amid what the weights ask for: Adam moves its logarithm slowly
PATHS, PAIRS, TEXTS = 512, 40, 256
TOLERANCE = 0.05  # error of the end, in standard deviations of the latents
LATE = 1 - torch.logspace(-2.5, 0, 120, dtype=torch.float64)


@dataclass(frozen=True)
class EulerEnds:
    """Ends of many paths from the same noise: exact, and in Euler steps by their number."""

    exact: Float[Tensor, "batch d"]
    ends: dict[int, Float[Tensor, "batch d"]]

    def errors(self, quantile: float | None = None) -> dict[int, float]:
        """Root mean square error of a channel, over all paths or of the path at a quantile."""
        off = {steps: (end - self.exact).square().mean(1) for steps, end in self.ends.items()}
        return {
            steps: float(each.mean() if quantile is None else each.quantile(quantile)) ** 0.5
            for steps, each in off.items()
        }

    def misread(self, words: WordDistribution) -> dict[int, float]:
        """Fraction of ends that the best decoder reads as another word than the exact end."""
        exact = responsibilities(words, self.exact).argmax(1)
        return {
            steps: float(double(responsibilities(words, end).argmax(1) != exact).mean())
            for steps, end in self.ends.items()
        }


def euler_ends(
    words: WordDistribution,
    count: int,
    rng: torch.Generator,
    rungs: Sequence[int] = RUNGS,
) -> EulerEnds:
    """Carry noise to words with uniform Euler steps and with an adaptive solver.

    Args:
        words: Distribution of the words' latents.
        count: Number of paths.
        rng: Generator of the random numbers.
        rungs: Numbers of Euler steps.

    Returns:
        The ends of all paths.
    """
    field = word_velocity(words)
    z0 = torch.randn(count, words.means.shape[1], generator=rng, dtype=words.means.dtype)
    whole = torch.tensor([0.0, 1.0], dtype=z0.dtype)
    solver = DormandPrince(1e-5, 1e-5)
    exact = integrate(field, z0, whole, solver, record=False).states[-1]
    ends = {}
    for steps in rungs:
        times = torch.linspace(0, 1, steps + 1, dtype=z0.dtype)
        ends[steps] = integrate(field, z0, times, record=False).states[-1]
    return EulerEnds(exact, ends)


def first_within(errors: dict[int, float], tolerance: float) -> float:
    """The number of steps from which on all errors are within the tolerance.

    Between two numbers of steps the logarithm of the error is taken as linear.

    Args:
        errors: By number of steps.
        tolerance: Largest error.

    Returns:
        A number of steps, infinite if even the most are too few.

    Derived in chapter 10.
    """
    rungs = sorted(errors)
    late = [steps for steps in rungs if errors[steps] > tolerance]
    if not late:
        return float(rungs[0])
    if late[-1] == rungs[-1]:
        return float("inf")
    a = late[-1]
    b = rungs[rungs.index(a) + 1]
    low = max(errors[b], tolerance * 1e-6)
    fraction = torch.tensor(errors[a] / tolerance).log() / torch.tensor(errors[a] / low).log()
    return float(a * (b / a) ** fraction)


def euler_std(std: Float[Tensor, "*w"], steps: int) -> Float[Tensor, "*w"]:
    """The standard deviation that Euler steps give a word once it is decided, instead of s.

    c_S = prod over k of (1 + l(k/S) / S)

    Args:
        std: The standard deviation s, above 0.
        steps: The number S of uniform steps.

    Returns:
        c_S, of the shape of `std`.
    """
    t = torch.arange(steps, dtype=std.dtype) / steps
    variance = std[..., None] ** 2
    return (1 + (t * variance - (1 - t)) / ((1 - t) ** 2 + t**2 * variance) / steps).prod(-1)


def euler_error_constant(std: Float[Tensor, "*w"]) -> Float[Tensor, "*w"]:
    """The number of Euler steps times the relative error of a path whose word is decided.

    C = lim S log(s / c_S) = 1/2 + pi (1 + s^2) / (8 s)

    Args:
        std: The standard deviation s, above 0.

    Returns:
        C, of the shape of `std`.
    """
    return 0.5 + math.pi * (1 + std**2) / (8 * std)


def spearman(x: Sequence[float], y: Sequence[float]) -> float:
    """The rank correlation; equal values share their mean rank.

    Args:
        x: Numbers.
        y: As many numbers.

    Returns:
        A number in [-1, 1].
    """

    def ranks(values: Sequence[float]) -> Tensor:
        v = torch.tensor(values, dtype=torch.float64)
        return (v[:, None] > v).sum(1) + ((v[:, None] == v).sum(1) - 1) / 2

    return float(torch.corrcoef(torch.stack((ranks(x), ranks(y))))[0, 1])


def train_space(weight: float, train: TrainConfig, corpus: Corpus) -> VAE:
    """A VAE that was trained with this weight of the KL divergence."""
    torch.manual_seed(train.seed)
    model = VAE(VAEConfig(vocab_size=corpus.tokenizer.size, kl=weight))
    nn.init.constant_(model.log_std, math.log(START))
    with tempfile.TemporaryDirectory() as folder:
        trained(model, corpus.train, train, Path(folder))
    return model.eval()


def between_texts(
    model: VAE, corpus: Corpus, rng: torch.Generator | None
) -> dict[str, list[float]]:
    """What lies between two held-out tales, by the fraction of the way from one to the other."""
    rows = tensor(corpus.valid[:TEXTS])
    fractions = torch.linspace(0, 1, 9)
    sums = {name: torch.zeros(9) for name in ("grammatical", "neither", "confidence")}
    for one, other in rows.view(-1, 2, rows.shape[1]):
        tokens, confidence = decode_between(model, one, other, fractions, rng)
        texts = [corpus.tokenizer.decode(row) for row in tokens.tolist()]
        sums["grammatical"] += torch.tensor([float(parse(text).grammatical) for text in texts])
        sums["neither"] += fraction_of_neither(one, other, tokens)
        sums["confidence"] += confidence.mean(1)
    return {name: (2 * value / TEXTS).tolist() for name, value in sums.items()}


def largest_rates(words: WordDistribution, rng: torch.Generator) -> dict[str, float]:
    """The expansion rate at the border of two words, and its peak over time on typical paths."""
    drawn = torch.multinomial(words.log_weights.exp(), 4 * PAIRS, replacement=True, generator=rng)
    pairs = [(i, j) for i, j in drawn.view(-1, 2).tolist() if i != j]
    border = sorted(float(pair_expansion_rates(words, i, j, LATE).max()) for i, j in pairs)[:PAIRS]
    times = torch.linspace(0, 1, 101, dtype=torch.float64)
    z = torch.randn(64, words.means.shape[1], generator=rng, dtype=torch.float64)
    path = integrate(word_velocity(words), z, times, "heun")
    typical = [
        float(torch.linalg.eigvalsh(word_jacobian(words, z, t))[:, -1].mean())
        for z, t in zip(path.states[:-1:2], times[:-1:2])
    ]
    return {"border": border[len(border) // 2], "typical": max(typical)}


def steps_needed(ends: EulerEnds, words: WordDistribution, width: float) -> dict[str, Any]:
    """Euler errors of the ends, and the numbers of steps that several tolerances need."""
    errors = {"all": ends.errors(), "typical": ends.errors(0.5), "late": ends.errors(0.95)}
    misread = ends.misread(words)
    steps = {name: first_within(off, TOLERANCE) for name, off in errors.items()}
    steps["width"] = first_within(errors["typical"], width / 10)
    steps["words"] = first_within(misread, 0.01)
    return {"steps": steps, "errors": errors, "misread": misread}


@torch.no_grad()
def measure(model: VAE, corpus: Corpus, seed: int) -> dict[str, Any]:
    """All that chapter 10 asks of a latent space."""
    counts = torch.bincount(tensor(corpus.train).flatten(), minlength=corpus.tokenizer.size)
    words = word_distribution(model, counts)
    rng = generator(seed)
    rows = tensor(corpus.valid)
    weights = words.log_weights.exp()
    stds = weights @ words.variances.sqrt()
    width = float(stds.mean())
    found = codes(model, words, rng)
    ends = euler_ends(words, PATHS, rng)
    k, z = words.sample(4000, rng)
    active = found.channels > ACTIVE

    def accuracy(rng: torch.Generator | None) -> float:
        return float((model.decode_tokens(model.encode(rows, rng))[0] == rows).float().mean())

    def perturbed(rng: torch.Generator | None) -> list[float]:
        few = rows[:TEXTS]
        return [perturbed_accuracy(model, words, few, x, rng) for x in (0.25, 0.5, 0.75, 1.0)]

    return {
        "width": width,
        "stds": stds.tolist(),
        "active_width": float(stds[active].mean()) if active.any() else 1.0,
        "nats": found.nats,
        "information": found.information,
        "entropy": found.entropy,
        "active": found.active,
        "collapsed": found.collapsed,
        "read_draws": accuracy(rng),
        "read_means": accuracy(None),
        "best_reader": float((responsibilities(words, z).argmax(1) == k).double().mean()),
        **steps_needed(ends, words, width),
        "expansion_rate": largest_rates(words, rng),
        "between": {
            "means": between_texts(model, corpus, None),
            "draws": between_texts(model, corpus, rng),
        },
        "perturbed": {"nearest": perturbed(None), "random": perturbed(rng)},
    }


def run(out: Path = Path("runs/ch10_rectification.json"), seeds: int = 3, steps: int = 600) -> None:
    """What a latent space costs, carries and needs, for 6 weights of the KL divergence.

    Args:
        out: File of the record.
        seeds: Seeds of each weight; every one trains a small VAE.
        steps: Training steps of each VAE.
    """
    corpus = load_corpus("tales", 64)
    train = replace(TRAIN, steps=steps)
    record = Record(out, train=asdict(train), model=asdict(VAEConfig()), start=START)
    for seed in range(seeds):
        for weight in WEIGHTS:
            case = {"weight": weight, "seed": seed}
            if case not in record:
                model = train_space(weight, replace(train, seed=seed), corpus)
                record.add(case | measure(model, corpus, seed))
