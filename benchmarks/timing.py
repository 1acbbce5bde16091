"""Fair timing on shared cores: two sides alternate in short rounds, and rounds that lost their core do not count."""

import statistics
import time
from collections.abc import Callable


def versus(
    ours: Callable[[], object],
    peer: Callable[[], object],
    rounds: int = 12,
    core: float = 0.925,
    timer: Callable[[], float] = time.perf_counter,
) -> dict[str, float]:
    """Median seconds of two functions, called in the order A B B A, and the ratio of the medians.

    ratio = median(ours) / median(peer), below 1 where ours is faster

    Args:
        ours: Called without arguments.
        peer: Called without arguments.
        rounds: Calls of each that must count.
        core: Process time over wall time below which a call does not count.
        timer: That of the wall, or that of the process with `core` 0, for work on one thread where
            other work keeps the cores busy.

    Returns:
        Medians, minima, their ratio, and the numbers of calls kept and made.
    """
    sides = {"ours": ours, "peer": peer}
    kept: dict[str, list[float]] = {"ours": [], "peer": []}
    made = 0
    for function in sides.values():
        function()
    while min(map(len, kept.values())) < rounds and made < 20 * rounds:
        for name in ("ours", "peer", "peer", "ours"):
            began = timer(), time.perf_counter(), time.process_time()
            sides[name]()
            ended = timer(), time.perf_counter(), time.process_time()
            took, wall, cpu = (b - a for a, b in zip(began, ended))
            made += 1
            if cpu / wall >= core:
                kept[name].append(took)
    row = {f"{name}_median": statistics.median(times) for name, times in kept.items()}
    row |= {f"{name}_min": min(times) for name, times in kept.items()}
    return {
        **row,
        "ratio": row["ours_median"] / row["peer_median"],
        "kept": sum(map(len, kept.values())),
        "made": made,
    }
