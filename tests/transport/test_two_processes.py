"""Two processes that observe half of the losses each learn one distribution of time, that of one which observes all."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from . import two_processes

ROOT = Path(__file__).parents[2]


@pytest.mark.slow
def test_two_processes_agree_with_each_other_and_with_one(tmp_path):
    command = [
        sys.executable,
        "-m",
        "torch.distributed.run",
        "--standalone",
        "--nproc-per-node",
        "2",
        two_processes.__file__,
        str(tmp_path),
    ]
    env = {
        **os.environ,
        "PYTHONPATH": str(ROOT),
        "OMP_NUM_THREADS": "1",
        "CUDA_VISIBLE_DEVICES": "",
    }
    done = subprocess.run(command, cwd=ROOT, env=env, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-2000:]
    first, second = (load_file(tmp_path / f"{rank}.safetensors") for rank in (0, 1))
    alone = two_processes.train(0, 1).state_dict()
    assert (first["cdf"] - torch.linspace(0, 1, 21)).abs().max() > 0.1
    for name in alone:
        assert torch.equal(first[name], second[name])
        assert torch.allclose(first[name], alone[name], atol=1e-12), name
