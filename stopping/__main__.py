"""`python -m stopping` is the command `stopping`."""

from stopping.cli import main

main()
