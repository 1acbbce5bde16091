"""Printing never ends a command: characters that the terminal lacks, broken pipes, closed streams, a full disk."""

import os
import subprocess
import sys

import pytest

SAYS = """
import sys
from tqdm import tqdm
from minildm.cli.printing import safe_output
with safe_output():
    for i in tqdm(range(3), mininterval=0):
        tqdm.write("a fox \\N{FOX FACE}")
    print("na\\u00efve " * 20_000)
    print("end", file=sys.stderr)
open(sys.argv[1], "w").write("done")
"""
BROKEN = ("| true", "| head -1", ">&-", "2>&-", ">&- 2>&-", "2>/dev/full")


def shell(command: str, **environment: str) -> subprocess.CompletedProcess:
    """A line of bash, whose exit status is that of its first command."""
    line = f"{command}; exit ${{PIPESTATUS[0]}}"
    return subprocess.run(
        ["bash", "-c", line], env=os.environ | environment, capture_output=True, timeout=120
    )


@pytest.mark.parametrize("encoding", ["utf-8", "ascii", "cp1252", "gbk"])
@pytest.mark.parametrize("unbuffered", ["", "1"])
def test_what_cannot_be_shown_becomes_a_question_mark(encoding, unbuffered, tmp_path):
    done = shell(
        f"{sys.executable} -c '{SAYS}' {tmp_path}/done",
        LC_ALL="C",
        PYTHONIOENCODING=encoding,
        PYTHONUNBUFFERED=unbuffered,
    )
    fox, i = "a fox \N{FOX FACE}\n", "na\u00efve "
    assert done.returncode == 0 and b"Traceback" not in done.stderr and b"end" in done.stderr
    assert done.stdout == (3 * fox + 20_000 * i + "\n").encode(encoding, "replace")


@pytest.mark.parametrize("redirection", BROKEN)
@pytest.mark.parametrize("encoding", ["utf-8", "ascii"])
def test_nobody_reading_is_no_fault(redirection, encoding, tmp_path):
    done = shell(
        f"{sys.executable} -c '{SAYS}' {tmp_path}/done {redirection}", PYTHONIOENCODING=encoding
    )
    assert done.returncode == 0 and b"Error" not in done.stderr
    assert (tmp_path / "done").read_text() == "done"


@pytest.mark.parametrize("redirection", BROKEN)
@pytest.mark.parametrize("argv, status", [("--help", 0), ("fly", 2)])
def test_commands_end_as_they_would_on_a_terminal(redirection, argv, status):
    done = shell(f"{sys.executable} -m minildm {argv} {redirection}")
    assert done.returncode == status and b"Traceback" not in done.stderr


def test_a_full_disk_is_reported_in_one_sentence():
    done = shell(f"{sys.executable} -m minildm --help >/dev/full")
    assert done.returncode == 2 and done.stderr.count(b"\n") == 1
    assert (
        b"minildm: the output cannot be written (No space left on device): send it to another place"
        in done.stderr
    )
