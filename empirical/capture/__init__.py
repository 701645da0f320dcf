"""From a model and prompts to traces."""
