"""How long a knob takes to change the picture: each explorer of minildm/viz, live, on one thread; the bar is 150 ms.

    OMP_NUM_THREADS=1 python benchmarks/redraw.py

What is counted is the process's own time, which other work on the machine does not lengthen much. A redraw is `first` when its
state must be computed, and `again` when it was seen before; knobs and values are drawn at random.
"""

import importlib
import json
import pkgutil
import random
import statistics
import sys
import time
from pathlib import Path

import matplotlib
import torch

from minildm.evaluation.writer import Writer
from minildm.pretrained import load
from minildm.sampling import Sampler
from minildm.transport.mixtures import denoising_error
from minildm.transport.planar import two_modes
from minildm.transport.schedules import Cosine
from minildm.transport.time_sampling import AdaptiveTime
from minildm.viz import chapters
from minildm.viz.chapters import ch07, ch11
from minildm.viz.core import style
from minildm.viz.trajectory.explorer import TrajectoryExplorer

BAR, MOVES, OUT = 0.150, 40, Path(__file__).parent / "results" / "redraw.json"


def schedule_explorer():
    """The explorer of chapter 07, which is handed the errors of a denoiser and a distribution of time."""
    sampler = AdaptiveTime(bins=ch07.BINS, floor=0.01)
    times = Cosine().from_log_snr(ch07.LOG_SNR)

    def distribution(loss):
        sampler.loss = loss
        sampler.weight = torch.ones_like(loss)
        return sampler.distribution()

    errors = {std: denoising_error(Cosine(), two_modes(std), times) for std in (0.3, 0.1, 1.0)}
    return ch07.explorer(errors, distribution)


def kernel_explorer():
    """The explorer of chapter 11, which is handed kernels of the size of LDLM's on a tale."""
    random_kernels = (
        3 * torch.randn(6, 11, 4, 64, 64, generator=torch.Generator().manual_seed(0))
    ).softmax(-1)
    return ch11.explorer(random_kernels, [k / 10 for k in range(11)], ["word"] * 48)


def text_explorer():
    """The explorer of chapters 00 and 13, which is handed models, and here texts of theirs for real ones."""
    loaded = {name: load(name) for name in ("manta-tales", "gpt-tales")}
    real = {
        name: Sampler(one.model)(64, rng=torch.Generator().manual_seed(0)).tokens
        for name, one in loaded.items()
    }
    return TrajectoryExplorer(
        {name: Writer(one.model, one.tokenizer, real[name]) for name, one in loaded.items()}, size=1
    )


HANDED = {"ch07": schedule_explorer, "ch11": kernel_explorer}


def explorers():
    """Yields (name, explorer) of each chapter that has one, and of the explorer of trajectories."""
    for module in pkgutil.iter_modules(chapters.__path__):
        chapter = importlib.import_module(f"{chapters.__name__}.{module.name}")
        make = HANDED.get(module.name) or getattr(chapter, "explorer", None)
        if make:
            yield module.name, make()
    yield "trajectory", text_explorer()


def redraws(explorer, rng: random.Random) -> dict:
    """Median seconds of a redraw by knob, of all that needed a new state, and of all that did not."""
    live, seconds = (
        explorer.live(),
        {"first": [], "again": [], **{name: [] for name in explorer.knobs}},
    )
    for _ in range(MOVES):
        name = rng.choice(
            [
                name
                for name, knob in live.knobs.items()
                if not knob.disabled and len(explorer.knobs[name]) > 1
            ]
        )
        knob = live.knobs[name]
        offered = [
            value[1] if isinstance(value, tuple) else value
            for value in getattr(knob, "options", explorer.knobs[name])
        ]
        value = rng.choice([value for value in offered if value != knob.value])
        known, began = len(explorer.seen), time.process_time()
        knob.value = value
        spent = time.process_time() - began
        seconds[name].append(spent)
        seconds["first" if len(explorer.seen) > known else "again"].append(spent)
    return {
        name: {"median": statistics.median(times), "max": max(times), "moves": len(times)}
        for name, times in seconds.items()
        if times
    }


def main() -> None:
    torch.set_num_threads(1)
    style.use()
    rows = {}
    for name, explorer in explorers():
        if sys.argv[1:] and name not in sys.argv[1:]:
            continue
        rows[name] = redraws(explorer, random.Random(0))
        print(json.dumps({name: rows[name]}), flush=True)
    found = {
        "bar": BAR,
        "moves": MOVES,
        "threads": 1,
        "timer": "process time",
        "torch": torch.__version__,
        "matplotlib": matplotlib.__version__,
        "rows": rows,
    }
    if not sys.argv[1:]:
        OUT.write_text(json.dumps(found, indent=1) + "\n")


if __name__ == "__main__":
    main()
