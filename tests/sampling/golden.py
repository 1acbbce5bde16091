"""Outputs of every model of the zoo, sampler and seed, kept as they were before the samplers moved into one room.

`python -m tests.sampling.golden` writes golden.json anew, which is right only where the mathematics was changed on purpose.
"""

import hashlib
import json
from dataclasses import replace
from pathlib import Path

import torch

from minildm.evaluation.disturbances import Push, disturbed, last_tokens
from minildm.models.generation import GenerationConfig
from minildm.models.guidance import contains
from minildm.pretrained import load
from minildm.sampling import Sampler
from minildm.text.batches import tensor
from minildm.text.corpora import load_corpus

KEPT = Path(__file__).with_name("golden.json")
COUNT, STEPS, SEEDS = 3, 8, (0, 1)
GUIDED_STEPS = 3  # few, since gradients enlarge what processors round differently
PROMPT = "once at the"
CONFIGS = {"restart": {"start": 0.6}, "guide": {"guidance_scale": 2.0}}
MODELS = (
    "gpt-cpu",
    "gpt-tales",
    "masked-cpu",
    "masked-tales",
    "ldlm-cpu",
    "ldlm-matched",
    "ldlm-tales",
    "manta-cpu",
    "manta-tales",
    "vae-tales",
)
SOLVERS = {
    "gpt": [{}, {"temperature": 0.7, "top_p": 0.9}],
    "masked": [{"solver": name} for name in ("ancestral", "confidence", "margin")]
    + [{"temperature": 0.5, "top_p": 0.9}],
    "ldlm": [{"solver": name} for name in ("ancestral", "ddim", "multistep", "euler", "heun")]
    + [{"temperature": 0.5}, {"warped": False}],
    "manta": [{"solver": name} for name in ("ancestral", "euler", "sampled", "entropy_bounded")]
    + [{"offset": 0.0}, {"solver": "entropy_bounded", "entropy_bound": 0.5}],
    "vae": [{}],
}
DISTURBED = {
    "gpt": ["ancestral"],
    "masked": ["ancestral"],
    "ldlm": ["ancestral", "ddim", "multistep", "euler", "heun"],
    "manta": ["ancestral", "euler", "sampled"],
}


def cases() -> list[tuple[str, str, dict]]:
    """(model, what is done with it, options)."""
    found = []
    for name in MODELS:
        model_type = name.partition("-")[0]
        plain = SOLVERS[model_type]
        found += [(name, "losses", {})] + [(name, "write", options) for options in plain]
        if model_type == "vae":
            continue
        found.append((name, "prompt", {}))
        if model_type != "gpt":
            found.append((name, "infill", {}))
        if model_type in ("ldlm", "manta"):
            found += [
                (name, "restart", {}),
                (name, "guide", {}),
                (name, "guide", {"solver": plain[-1].get("solver", "ddim")}),
            ]
        found += [(name, "disturb", {"solver": solver}) for solver in DISTURBED[model_type]]
    return found


def label(name: str, what: str, options: dict) -> str:
    return " ".join([name, what, *(f"{key}={value}" for key, value in options.items())])


def digest(tokens: torch.Tensor) -> str:
    """The tokens in a few letters."""
    return hashlib.sha256(json.dumps(tokens.tolist()).encode()).hexdigest()[:16]


def outputs(name: str, what: str, options: dict) -> list:
    """For each seed: a text to read, a digest of all tokens, and the function evaluations; or the terms of the loss."""
    loaded = load(name)
    model, tokenizer = loaded.model.double(), loaded.tokenizer
    rows, found = tensor(load_corpus("tales", 64, documents=2000).valid[:COUNT]), []
    for seed in SEEDS:
        if what == "losses":
            losses = model.train()(rows, step=500, rng=torch.Generator().manual_seed(seed))
            found.append(
                {name: f"{float(term.detach()):.9g}" for name, term in losses.terms.items()}
            )
            continue
        config = GenerationConfig(**CONFIGS.get(what, {}), **options)
        if what == "guide":
            config = replace(config, guidance_target=contains(tokenizer.encode("fox")[0]))
        if "steps" in model.capabilities.options:
            config = replace(config, steps=GUIDED_STEPS if what == "guide" else STEPS)
        else:
            config = replace(config, solver=None)
        sampler = Sampler(model, config)
        if what == "disturb":
            made = disturbed(sampler, COUNT, Push(size=1), seed=seed)
            paths = made.plan, made.closed, made.replayed
            ends = torch.cat([last_tokens(model, path) for path in paths])
            found.append([tokenizer.decode(ends[COUNT].tolist()), digest(ends), made.at])
            continue
        given = {"prompt": rows}
        if what == "prompt":
            given = {"prompt": torch.tensor([[1, *tokenizer.encode(PROMPT)]])}
        elif what == "infill":
            given["observed"] = torch.ones(rows.shape, dtype=torch.bool)
            given["observed"][:, 10:20] = False
        elif what != "restart":
            given = {}
        made = sampler(COUNT, rng=torch.Generator().manual_seed(seed), **given)
        found.append([tokenizer.decode(made.tokens[0].tolist()), digest(made.tokens), made.nfe])
    return found


if __name__ == "__main__":
    torch.set_grad_enabled(False)
    kept = {}
    for case in cases():
        print(label(*case), flush=True)
        kept[label(*case)] = outputs(*case)
    KEPT.write_text(json.dumps(kept, indent=1) + "\n")
