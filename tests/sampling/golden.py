"""Outputs of every model of the zoo, sampler and seed, kept as they were before the samplers moved into one room.

`python -m tests.sampling.golden` writes golden.json anew, which is right only where the mathematics was changed on purpose.
"""

import hashlib
import json
from pathlib import Path

import torch

from minildm.evaluation.kicks import kicked, last_words
from minildm.models.steering import says
from minildm.text.batches import tensor
from minildm.text.corpora import load_corpus
from minildm.training.zoo import load

KEPT = Path(__file__).with_name("golden.json")
COUNT, STEPS, SEEDS = 3, 8, (0, 1)
PROMPT = "once at the"
MODELS = (
    "gpt-brief",
    "gpt-tales",
    "masked-brief",
    "masked-tales",
    "ldlm-brief",
    "ldlm-matched",
    "ldlm-tales",
    "manta-brief",
    "manta-tales",
    "vae-tales",
)
SOLVERS = {
    "gpt": [{}, {"temperature": 0.7, "top_p": 0.9}],
    "masked": [{"solver": name} for name in ("ancestral", "confidence", "margin")]
    + [{"temperature": 0.5, "top_p": 0.9}],
    "ldlm": [{"solver": name} for name in ("ancestral", "ddim", "euler", "heun")]
    + [{"temperature": 0.5}, {"warped": False}],
    "manta": [{"solver": name} for name in ("ancestral", "euler", "drawn", "paced")]
    + [{"lag": 0.0}, {"solver": "paced", "entropy_bound": 0.5}],
    "vae": [{}],
}
DISTURBED = {
    "gpt": ["ancestral"],
    "masked": ["ancestral"],
    "ldlm": ["ancestral", "ddim", "euler", "heun"],
    "manta": ["ancestral", "euler", "drawn"],
}


def cases() -> list[tuple[str, str, dict]]:
    """(model, what is done with it, options)."""
    found = []
    for name in MODELS:
        kind = name.partition("-")[0]
        plain = SOLVERS[kind]
        found += [(name, "losses", {})] + [(name, "write", options) for options in plain]
        if kind == "vae":
            continue
        found.append((name, "prompt", {}))
        if kind != "gpt":
            found.append((name, "infill", {}))
        if kind in ("ldlm", "manta"):
            found += [
                (name, "restart", {}),
                (name, "guide", {}),
                (name, "guide", {"solver": plain[-1].get("solver", "ddim")}),
            ]
        found += [(name, "disturb", {"solver": solver}) for solver in DISTURBED[kind]]
    return found


def label(name: str, what: str, options: dict) -> str:
    return " ".join([name, what, *(f"{key}={value}" for key, value in options.items())])


def digest(tokens: torch.Tensor) -> str:
    """The tokens in a few letters."""
    return hashlib.sha256(json.dumps(tokens.tolist()).encode()).hexdigest()[:16]


def outputs(name: str, what: str, options: dict) -> list:
    """For each seed: a text to read, a digest of all tokens, and the calls of the network; or the terms of the loss."""
    loaded = load(name)
    model, tokenizer = loaded.model.double(), loaded.tokenizer
    rows, found = tensor(load_corpus("tales", 64, documents=2000).valid[:COUNT]), []
    for seed in SEEDS:
        if what == "losses":
            losses = model.train()(rows, step=500, rng=torch.Generator().manual_seed(seed))
            found.append({name: f"{float(term):.9g}" for name, term in losses.terms.items()})
            continue
        if what == "disturb":
            steps = {} if name.startswith("gpt") else {"steps": STEPS}
            made = kicked(model, COUNT, seed=seed, size=1, **steps, **options)
            ends = torch.cat(
                [last_words(model, path) for path in (made.plan, made.closed, made.replayed)]
            )
            found.append([tokenizer.decode(ends[COUNT].tolist()), digest(ends), made.at])
            continue
        asked = dict(options)
        if what == "prompt":
            asked["prompt"] = torch.tensor([[1, *tokenizer.encode(PROMPT)]])
        elif what == "infill":
            gap = torch.zeros(rows.shape, dtype=torch.bool)
            gap[:, 10:20] = True
            asked |= {"prompt": rows, "mask": gap}
        elif what == "restart":
            asked |= {"prompt": rows, "start": 0.6}
        elif what == "guide":
            asked |= {"wish": says(tokenizer.encode("fox")[0]), "strength": 2.0}
        if not name.startswith(("gpt", "vae")):
            asked["steps"] = STEPS
        made = model.generate(COUNT, rng=torch.Generator().manual_seed(seed), **asked)
        found.append([tokenizer.decode(made.tokens[0].tolist()), digest(made.tokens), made.calls])
    return found


if __name__ == "__main__":
    torch.set_grad_enabled(False)
    kept = {}
    for case in cases():
        print(label(*case), flush=True)
        kept[label(*case)] = outputs(*case)
    KEPT.write_text(json.dumps(kept, indent=1) + "\n")
