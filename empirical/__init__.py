"""Real language models: layer traces, what they say of the assumptions, and the decoder."""
