"""Why `nets.layers.attend` writes attention out when it trains on a CPU: forward and backward, against the fused kernel.

OMP_NUM_THREADS=1 python benchmarks/attention.py
"""

import json

import torch
import torch.nn.functional as F
from timing import versus

from minildm.nets.layers import attend


def main() -> None:
    torch.manual_seed(0)
    torch.set_num_threads(1)
    rows = {}
    for heads, head in ((4, 32), (2, 64)):
        for dtype in (torch.float32, torch.bfloat16):
            q, k, v = (
                torch.randn(64, heads, 64, head, dtype=dtype, requires_grad=True) for _ in range(3)
            )
            rows[f"{heads} heads of {head}, {str(dtype).removeprefix('torch.')}"] = versus(
                lambda q=q, k=k, v=v: attend(q, k, v).sum().backward(),
                lambda q=q, k=k, v=v: F.scaled_dot_product_attention(q, k, v).sum().backward(),
            )
    print(json.dumps(rows, indent=1))


if __name__ == "__main__":
    main()
