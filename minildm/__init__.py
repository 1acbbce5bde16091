"""Language generation as optimal control: a textbook you can run."""

from .errors import UserError as UserError

__version__ = "0.1.0"
