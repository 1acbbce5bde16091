"""Flags of every command: tyro reads them; one that there is not is answered with the one that was
probably meant.
"""

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


def parse_flags(flags: type | Callable, argv: list[str], prog: str, **options):
    """What `tyro.cli` makes of a command line; refuses an unknown flag wherever it stands, before
    any other fault.
    """
    said = io.StringIO()
    try:
        with redirect_stderr(said):
            return tyro.cli(flags, args=argv, prog=prog, **options)
    except SystemExit as ended:
        if ended.code:
            refuse_unknown(argv, explained(flags, prog, options), prog)
        sys.stderr.write(said.getvalue())
        raise


def explained(flags: type | Callable, prog: str, options: dict) -> dict[str, str]:
    """Each flag of a command with what its help says of it."""
    text, found, name = io.StringIO(), {}, None
    with redirect_stdout(text), suppress(SystemExit):
        tyro.cli(flags, args=["--help"], prog=prog, **options)
    for line in text.getvalue().splitlines():
        if listed := LISTED.match(line):
            name = listed[1]
        if name:
            found[name] = found.get(name, "") + line.lower()
    return found


def refuse_unknown(argv: list[str], known: dict[str, str], prog: str) -> None:
    """Raise on the first flag of a command line that is not known."""
    for given in (word.partition("=")[0] for word in argv):
        flag = "--" + given.lstrip("-").replace("_", "-")
        if (
            FLAG.fullmatch(given)
            and given not in ("-h", *known)
            and (given[:2] != "--" or flag not in known)
        ):
            meant = likely(flag, known)
            advice = (
                f"did you mean {' or '.join(meant)}?"
                if meant
                else f"`{prog} --help` explains those there are"
            )
            raise UserError(f"`{prog}` has no flag {given}: {advice}")


def likely(flag: str, known: dict[str, str]) -> list[str]:
    """The flags that were probably meant: those that begin so, are spelled alike, or are explained
    with this word.

    Only the part after the last dot needs to be alike.
    """
    word = flag.removeprefix("--")
    names = {name.rpartition(".")[2].removeprefix("--"): name for name in reversed(known)} | {
        name[2:]: name for name in known
    }
    alike = [name for name in names if name.startswith(word)][:2] or difflib.get_close_matches(
        word, names, 2, LIKE
    )
    return [names[name] for name in alike] or [
        name for name, text in known.items() if word in re.findall(r"[a-z]+", text)
    ][:2]
