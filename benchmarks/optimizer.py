"""Why `training.optim` stacks matrices of one shape: a step of it against torch's Muon, on the matrices of the zoo's LDLM.

OMP_NUM_THREADS=1 python benchmarks/optimizer.py
"""

import json

import torch
from timing import versus

from minildm.evaluation.provenance import provenance
from minildm.pretrained import load
from minildm.training.optim import Muon


def main() -> None:
    torch.set_num_threads(1)
    where = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    shapes = [
        p.shape
        for name, p in load("ldlm-tales", frozen=False).model.named_parameters()
        if p.dim() == 2 and "blocks." in name
    ]

    def weights():
        torch.manual_seed(0)
        made = [torch.nn.Parameter(torch.randn(shape, device=where)) for shape in shapes]
        for p in made:
            p.grad = torch.randn_like(p)
        return made

    def step(optimizer):
        def run():
            optimizer.step()
            if where.type == "cuda":
                torch.cuda.synchronize()

        return run

    ours = Muon(weights(), lr=1e-3, weight_decay=0.01)
    peer = torch.optim.Muon(weights(), lr=1e-3, weight_decay=0.01, adjust_lr_fn="match_rms_adamw")
    print(
        json.dumps(
            {"matrices": len(shapes), **versus(step(ours), step(peer)), **provenance(where)},
            indent=1,
        )
    )


if __name__ == "__main__":
    main()
