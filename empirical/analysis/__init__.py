"""What traces say: assumptions, rules against the oracle layer, phases, noise."""
