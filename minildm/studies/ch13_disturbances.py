"""Disturbed texts: what the models make of one push, with the loop closed and by the recorded plan.

Latents are displaced by 0.5 to 4 standard deviations in a random direction, where 0 < t < 1; in
texts of tokens one token that is written is replaced by another. A moment is a mean noise level of
all positions, so with an offset the positions that are not under way stay as they are. "set_back"
is a closed loop whose times are set back by the size of the disturbance.
"""

from dataclasses import replace
from pathlib import Path
from statistics import fmean
from typing import Any

from ..evaluation.disturbances import Push, agreement, disturbed, last_tokens, outcome
from ..evaluation.set_back import set_back
from ..models.generation import GenerationConfig
from ..pretrained import Loaded, load
from ..sampling.sampler import Sampler
from .common import scores
from .record import Record

SEEDS = 3
STEPS = 32
MOMENTS = (0.25, 0.5, 0.75)
SIZES = (0.5, 2.0, 4.0)  # standard deviations, beside 1
LATENT = ("ldlm-tales", "manta-tales")
SETTINGS: dict[str, list[dict[str, Any]]] = {
    "gpt-tales": [{}],
    "masked-tales": [{}],
    "ldlm-tales": [{"solver": solver} for solver in ("ancestral", "ddim", "euler")],
    "manta-tales": [
        {"solver": solver, "offset": offset}
        for offset in (None, 0.0)
        for solver in ("ancestral", "euler")
    ],
}
PATHS = ("plan", "closed", "replayed", "set_back")


def cases() -> list[dict[str, Any]]:
    """All rows."""
    pushes = [{"moment": moment, "size": 1.0} for moment in MOMENTS]
    harder = [{"moment": 0.5, "size": size} for size in SIZES]
    return [
        {"model": name, **setting, **push, "seed": seed}
        for name, settings in SETTINGS.items()
        for setting in settings
        for push in pushes + (harder if name in LATENT else [])
        for seed in range(SEEDS)
    ]


def measure(loaded: Loaded, case: dict[str, Any], count: int) -> dict[str, Any]:
    """What became of the disturbed texts of one row."""
    model = loaded.model
    seed = case["seed"]
    config = GenerationConfig(solver=case.get("solver"), offset=case.get("offset"))
    if "steps" in model.capabilities.options:
        config = replace(config, steps=STEPS)
    sampler = Sampler(model, config)
    push = Push(case["moment"], case["size"])
    paths = disturbed(sampler, count, push, seed=seed, record=False)
    found = outcome(model, paths, loaded.tokenizer)
    if model.capabilities.latent:
        tokens = set_back(sampler, paths, case["size"], seed=seed)
        valid = scores(loaded.tokenizer, tokens)
        same = agreement(tokens, last_tokens(model, paths.plan))
        found["set_back"] = {
            "agreement": float(same.mean()),
            "grammatical": valid["grammatical"],
            "consistent": valid["consistent"],
        }
    times = paths.plan.times[paths.at]
    moving = ((times > 0) & (times < 1)).float()
    return {
        "count": count,
        "at": paths.at,
        "mean_time": times.mean().item(),
        "under_way": moving.mean().item(),
        **found,
    }


def summary(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Means over seeds, with the least and the greatest value."""
    keys = ("model", "solver", "offset", "moment", "size")
    groups: dict[tuple, list[dict]] = {}
    for row in rows:
        groups.setdefault(tuple(row.get(key) for key in keys), []).append(row)

    def over_seeds(same: list[dict], path: str, name: str) -> dict[str, float]:
        values = [row[path][name] for row in same]
        return {"mean": fmean(values), "least": min(values), "most": max(values)}

    found = []
    for key, same in groups.items():
        line: dict[str, Any] = dict(zip(keys, key)) | {"seeds": len(same)}
        for path in PATHS:
            if path in same[0]:
                line[path] = {name: over_seeds(same, path, name) for name in same[0][path]}
        found.append(line)
    return found


def run(out: Path = Path("runs/ch13_disturbances.json"), count: int = 500) -> None:
    """What becomes of texts that are pushed once on their way, by feedback and by the plan.

    Args:
        out: File of the record.
        count: Texts of each row.
    """
    record = Record(out)
    loaded: dict[str, Loaded] = {}
    for case in cases():
        if case in record:
            continue
        name = case["model"]
        if name not in loaded:
            loaded = {name: load(name, frozen=False)}
        row = case | measure(loaded[name], case, count)
        record.study["summary"] = summary([*record.study["rows"], row])
        record.add(row)
