"""`minildm train` as a person meets it: what it says and shows, Ctrl-C, places, streams that cannot show its text."""

import os
import pty
import re
import select
import signal
import subprocess
import sys
import termios
import time

import pytest
import torch

from minildm.cli import main
from minildm.training.checkpoint import read_card, steps_saved

SMALL = [
    "--model.d-model",
    "16",
    "--model.n-layers",
    "1",
    "--train.batch",
    "4",
    "--train.no-bf16",
    "--length",
    "32",
    "--vocab-size",
    "280",
    "--train.eval-every",
    "4",
    "--train.save-every",
    "4",
]
FOX = "\N{FOX FACE}"


@pytest.fixture
def prose(tmp_path, monkeypatch):
    """A corpus with letters that few terminals show, some paragraphs too long for a row, and a cache of its own."""
    monkeypatch.setenv("MINILDM_CACHE", str(tmp_path / "cache"))
    path = tmp_path / "my foxes.txt"
    path.write_text(
        "\n\n".join(
            f"Fox {i} {FOX} says that {i} times {i} makes {i * i}, na\u00efvely."
            for i in range(200)
        )
    )
    return f"file:{path}"


def test_what_a_training_says(prose, tmp_path, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    run = tmp_path / "a run"
    main(["train", "gpt", *SMALL, "--corpus", prose, "--train.steps", "8", "--out", str(run)])
    said, shown = capsys.readouterr()
    lines = said.splitlines()
    assert lines[0].startswith(f"preparing the corpus {prose} in ") and lines[1].startswith(
        f"corpus {prose}: 181 document(s)"
    )
    assert (
        lines[2]
        == "    packed: some have more than 30 tokens, which do not fit, so all are joined and cut"
    )
    assert [line.partition(":")[0] for line in lines if line.startswith("step")] == [
        "step 4",
        "step 8",
    ]
    assert all(len(line) < 80 for line in lines[3:-3]) and any(
        line.startswith("    ") for line in lines[3:-3]
    )
    assert (
        lines[-3] == f"trained to step 8: checkpoints and the metrics log are in {run}; go on with"
    )
    assert lines[-2:] == [f"    minildm sample '{run}'", f"    minildm evaluate '{run}'"]
    assert re.search(r"a run: .*8/8 \[\d\d:\d\d<\d\d:\d\d, .*loss=\d\.\d+\]", shown)
    assert not read_card(steps_saved(run)[-1])["config"]["corpus"]["pack"]


def test_a_finished_run_says_how_to_go_on(prose, tmp_path, capsys):
    flags = [
        "train",
        "gpt",
        *SMALL,
        "--corpus",
        prose,
        "--train.steps",
        "4",
        "--quiet",
        "--out",
        str(tmp_path / "run"),
    ]
    main(flags)
    assert "preparing" not in capsys.readouterr().out
    main(flags)
    assert (
        "all its steps are made: to train on, give more of them by --train.steps\n"
        in capsys.readouterr().out
    )


def test_a_vae_is_followed_by_a_manta(prose, tmp_path, capsys):
    main(
        [
            "train",
            "vae",
            *[x for x in SMALL if x not in ("--model.n-layers", "1")],
            "--corpus",
            prose,
            "--train.steps",
            "1",
            "--quiet",
            "--out",
            f"{tmp_path}/vae",
        ]
    )
    assert f"\n    minildm train manta --vae {tmp_path}/vae\n" in capsys.readouterr().out


@pytest.mark.parametrize("place", ["file", "file/below", "/proc/nope"])
def test_places_are_looked_at_before_the_corpus(place, prose, sentence, tmp_path):
    (tmp_path / "file").write_text("in the way")
    said = sentence("train", "gpt", *SMALL, "--corpus", prose, "--out", str(tmp_path / place))
    assert f"{tmp_path / place} cannot be written (" in said and said.endswith(
        "choose another place\n"
    )
    assert not (tmp_path / "cache").exists() and (tmp_path / "file").read_text() == "in the way"


def test_sizes_are_looked_at_before_the_corpus(prose, sentence, tmp_path):
    for flags, said in (
        (["--model.d-model", "1000000"], "million weights needs"),
        (["--model.n-layers", "9999"], "at most 1000"),
        (["--length", "100000"], "--length must be at most 16384, not 100000"),
    ):
        assert said in sentence(
            "train", "gpt", *SMALL, "--corpus", prose, *flags, "--out", str(tmp_path / "run")
        )
    assert not (tmp_path / "cache").exists() and not (tmp_path / "run").exists()


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_a_cuda_graph_without_a_gpu_is_refused_before_the_corpus(prose, sentence, tmp_path):
    said = sentence("train", "gpt", *SMALL, "--corpus", prose, "--train.cuda-graph")
    assert "--train.cuda-graph needs a GPU with CUDA" in said
    assert not (tmp_path / "cache").exists()


@pytest.mark.parametrize("encoding, redirection", [("cp1252", ""), ("utf-8", "| true")])
def test_what_cannot_be_shown_ends_no_training(encoding, redirection, prose, tmp_path):
    line = f"{sys.executable} -m minildm train gpt {' '.join(SMALL)} --train.steps 8 --corpus '{prose}' --out {tmp_path}/run"
    done = subprocess.run(
        ["bash", "-c", f"{line} {redirection}; exit ${{PIPESTATUS[0]}}"],
        capture_output=True,
        env=os.environ | {"LC_ALL": "C", "PYTHONIOENCODING": encoding},
    )
    assert done.returncode == 0 and b"Traceback" not in done.stderr
    assert [p.name for p in steps_saved(tmp_path / "run")] == ["step_0000004", "step_0000008"]


def at_a_terminal(argv: list[str], moment: str, wait: float = 0.0) -> tuple[int, str]:
    """Run a command at a terminal, press Ctrl-C `wait` seconds after it shows a `moment`; returns its status and output."""
    child, terminal = pty.fork()
    if child == 0:
        os.execv(sys.executable, [sys.executable, "-m", "minildm", *argv])
    termios.tcsetwinsize(terminal, (30, 80))
    said, pressed = "", False
    while select.select([terminal], [], [], 120)[0]:
        try:
            part = os.read(terminal, 65_536)
        except OSError:  # the end, as Linux has it
            break
        if not part:
            break
        said += part.decode("utf-8", "replace")
        if not pressed and re.search(moment, said):
            time.sleep(wait)
            os.write(terminal, b"\x03")
            pressed = True
    os.close(terminal)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), said.replace("\r\n", "\n")


