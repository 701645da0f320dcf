"""Two tensor-parallel ranks, each a process: both see the gathered logits, and decide alike."""

from tests.serving.engines import K, decoded, engine, prompts

SEARCH = f"search:K={K}"


def test_ranks_decide_alike_and_as_the_decoder(llama):
    from empirical.serving.statistics import read

    texts = prompts(3)
    searched = decoded(llama[1], texts, SEARCH)
    plain = decoded(llama[1], texts, "final")
    with engine(llama[0], {"K": K}, tensor_parallel_size=2) as served:
        assert served.tokens(texts) == [tokens for tokens, _ in plain]
        assert served.tokens(texts, SEARCH) == [tokens for tokens, _ in searched]
        first, second = served.llm.apply_model(read)
    depths = [j for _, row in searched for j in row]
    assert first == second
    assert first.by_depth == tuple(depths.count(j) for j in range(K + 1))
