"""Kicked texts: what the shipped models make of one push, with the loop closed and by the recorded plan.

    OMP_NUM_THREADS=1 python benchmarks/kicks.py --out benchmarks/results/kicks.json

3 seeds a row, of 500 texts unless a row says fewer. Latents are pushed by 0.5 to 4 stds in a random direction, where 0 < t < 1;
in texts of words one word that is written is replaced by another. A moment is that of the mean clock of all positions, so that
with a lag positions that are not under way are not pushed. "set_back" is a closed loop that is told the size of the push. Rows
are kept at once; a second start goes on. Chapter 13 reads the file.
"""

import argparse
import json
from pathlib import Path
from statistics import fmean

from rows import begun, write

from minildm.evaluation.kicks import agreement, kicked, last_words, outcome, set_back
from minildm.evaluation.scorecard import validity
from minildm.training.zoo import load

SEEDS, STEPS, MOMENTS, SIZES = 3, 32, (0.25, 0.5, 0.75), (0.5, 2.0, 4.0)
SETTINGS = {
    "gpt-tales": [{}],
    "masked-tales": [{}],
    "ldlm-tales": [{"solver": s} for s in ("ancestral", "ddim", "euler")],
    "manta-tales": [
        {"solver": s, "lag": lag} for lag in (None, 0.0) for s in ("ancestral", "euler")
    ],
}


def cases() -> list[dict]:
    """All rows but for their seed."""
    pushes = [{"moment": m, "size": 1.0} for m in MOMENTS]
    harder = [{"moment": 0.5, "size": s} for s in SIZES]
    return [
        {"model": name, **setting, **push}
        for name, settings in SETTINGS.items()
        for setting in settings
        for push in pushes + (harder if setting else [])
    ]


def measure(loaded, case: dict, count: int, seed: int) -> dict:
    how = {k: v for k, v in case.items() if k in ("solver", "lag")} | {"seed": seed, "steps": STEPS}
    paths = kicked(
        loaded.model, count, moment=case["moment"], size=case["size"], record=False, **how
    )
    found = outcome(loaded.model, paths, loaded.tokenizer)
    if "solver" in case:
        words = set_back(loaded.model, paths, case["size"], **how)
        shares = validity([loaded.tokenizer.decode(row) for row in words.tolist()])
        found["set_back"] = {
            "agreement": float(agreement(words, last_words(loaded.model, paths.plan)).mean()),
            "grammatical": shares["grammatical"],
            "consistent": shares["consistent"],
        }
    clock = paths.plan.times[paths.at]
    moving = ((clock > 0) & (clock < 1)).float().mean().item()
    return {
        "count": count,
        "at": paths.at,
        "clock": clock.mean().item(),
        "under_way": moving,
        **found,
    }


def summary(rows: list[dict]) -> list[dict]:
    """Means over seeds with their least and greatest."""
    keys = ("model", "solver", "lag", "moment", "size")
    groups: dict = {}
    for row in rows:
        groups.setdefault(tuple(row.get(k) for k in keys), []).append(row)

    def over(same: list[dict], path: str, name: str) -> dict:
        values = [row[path][name] for row in same]
        return {"mean": fmean(values), "least": min(values), "most": max(values)}

    return [
        dict(zip(keys, key))
        | {"seeds": len(same)}
        | {
            path: {name: over(same, path, name) for name in same[0][path]}
            for path in ("plan", "closed", "replayed", "set_back")
            if path in same[0]
        }
        for key, same in groups.items()
    ]


def main() -> None:
    flags = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    flags.add_argument("--out", type=Path, default=Path("runs/kicks.json"))
    flags.add_argument("--count", type=int, default=500)
    flags.add_argument("--device", default="cpu")
    flags.add_argument("--only", nargs="*", default=list(SETTINGS), help="models")
    given = flags.parse_args()
    state = begun(given.out)
    for case in [case for case in cases() if case["model"] in given.only]:
        loaded = load(case["model"], frozen=False)
        loaded.model.to(given.device)
        for seed in range(SEEDS):
            if any((case | {"seed": seed}).items() <= row.items() for row in state["rows"]):
                continue
            state["rows"].append(case | {"seed": seed} | measure(loaded, case, given.count, seed))
            state["summary"] = summary(state["rows"])
            write(given.out, state, given.device)
            print(json.dumps(state["rows"][-1]), flush=True)


if __name__ == "__main__":
    main()
