"""Worlds: how entropies of a token come about, and which assumptions they meet."""
