"""The pathologies of chapter 09 measured on the models of the zoo; each part is kept as it is done, and not done twice.

    OMP_NUM_THREADS=1 python benchmarks/pathologies.py [PART ...]

Parts: errors, profiles, law, variance, singularity, and curves_gpt, curves_masked, curves_ldlm (512 tales a seed at each
number of steps). Networks of planted errors and of the last two run in bfloat16, in which they were trained, and words are
drawn in float64; all else is in float32.
"""

import json
import os
import random
import sys
import time
from functools import cache, partial
from itertools import pairwise
from pathlib import Path
from statistics import fmean

import torch

from minildm.evaluation.adjoint_profiles import profile, wish
from minildm.evaluation.chains import chain_of, hard, soft, straight_through
from minildm.evaluation.gradient_absence import (
    nudge_cost,
    pathwise,
    reinforce,
    reinforce_words,
    relaxed_words,
    variance_ratio,
)
from minildm.evaluation.parallel_commits import model_surprise, staircase
from minildm.evaluation.planted_errors import given, heat, plant_and_finish, plants
from minildm.evaluation.provenance import provenance
from minildm.evaluation.scorecard import PART, validity
from minildm.evaluation.singularity import energy, speeds, steps_to, straightness, top_rates
from minildm.text.corpora import pad_rows
from minildm.text.tales import split
from minildm.text.tales_entropy import entropy
from minildm.training.zoo import load

OUT = Path(__file__).parent / "results" / "pathologies.json"
COUNT, SEEDS, STEPS = 512, 3, (4, 8, 16, 32, 64)
SAMPLERS = {"masked": ("ancestral", "confidence", "margin"), "ldlm": ("ancestral",)}
CHOICES = {"hard": hard, "soft": soft(1.0), "straight_through": straight_through(1.0)}
TIMES, EDGES, ERRORS, FINISH = (0.15, 0.3, 0.45, 0.6, 0.75), [1, 9, 17, 25, 33, 41, 64], 256, 32


