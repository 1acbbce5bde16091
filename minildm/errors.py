"""The one exception for a mistake of the user."""


class UserError(ValueError):
    """Something the user can mend: one sentence that says what was wrong and what to do; the CLI exits with 2."""
