"""The command `minildm`: each subcommand is a file of this folder with a `main(argv)`."""

import difflib
import importlib
import platform
import sys
from importlib.metadata import version

from .. import __version__
from ..errors import UserError
from .printing import safe_output

COMMANDS = {
    "demo": "text from every shipped model, and figures/demo.png",
    "train": "train a model on a corpus; stopped at any moment, it resumes to the same weights",
    "sample": "write text with a trained model, fill gaps, repair texts, guide towards a word",
    "evaluate": "write a scorecard: validity, exact likelihood, diversity, evaluations, latency",
    "study": "list the studies of the book, and run one of them again",
    "doctor": "OK or how to fix it, for everything the book needs",
}
HELP = "\n".join(
    [
        "usage: minildm COMMAND ...\n",
        *(f"  {name:10}{does}" for name, does in COMMANDS.items()),
        "\nminildm COMMAND --help explains the flags of a command,",
        "minildm --version names the versions.",
    ]
)


def main(argv: list[str] | None = None) -> None:
    """Run a subcommand; a user's mistake prints one sentence and exits with 2."""
    try:
        with safe_output():
            run(sys.argv[1:] if argv is None else argv)
    except UserError as mistake:
        with safe_output():
            print(f"minildm: {mistake}", file=sys.stderr)
        sys.exit(2)
    except KeyboardInterrupt:
        sys.exit("minildm: stopped")


def run(argv: list[str]) -> None:
    """Hand the flags to the subcommand that comes first."""
    command, *rest = argv or ["--help"]
    if command in ("-h", "--help"):
        print(HELP)
    elif command == "--version":
        print(
            f"minildm {__version__}, torch {version('torch')}, Python {platform.python_version()}"
        )
    elif command in COMMANDS:
        importlib.import_module(f".{command}", __name__).main(rest)
    else:
        meant = difflib.get_close_matches(command, COMMANDS, 1)
        advice = f"did you mean {meant[0]}?" if meant else f"choose one of {', '.join(COMMANDS)}"
        raise UserError(f"no command {command!r}: {advice}")