def rng(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@cache
def model(kind: str):
    loaded = load(f"{kind}-brief")
    loaded.model.requires_grad_(False)
    return loaded.model, loaded.tokenizer


def wide(half: bool = True):
    return torch.autocast("cpu", torch.bfloat16, enabled=half)


def read() -> dict:
    return json.loads(OUT.read_text()) if OUT.exists() else {}


def keep(part: str, value) -> None:
    """Write one part beside the others, at once, so that a stopped run goes on where it was."""
    found = read() | {part: value, "origin": provenance(torch.device("cpu"))}
    beside = OUT.with_suffix(f".{os.getpid()}")
    beside.write_text(json.dumps(found, indent=1) + "\n")
    os.replace(beside, OUT)


def written(
    net, tokenizer, solver: str | None, steps: int | None, seed: int, half: bool = True
) -> dict:
    """How many of 512 tales of one seed are right, and the calls and seconds that they took."""
    draws, began = rng(seed), time.process_time()
    with wide(half):
        parts = [
            net.generate(PART, rng=draws, steps=steps, solver=solver) for _ in range(COUNT // PART)
        ]
    seconds = time.process_time() - began
    shares = validity([tokenizer.decode(row.tolist()) for part in parts for row in part.tokens])
    return {
        "count": COUNT,
        "seed": seed,
        "calls": fmean(part.calls for part in parts),
        "cpu_seconds": seconds,
        **shares,
    }


def curves(kind: str) -> None:
    """Share of right tales against steps; where `bfloat16` is false, one case is repeated in float32."""
    cases = [
        (None, None, seed, False) for seed in range(SEEDS)
    ]  # GPT has neither samplers nor a number of steps
    if kind in SAMPLERS:
        cases = [
            (solver, steps, seed, True)
            for solver in SAMPLERS[kind]
            for steps in STEPS
            for seed in range(SEEDS)
        ]
        cases += [("ancestral", 8, 0, False)]
    for solver, steps, seed, half in cases:
        case = {"model": kind, "solver": solver, "steps": steps, "seed": seed, "bfloat16": half}
        if not any(case.items() <= row.items() for row in read().get("curves", [])):
            row = case | written(*model(kind), solver, steps, seed, half)
            keep("curves", read().get("curves", []) + [row])
            print(
                json.dumps(
                    {k: row[k] for k in (*case, "grammatical", "consistent", "cpu_seconds")}
                ),
                flush=True,
            )


def law() -> None:
    """The staircase of the masked model on test tales, its price, and the least share of right tales that it leaves."""
    net, tokenizer = model("masked")
    documents = [tokenizer.encode(text) for text in split("test", COUNT)]
    shares, exact = [k / 64 for k in range(64)], entropy(3)
    curve = model_surprise(
        net, pad_rows(documents, net.config.length, tokenizer), shares, rng()
    ).tolist()
    stairs = {steps: staircase(curve, net.config.length, steps) for steps in (1, 2, *STEPS)}
    price = {steps: nats - exact for steps, nats in stairs.items()}
    keep(
        "law",
        {
            "shares": shares,
            "surprise": curve,
            "entropy": exact,
            "staircase": stairs,
            "price": price,
            "floor": {steps: torch.tensor(-nats).exp().item() for steps, nats in price.items()},
        },
    )


def band(values: torch.Tensor) -> dict:
    """Mean over texts, and the tenth and ninetieth percentile, of a record (time, batch)."""
    low, high = values.quantile(torch.tensor([0.1, 0.9]), dim=1).tolist()
    return {"mean": values.mean(1).tolist(), "low": low, "high": high}


def profiles() -> None:
    """How much of a wish for another tale's words is felt at each time."""
    found = {}
    for kind in ("gpt", "masked", "ldlm"):
        net, tokenizer = model(kind)
        other = tokenizer.encode(split("test", 1)[0])
        phi = wish(torch.tensor(other), torch.arange(1, len(other) + 1))
        for name, choice in CHOICES.items() if kind != "ldlm" else [("latents", hard)]:
            chain = chain_of(net, 8 if kind == "gpt" else 16, 32, rng(), choice)
            felt = profile(chain, chain.run(), phi)
            found[f"{kind}, {name}"] = {
                "times": felt.times.tolist(),
                "total": band(felt.total),
                "through": band(felt.through),
                "largest_through": felt.through[:-1].max().item(),
                "least_through": felt.through[:-1].min().item(),
            }
            print(f"{kind}, {name}", found[f"{kind}, {name}"]["largest_through"], flush=True)
    keep("profiles", found)


def singularity() -> None:
    """Speed, energy and straightness of paths; the top rate of their velocity; and steps until the end no longer moves."""
    found = {}
    for kind in ("gpt", "masked", "ldlm"):
        net, _ = model(kind)
        row, ends = {}, {}
        for steps in (64,) if kind == "gpt" else (4, 8, 16, 32, 64, 128):
            chain = chain_of(net, 8, steps, rng())
            path = chain.run()
            ends[steps] = path.states[-1][..., : chain.moving]
            chord = (ends[steps] - path.states[0][..., : chain.moving]).flatten(1).norm(dim=1)
            row[f"{steps} steps"] = {
                "times": path.times.tolist(),
                "speed": band(speeds(path, chain.moving)),
                "energy": energy(path, chain.moving).mean().item(),
                "chord": chord.mean().item(),
                "straightness": straightness(path, chain.moving).mean().item(),
            }
            if kind != "gpt" and steps == 16:
                few = chain_of(net, 2, steps, rng())
                row[f"{steps} steps"]["rate"] = band(top_rates(few, few.run(), rng(), rounds=12))
        most = max(ends)
        row["off_the_most_steps"] = {
            s: ((z - ends[most]).norm() / ends[most].norm()).item() for s, z in ends.items()
        }
        row["steps_to"] = {tolerance: steps_to(tolerance, ends) for tolerance in (0.05, 0.1, 0.2)}
        found[kind] = row
        keep("singularity", found)


def variance() -> None:
    """REINFORCE against pathwise gradients at equal calls: of a wish about the end of an LDLM, and of masked words."""
    net, tokenizer = model("ldlm")
    other = tokenizer.encode(split("test", 1)[0])
    words, at, found, count = torch.tensor(other), torch.arange(1, len(other) + 1), {}, 256

    def surprised(scores):
        return -scores.log_softmax(-1)[:, at, words].mean(-1)

    chain = chain_of(net, 1, 8, rng())
    path = chain.run()
    for k in (0, 2, 4, 6):
        cost, mean = nudge_cost(chain, path, k, surprised), path.states[k][0, :, : chain.moving]
        for std in (0.1, 0.3):
            scored, direct = (
                estimate(cost, mean, std, count, rng(1)) for estimate in (reinforce, pathwise)
            )
            found[f"ldlm, t = {path.times[k]:.2f}, std {std}"] = compare(
                scored, direct, path.times[k].item(), std
            )
            print(json.dumps(found[f"ldlm, t = {path.times[k]:.2f}, std {std}"]), flush=True)
    keep("variance", found | {"words": word_variance()})


def compare(scored, direct, t: float | None, std: float | None) -> dict:
    ratio = variance_ratio(scored, direct, rng(2))
    angle = torch.cosine_similarity(scored.mean, direct.mean, dim=0).item()
    return {
        "t": t,
        "std": std,
        "draws": len(scored.draws),
        "parameters": scored.draws.shape[1],
        "value": ratio.value,
        "low": ratio.low,
        "high": ratio.high,
        "cosine_of_means": angle,
    }


def word_variance() -> dict:
    """The last word of a wish in the masked model's first step: REINFORCE is all that hard words leave."""
    net, tokenizer = model("masked")
    other = tokenizer.encode(split("test", 1)[0])
    words, at = torch.tensor(other), torch.arange(1, len(other) + 1)
    chain = chain_of(net, 1, 1, rng())
    logits = chain.field(chain.start, torch.tensor(0.0))[0].clamp(min=-30)

    def wanting(z):
        return -z[:, at, words].sum(-1)

    scored = reinforce_words(wanting, logits, 4096, rng(1))
    relaxed = {
        name: relaxed_words(wanting, logits, 1024, rng(1), choice)
        for name, choice in CHOICES.items()
    }
    row = {
        name: compare(scored, estimates, 0.0, None)
        for name, estimates in relaxed.items()
        if name != "hard"
    }
    return row | {"hard": {"largest_gradient": relaxed["hard"].draws.abs().max().item()}}


def errors() -> None:
    """Where planted errors go, 256 at each of 5 times for each model, of 32 steps for a whole text."""
    found = read().get("errors", {})
    for kind in ("gpt", "masked", "ldlm"):
        if kind in found:
            continue
        net, tokenizer = model(kind)
        outcomes, settled = [], []
        for i, t in enumerate(TIMES):
            before = given(t, net.config.length) if kind == "gpt" else None
            planted = plants(tokenizer, ERRORS, net.config.length, random.Random(i), before)
            with wide():
                outcomes.append(plant_and_finish(net, tokenizer, planted, t, FINISH, i))
            settled.append(planted.noticed < given(t, net.config.length))
        fields = [name for name in vars(outcomes[0]) if name != "position"]
        row = {"edges": EDGES, "times": TIMES, "planted": ERRORS * len(TIMES), "steps": FINISH}
        row |= {
            name: heat(outcomes, lambda o, name=name: getattr(o, name), EDGES) for name in fields
        }
        row["count"] = [
            [int(((o.position >= a) & (o.position < b)).sum()) for o in outcomes]
            for a, b in pairwise(EDGES)
        ]
        row["by_time"] = {
            name: [getattr(o, name).float().mean().item() for o in outcomes] for name in fields
        }
        if (
            kind == "gpt"
        ):  # whose prefix holds a contradiction already, so that nothing behind it can mend the tale
            row["settled"] = [int(seen.sum()) for seen in settled]
            row["consistent_settled"] = [
                int(o.consistent[seen].sum()) for o, seen in zip(outcomes, settled)
            ]
            row["consistent_open"] = [
                o.consistent[~seen].float().mean().item() for o, seen in zip(outcomes, settled)
            ]
        found[kind] = row
        keep("errors", found)
        print(kind, json.dumps(row["by_time"]), flush=True)


PARTS = {part.__name__: part for part in (errors, profiles, law, variance, singularity)}
PARTS |= {f"curves_{kind}": partial(curves, kind) for kind in ("gpt", "masked", "ldlm")}


def main() -> None:
    torch.set_num_threads(1)
    for part in sys.argv[1:] or PARTS:
        began = time.process_time()
        PARTS[part]()
        print(f"{part}: {time.process_time() - began:.0f} s of CPU", flush=True)


if __name__ == "__main__":
    main()
