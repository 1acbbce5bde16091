"""Language generation as optimal control: a textbook you can run."""

from .errors import UserError as UserError

__version__ = "0.1.0"


def __getattr__(name: str):
    """`minildm.chapter`, imported when a chapter first asks for it, because plotting is heavy."""
    if name == "chapter":
        from .chapters import chapter

        return chapter
    raise AttributeError(f"module 'minildm' has no attribute {name!r}")