def test_ctrl_c_saves_and_prints_the_line_that_resumes(prose, tmp_path):
    run = tmp_path / "a run"
    argv = ["train", "gpt", *SMALL, "--train.steps", "100000", "--train.eval-every", "1000"]
    argv += ["--corpus", prose, "--out", str(run)]
    status, said = at_a_terminal(argv, r"loss=")
    saved = steps_saved(run)[-1]
    assert status == 130 and "Traceback" not in said and not list(run.glob("*.tmp"))
    step = read_card(saved)["step"]
    assert (
        f"stopped; {run} is saved at step {step} of 100000 and goes on from there with\n    minildm train gpt "
        in said
    )
    assert said.rstrip().endswith(f"--corpus '{prose}' --out '{run}'")
    status, said = at_a_terminal(argv, r"loss=")
    assert status == 130 and f"resumed {run} at step {step} of 100000" in said
    assert read_card(steps_saved(run)[-1])["step"] > step


def test_ctrl_c_while_a_corpus_is_prepared(tmp_path, monkeypatch):
    monkeypatch.setenv("MINILDM_CACHE", str(tmp_path / "cache"))
    status, said = at_a_terminal(["train", "gpt", "--out", str(tmp_path / "run")], r"preparing .*")
    assert status == 1 and said.rstrip().endswith("minildm: stopped") and "Traceback" not in said
    assert not list(tmp_path.rglob("*"))
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
