"""Many tokens drawn and scored: the engine, estimates with their errors, sweeps."""
