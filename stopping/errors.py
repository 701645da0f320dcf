"""Errors that a user can correct.

Everything a user can get wrong (a file, an option, an array) raises `UserError`; the command line
prints it without a traceback and exits with 2. Programming errors stay ordinary exceptions.
"""

from pathlib import Path

ROOT = Path(__file__).parents[1]
"""The checkout that the package is imported from, or the folder of installed packages."""


class UserError(ValueError):
    """Bad input: the message says what is wrong, where, and how to correct it."""


class Interrupted(KeyboardInterrupt):
    """Ctrl-C, where the message can say what of the work is kept."""


def missing_extra(need: str, extra: str, root: Path = ROOT) -> UserError:
    """Return the error for a library that is not installed, with the command that installs it.

    A checkout has the versions that were tested together in `constraints.txt`; a wheel has not.

    Parameters
    ----------
    need : str
        Who needs what, such as "reading a model needs torch".
    extra : str
        The extra of this package that installs it.
    root : Path
        Where the package lies.
    """
    if (root / "constraints.txt").is_file() and (root / "pyproject.toml").is_file():
        command = f'in {root}: pip install -c constraints.txt -e ".[{extra}]"'
    else:
        command = f'pip install "layer-stopping[{extra}]"'
    return UserError(f"{need}, which is not installed; {command}")
