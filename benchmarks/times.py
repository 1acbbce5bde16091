"""What adaptive times are worth, and what became of them with averages that do not tell of one past.

    OMP_NUM_THREADS=1 python benchmarks/times.py --out benchmarks/results/times.json

The full recipe of `recipe.py` with four laws of training times, 3 seeds each: adaptive, as the package has it; adaptive, from
averages of each bin's own last hundred looks; the same with a short memory, ten bins of ten looks; and uniform. Time is cut
into tenths. Each model writes with steps that are even in its law and even in time. A finished run is kept in the file; a
second start goes on. Chapter 12 reads the file.
"""

import argparse
from dataclasses import asdict, replace
from itertools import pairwise
from pathlib import Path

import torch
from recipe import SIZES, TRAIN, VARIANTS, WRITTEN
from rows import begun, keep

from minildm.evaluation.scorecard import good_sentences
from minildm.models.ldlm import LDLM
from minildm.text.batches import tensor
from minildm.text.corpora import load_corpus
from minildm.training.loop import Trainer
from minildm.training.zoo import load_frozen
from minildm.transport.paths import interpolate
from minildm.transport.time_sampling import AdaptiveTime

SEEDS, TENTHS, ROWS = 3, 10, 256


class OwnLooks(AdaptiveTime):
    """The estimator that seems obvious: each bin keeps a moving average of its own last looks, and forgets nothing unseen."""

    def update(self, step: int) -> None:
        seen = self.new_count > 0
        for kept, new in (
            (self.loss, (self.new_loss / self.new_count).nan_to_num()),
            (self.weight, seen.double()),
        ):
            kept.copy_(kept.lerp(new, 1 - self.decay).where(seen, kept))
        self.new_loss.zero_()
        self.new_count.zero_()
        if (step + 1) % self.refresh == 0 and bool((self.weight > 0).all()):
            self.cdf.copy_(self.law())


LAWS = {
    "adaptive": ("full", AdaptiveTime, {}),
    "own looks": ("full", OwnLooks, {}),
    "short memory": ("full", OwnLooks, {"bins": 10, "decay": 0.9}),
    "uniform": ("no adaptive time", AdaptiveTime, {}),
}


@torch.no_grad()
def by_tenth(model: LDLM, rows, seed: int) -> dict[str, list[float]]:
    """In each tenth of time: the share of the law, the error of the guess, and the share of words that can be read off it."""
    rng, tokens = torch.Generator().manual_seed(seed), tensor(rows)
    z1 = model.encode(model.hidden(tokens))
    shown = model.read_off(z1, tokens.shape[1])[0]
    edges = torch.linspace(0, 1, model.time.bins + 1, dtype=torch.float64)
    cdf = [float(model.time.cdf[(edges - k / TENTHS).abs().argmin()]) for k in range(TENTHS + 1)]
    found = {"share": [b - a for a, b in pairwise(cdf)], "error": [], "words": []}
    for k in range(TENTHS):
        t = (k + torch.rand(len(z1), generator=rng)) / TENTHS
        zt = interpolate(model.schedule, z1, torch.randn(z1.shape, generator=rng), t)
        clean = model.clean(zt, t, torch.zeros_like(zt))
        found["error"].append((clean - z1).square().mean().item())
        found["words"].append(
            (model.read_off(clean, tokens.shape[1])[0] == shown).float().mean().item()
        )
    return found


@torch.no_grad()
def writes(model: LDLM, tokenizer, seed: int) -> dict[str, float]:
    """Share of good sentences with steps even in the law of time, and even in time."""

    def share(warped: bool) -> float:
        tokens = model.generate(
            WRITTEN, rng=torch.Generator().manual_seed(seed), warped=warped
        ).tokens
        return good_sentences([tokenizer.decode(row) for row in tokens.tolist()])

    return {"even in the law": share(True), "even in time": share(False)}


def main() -> None:
    flags = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    flags.add_argument("--out", type=Path, default=Path("runs/times.json"))
    given = flags.parse_args()
    torch.set_num_threads(1)
    laws = {
        name: {"recipe": asdict(VARIANTS[recipe]), "averages": averages.__name__, **memory}
        for name, (recipe, averages, memory) in LAWS.items()
    }
    study = begun(given.out, laws=laws, train=asdict(TRAIN))
    done = {(row["law"], row["seed"]) for row in study["rows"]}
    frozen, _ = load_frozen("zoo:gpt-brief", SIZES.layer)
    corpus = load_corpus("tales", SIZES.length, documents=200_000)
    frozen.calibrate(tensor(corpus.train[:2048]))
    for seed in range(SEEDS):
        for name in [name for name in LAWS if (name, seed) not in done]:
            recipe, averages, memory = LAWS[name]
            torch.manual_seed(seed)
            model = LDLM(
                replace(SIZES, vocabulary=corpus.tokenizer.size, recipe=VARIANTS[recipe]), frozen
            )
            model.time = averages(**memory)
            run = given.out.parent / "runs" / given.out.stem / f"{name.replace(' ', '_')}_{seed}"
            config = {
                "model": asdict(model.config),
                "train": asdict(replace(TRAIN, seed=seed)),
                "law": laws[name],
            }
            trainer = Trainer(
                model, corpus.train, replace(TRAIN, seed=seed), run, {"config": config}
            )
            trainer.resume()
            trainer.fit(quiet=True)
            model.load_state_dict(trainer.average.weights, strict=False)
            model.eval()
            keep(
                given.out,
                study,
                {
                    "law": name,
                    "seed": seed,
                    **by_tenth(model, corpus.valid[:ROWS], seed),
                    **writes(model, corpus.tokenizer, seed),
                },
            )


if __name__ == "__main__":
    main()
