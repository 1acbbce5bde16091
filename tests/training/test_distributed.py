"""Two processes, of two parts each, train the same model as one process that takes the same batch in four parts."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from minildm.errors import UserError
from minildm.training.distributed import DistributedContext, join
from minildm.training.metrics import read_metrics

from . import tiny

ROOT = Path(__file__).parents[2]
pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def two(tmp_path_factory):
    """Runs of two processes, one folder a model type."""
    run = tmp_path_factory.mktemp("two")
    command = [
        sys.executable,
        "-m",
        "torch.distributed.run",
        "--standalone",
        "--nproc-per-node",
        "2",
        tiny.__file__,
        "in_processes",
        str(run),
    ]
    env = {
        **os.environ,
        "PYTHONPATH": str(ROOT),
        "OMP_NUM_THREADS": "1",
        "CUDA_VISIBLE_DEVICES": "",
    }
    done = subprocess.run(command, cwd=ROOT, env=env, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-2000:]
    return run


@pytest.mark.parametrize("model_type", tiny.MODELS)
def test_two_processes_equal_one_after_fifty_steps(model_type, two, tmp_path):
    tiny.make_trainer(model_type, tmp_path, accumulate=4, steps=50, save_every=50).fit(quiet=True)
    for name in ("model", "ema"):
        ours, theirs = (
            load_file(run / "step_0000050" / f"{name}.safetensors")
            for run in (tmp_path, two / model_type)
        )
        assert ours.keys() == theirs.keys()
        for key in ours:
            assert (ours[key] - theirs[key]).abs().max() <= 1e-5, key
    one, both = (read_metrics(run / "metrics.jsonl") for run in (tmp_path, two / model_type))
    for line, twin in zip(one, both, strict=True):
        for name in line.keys() - {"tokens_per_s", "tflops", "memory_mb", "kind"}:
            assert line[name] == pytest.approx(twin[name], abs=1e-4), name


def test_the_time_distribution_moved_and_the_running_std_too(two):
    cdf = load_file(two / "ldlm" / "step_0000050" / "model.safetensors")["time.cdf"]
    assert (cdf - torch.linspace(0, 1, 5)).abs().max() > 0.01
    assert load_file(two / "running" / "step_0000050" / "model.safetensors")["latent_std"] != 1


def test_only_the_first_process_keeps_a_log(two):
    assert [line["step"] for line in read_metrics(two / "gpt" / "metrics.jsonl")] == list(
        range(1, 51)
    )


def test_uneven_batches_are_refused(two, tmp_path):
    for rank in (0, 1):
        assert (
            "batch of 7 texts cannot be cut evenly for 2 processes"
            in (two / f"refused_{rank}").read_text()
        )
    with pytest.raises(UserError, match="3 parts: choose a multiple of 6"):
        tiny.make_trainer("gpt", tmp_path, DistributedContext(0, 2), accumulate=3)


def test_alone_without_torchrun(monkeypatch):
    monkeypatch.delenv("TORCHELASTIC_RUN_ID", raising=False)
    assert (join().rank, join().world) == (0, 1)
