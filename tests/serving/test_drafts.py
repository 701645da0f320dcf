"""Speculation by n-grams.

The last file: it loads numba, and after that vLLM 0.32 starts no other engine in a process.
"""

from tests.serving.engines import K, decoded, engine, prompts, refused

SEARCH = f"search:K={K}"
TEXTS = prompts(3)
NGRAM = {
    "method": "ngram",
    "num_speculative_tokens": 3,
    "prompt_lookup_max": 2,
    "prompt_lookup_min": 1,
}


def test_drafts_are_judged_by_the_chosen_layer(llama):
    """Rows that a speculation asks for are searched, each on its own."""
    with engine(llama[0], {"rule": SEARCH}, speculative_config=NGRAM) as served:
        expected = [tokens for tokens, _ in decoded(llama[1], TEXTS, SEARCH, tokens=20)]
        assert served.tokens(TEXTS, tokens=20) == expected
        with refused("first model runner hands no request"):
            served.tokens(TEXTS, "final")
