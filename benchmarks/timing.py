"""Fair timing on shared cores: two sides alternate in short rounds, and rounds that lost their core do not count."""

import statistics
import time
from collections.abc import Callable


def versus(
    ours: Callable[[], object],
    peer: Callable[[], object],
    rounds: int = 12,
    share: float = 0.925,
    clock: Callable[[], float] = time.perf_counter,
) -> dict[str, float]:
    """Median seconds of two functions, called in the order A B B A, and the ratio of the medians.

    ratio = median(ours) / median(peer), below 1 where ours is faster
    Args: `ours`, `peer`, called without arguments; `rounds` of each that must count; `share` of a core, process time
    over wall time, below which a call does not count; `clock`, the wall's, or with `share` 0 that of the process, for work
    on one thread where others keep the cores busy. Returns medians, minima, ratio, and calls kept and made.
    """
    sides = {"ours": ours, "peer": peer}
    kept: dict[str, list[float]] = {"ours": [], "peer": []}
    made = 0
    for function in sides.values():
        function()
    while min(map(len, kept.values())) < rounds and made < 20 * rounds:
        for name in ("ours", "peer", "peer", "ours"):
            took, wall, cpu = clock(), time.perf_counter(), time.process_time()
            sides[name]()
            took, wall, cpu = clock() - took, time.perf_counter() - wall, time.process_time() - cpu
            made += 1
            if cpu / wall >= share:
                kept[name].append(took)
    row = {f"{name}_median": statistics.median(times) for name, times in kept.items()}
    row |= {f"{name}_min": min(times) for name, times in kept.items()}
    return {
        **row,
        "ratio": row["ours_median"] / row["peer_median"],
        "kept": sum(map(len, kept.values())),
        "made": made,
    }
