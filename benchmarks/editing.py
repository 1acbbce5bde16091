"""Gaps, damage and wishes: what each shipped model makes of tales that it has not seen, and of a word that should be said.

    OMP_NUM_THREADS=1 python benchmarks/editing.py --out benchmarks/results/editing.json

Each model is asked with 32 calls a text, or what a GPT needs; 3 seeds of 512 tales. Every finished row is kept in the file; a
second start goes on. What is cheap comes first; bent ends, which need gradients, last. Chapter 13 reads the file.
"""

import argparse
import random
from functools import partial
from pathlib import Path

import torch
from rows import begun, keep

from minildm.evaluation.editing import DOUBTFUL, damage, doubts, fill_from_left, gaps, outcome
from minildm.evaluation.scorecard import validity
from minildm.models.base import BOS, Generation
from minildm.models.steering import insist, says
from minildm.text.batches import tensor
from minildm.text.corpora import load_corpus
from minildm.training.zoo import load

STEPS, SEEDS, COUNT = 32, 3, 512
AT_ONCE = 64  # texts
GAP, DAMAGE = 0.3, 0.1  # shares of a tale's words
PARTS = 8  # calls of a doubt; the repair has the rest
BACK = (0.4, 0.6, 0.8)  # share of the steps that a repair by noise keeps
WISHES = ("happy", "boat", "library")  # one a seed
STRENGTHS = {
    "ancestral": (0.0, 1.0, 2.0),
    "paced": (0.0, 0.25, 0.5, 1.0, 2.0),
}  # of bent ends, of tilted laws
TEMPERATURES = (1.0, 0.5), (0.5, 0.0)  # of laws over words, and of an LDLM's noise
TRIES = 5  # of a text that should say a word
ORDER = (
    ("infilling", "gpt"),
    ("repair", "gpt"),
    ("tries", "gpt"),
    ("infilling", "masked"),
    ("repair", "masked"),
    ("infilling", "manta"),
    ("repair", "manta"),
    ("tilt", "manta"),
    ("tries", "manta"),
    ("repair", "ldlm"),
    ("infilling", "ldlm"),
    ("guidance", "manta"),
    ("guidance", "ldlm"),
)


def written(loaded, tokens) -> list[str]:
    return [loaded.tokenizer.decode(row) for row in tokens.tolist()]


def good(loaded, tokens) -> dict[str, float]:
    """Shares of grammatical and of consistent texts."""
    scores = validity(written(loaded, tokens))
    return {name: scores[name] for name in ("grammatical", "consistent")}


def generated(model, rng, count, **asked):
    """The tokens of texts that a model writes, a few at a time; of what is asked for, tensors have a row a text or one."""
    parts, rows = (
        [],
        {name: value for name, value in asked.items() if torch.is_tensor(value) and len(value) > 1},
    )
    for i in range(0, count, AT_ONCE):
        part = {**asked, **{name: value[i : i + AT_ONCE] for name, value in rows.items()}}
        parts.append(model.generate(min(AT_ONCE, count - i), rng=rng, **part).tokens)
    return torch.cat(parts)


def fill(loaded, kind, tokens, mask, steps, rng, temperature):
    """The tokens that a model puts where the mask is true."""
    if kind == "gpt":
        return fill_from_left(loaded.model, tokens, mask, rng, temperature)
    return generated(
        loaded.model,
        rng,
        len(tokens),
        steps=steps,
        prompt=tokens,
        mask=mask,
        temperature=temperature,
    )


def infilling(loaded, kind, truth, seed):
    mask = gaps(truth, GAP, random.Random(seed))
    for temperature in TEMPERATURES[kind == "ldlm"]:
        tokens = fill(
            loaded, kind, truth, mask, STEPS, torch.Generator().manual_seed(seed), temperature
        )
        yield {
            "temperature": temperature,
            **good(loaded, tokens),
            "same": (tokens == truth)[mask].float().mean().item(),
        }


