"""Errors that a user can mend.

Everything a user can get wrong (a file, an option, an array) raises `UserError`; the command line
prints it without a traceback and exits with 2. Programming errors stay ordinary exceptions.
"""


class UserError(ValueError):
    """Bad input: the message says what is wrong, where, and how to mend it."""


class Interrupted(KeyboardInterrupt):
    """Ctrl-C, where the message can say what of the work is kept."""
