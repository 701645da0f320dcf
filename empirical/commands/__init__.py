"""Commands that join the command `stopping` through the entry-point group of that name."""
