"""The inside of a language model: loading, anatomy, unembedding."""