def repair(loaded, kind, truth, seed):
    """By noise: back to where a text is after a share of the steps. By doubt: what surprises the model is written anew."""
    broken = damage(truth, DAMAGE, loaded.tokenizer.size, random.Random(seed))
    yield {"by": "nothing", **good(loaded, broken), **outcome(broken, broken, truth)}
    if kind in ("ldlm", "manta"):
        for back in BACK:
            tokens = generated(
                loaded.model,
                torch.Generator().manual_seed(seed),
                len(truth),
                steps=STEPS,
                prompt=broken,
                start=back,
            )
            yield {
                "by": "noise",
                "back": back,
                **good(loaded, tokens),
                **outcome(broken, tokens, truth),
            }
    rng = torch.Generator().manual_seed(seed)
    mask = doubts(loaded.model, broken, rng, PARTS) > DOUBTFUL
    tokens = fill(loaded, kind, broken, mask, STEPS - PARTS, rng, min(TEMPERATURES[kind == "ldlm"]))
    yield {
        "by": "doubt",
        "doubted": mask.float().sum(1).mean().item(),
        "hit": mask[broken != truth].float().mean().item(),
        **good(loaded, tokens),
        **outcome(broken, tokens, truth),
    }


def guidance(loaded, kind, truth, seed, solver="ancestral"):
    """Wishes at all strengths: ends that are bent, or with solver paced laws of words that are tilted."""
    word = WISHES[seed]
    wish = says(loaded.tokenizer.encode(word)[0])
    for strength in STRENGTHS[solver]:
        tokens = generated(
            loaded.model,
            torch.Generator().manual_seed(seed),
            len(truth),
            steps=STEPS,
            solver=solver,
            strength=strength,
            wish=wish if strength else None,
        )
        hits = sum(word in text.split() for text in written(loaded, tokens)) / len(truth)
        yield {"word": word, "strength": strength, "hits": hits, **good(loaded, tokens)}


def insisted(loaded, count, sought, rng, **asked):
    """Tokens of texts that are written anew where they do not say a word, and how many were written for each."""
    counts = []

    def write(count):
        counts.append(count)
        return Generation(generated(loaded.model, rng, count, **asked), 0, 0.0)

    return insist(write, count, sought, TRIES, loaded.tokenizer.size).tokens, sum(counts) / count


def tries(loaded, kind, truth, seed):
    """Wishes insisted on: by a GPT, which can do no more about them, and by a Manta-LM with laws that are tilted or not."""
    word, start = WISHES[seed], {"prompt": torch.tensor([[BOS]])} if kind == "gpt" else {}
    wish = says(loaded.tokenizer.encode(word)[0])
    for strength in (0.0, 1.0) if kind == "manta" else (0.0,):
        guided = {"wish": wish, "strength": strength} if strength else {}
        tokens, each = insisted(
            loaded, len(truth), wish, torch.Generator().manual_seed(seed), **start, **guided
        )
        hits = sum(word in text.split() for text in written(loaded, tokens)) / len(truth)
        yield {
            "word": word,
            "strength": strength,
            "tries": TRIES,
            "texts": each,
            "hits": hits,
            **good(loaded, tokens),
        }


TASKS = {
    "infilling": infilling,
    "repair": repair,
    "guidance": guidance,
    "tilt": partial(guidance, solver="paced"),
    "tries": tries,
}


def main() -> None:
    flags = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    flags.add_argument("--out", type=Path, default=Path("runs/editing.json"))
    flags.add_argument(
        "--only",
        nargs="+",
        choices=TASKS,
        default=list(TASKS),
        help="tasks to be done, by default all",
    )
    given = flags.parse_args()
    out = given.out
    torch.set_num_threads(1)
    corpus, state = load_corpus("tales", 64, documents=100_000), begun(out, count=COUNT)
    done = {(row["task"], row["model"], row["seed"]) for row in state["rows"]}
    for task, kind in [pair for pair in ORDER if pair[0] in given.only]:
        name = f"{kind}-tales"
        loaded = load(name)
        for seed in range(SEEDS):
            if (task, name, seed) not in done:
                truth = tensor(corpus.valid[seed * COUNT : (seed + 1) * COUNT])
                rows = TASKS[task](loaded, kind, truth, seed)
                keep(
                    out,
                    state,
                    *({"task": task, "model": name, "seed": seed, **row} for row in rows),
                )


if __name__ == "__main__":
    main()
