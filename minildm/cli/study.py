"""`minildm study`: list the studies of the book, and run one of them again."""

import difflib
import importlib
import pkgutil
from collections.abc import Callable
from functools import wraps

import torch

from .. import studies
from ..errors import UserError
from ..studies.record import results
from .parsing import parse_flags


def found() -> dict[str, Callable[..., None]]:
    """The function `run` of each study, by the study's name."""
    names = sorted(module.name for module in pkgutil.iter_modules(studies.__path__))
    modules = {name: importlib.import_module(f"{studies.__name__}.{name}") for name in names}
    return {name: module.run for name, module in modules.items() if hasattr(module, "run")}


def listing(runs: dict[str, Callable[..., None]]) -> str:
    """The studies with what each asks and how long it took, one a line."""
    lines = [f"  {name:23}{asks(run)}{time_of(name)}" for name, run in runs.items()]
    return "\n".join(
        [
            "usage: minildm study NAME ...\n",
            *lines,
            "\nminildm study NAME --help explains the flags of a study. Its chapter reads",
            "minildm/studies/results/NAME.json; a new run writes runs/NAME.json, or --out.",
        ]
    )


def asks(run: Callable[..., None]) -> str:
    """What a study asks: the first line of its docstring."""
    return (run.__doc__ or "").partition("\n")[0]


def time_of(name: str) -> str:
    """How long the committed record of a study took, if it says so."""
    minutes = results(name).get("minutes")
    return f" ({minutes:.0f} minutes)" if minutes else ""


def flags_of(run: Callable[..., None], name: str, argv: list[str]) -> dict:
    """The arguments of a study that a command line gives."""

    @wraps(run)
    def arguments(**given: object) -> dict:
        return given

    return parse_flags(arguments, argv, f"minildm study {name}")


def main(argv: list[str]) -> None:
    """List the studies, or run the one that is named, on one thread."""
    name, *rest = argv or ["--help"]
    runs = found()
    if name in ("-h", "--help"):
        print(listing(runs))
        return
    if name not in runs:
        meant = difflib.get_close_matches(name, [*runs, *(run[5:] for run in runs)], 1)
        likely = [run for run in runs if meant and run.endswith(meant[0])]
        advice = f"did you mean {likely[0]}?" if likely else "`minildm study` lists them"
        raise UserError(f"no study {name!r}: {advice}")
    given = flags_of(runs[name], name, rest)
    torch.set_num_threads(1)
    runs[name](**given)
