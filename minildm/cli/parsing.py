"""Flags of every command, as tyro reads them; an unknown one is answered with the likely one."""

import difflib
import io
import re
import sys
from collections.abc import Callable
from contextlib import redirect_stderr, redirect_stdout, suppress

import tyro

from ..errors import UserError

FLAG = re.compile(r"--?[a-zA-Z][\w.-]*")
LISTED = re.compile(r"^. (?:-h, )?(--[\w.-]+)")  # a flag where the help explains it
LIKE = 0.7  # least likeness of two flags, from 0 to 1
RENAMED_FLAGS = {  # the last part of flags that had other names before
    "lag": ("offset", "max-offset"),
    "strength": ("guidance-scale",),
    "tries": ("num-tries",),
    "back": ("start",),
    "vocabulary": ("vocab-size",),
    "width": ("d-model",),
    "heads": ("n-heads",),
    "layers": ("n-layers",),
    "encoder-layers": ("n-encoder-layers",),
    "decoder-layers": ("n-decoder-layers",),
    "token-layers": ("n-token-layers",),
    "denoiser-layers": ("n-denoiser-layers",),
    "encoder-pull": ("encoder-gradient-scale",),
    "law": ("terminal",),
    "miss": ("terminal-weight",),
    "times": ("time-distribution",),
    "windows": ("blocks",),
    "together": ("fully-parallel-fraction",),
    "told": ("next-token-fraction",),
    "told-first": ("next-token-steps",),
    "ahead": ("block-size",),
    "known": ("observed-fraction",),
    "writing-solver": ("generation.solver",),
    "writing-temperature": ("generation.temperature",),
    "writing-lag": ("generation.offset",),
    "writing-bound": ("generation.entropy-bound",),
}


def parse_flags(flags: type | Callable, argv: list[str], prog: str, **options):
    """What `tyro.cli` makes of a command line; an unknown flag is refused before other faults."""
    said = io.StringIO()
    try:
        with redirect_stderr(said):
            return tyro.cli(flags, args=argv, prog=prog, **options)
    except SystemExit as ended:
        if ended.code:
            refuse_others(argv, explained(flags, prog, options), prog)
        sys.stderr.write(said.getvalue())
        raise


def explained(flags: type | Callable, prog: str, options: dict) -> dict[str, str]:
    """Each flag of a command with what its help says of it."""
    text = io.StringIO()
    found: dict[str, str] = {}
    name = None
    with redirect_stdout(text), suppress(SystemExit):
        tyro.cli(flags, args=["--help"], prog=prog, **options)
    for line in text.getvalue().splitlines():
        if listed := LISTED.match(line):
            name = listed[1]
        if name:
            found[name] = found.get(name, "") + line.lower()
    return found


def refuse_others(argv: list[str], flags: dict[str, str], prog: str) -> None:
    """Raise on the first flag of a command line that is none of these."""
    for given in (word.partition("=")[0] for word in argv):
        flag = "--" + given.lstrip("-").replace("_", "-")
        spelled = given in ("-h", *flags) or (given[:2] == "--" and flag in flags)
        if not FLAG.fullmatch(given) or spelled:
            continue
        meant = " or ".join(likely(flag, flags))
        advice = f"did you mean {meant}?" if meant else f"`{prog} --help` explains those there are"
        raise UserError(f"`{prog}` has no flag {given}: {advice}")


def likely(flag: str, flags: dict[str, str]) -> list[str]:
    """The flags that were probably meant: that begin so, are spelled alike, or explained so.

    Only the part after the last dot needs to be alike.
    """
    word = flag.removeprefix("--")
    renamed = RENAMED_FLAGS.get(word.rpartition(".")[2].removeprefix("no-"), ())
    if found := [
        name for new in renamed for name in flags if name.endswith(("--" + new, "." + new))
    ]:
        return found
    names = {name.rpartition(".")[2].removeprefix("--"): name for name in reversed(flags)}
    names |= {name[2:]: name for name in flags}
    alike = [name for name in names if name.startswith(word)][:2]
    alike = alike or difflib.get_close_matches(word, names, 2, LIKE)
    if alike:
        return [names[name] for name in alike]
    return [name for name, text in flags.items() if word in re.findall(r"[a-z]+", text)][:2]
