"""The one command `stopping`. Other packages add commands through an entry-point group."""

from stopping.cli.main import main

__all__ = ["main"]
