"""Time of `import minildm` over `import torch`, each in a fresh process, alternated; the median of each.

python benchmarks/imports.py
"""

import json
import statistics
import subprocess
import sys
import time


def seconds(statement: str) -> float:
    began = time.perf_counter()
    subprocess.run([sys.executable, "-c", statement], check=True)
    return time.perf_counter() - began


def main() -> None:
    times: dict[str, list[float]] = {"import minildm": [], "import torch": []}
    for _ in range(7):
        for statement in times:
            times[statement].append(seconds(statement))
    medians = {statement: statistics.median(values) for statement, values in times.items()}
    print(
        json.dumps(
            {**medians, "ratio": medians["import minildm"] / medians["import torch"]}, indent=1
        )
    )


if __name__ == "__main__":
    main()
