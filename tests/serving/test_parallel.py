"""Ranks that are processes: tensor-parallel ones decide alike, a pipeline's last one decides."""

from typing import Any

from tests.serving.engines import K, decoded, engine, prompts

TEXTS = prompts(3)


def by_depth(rows: list[tuple[list[int], list[int]]], window: int) -> tuple[int, ...]:
    depths = [j for _, row in rows for j in row]
    return tuple(depths.count(j) for j in range(window + 1))


def test_tensor_parallel_ranks_decide_alike_and_as_the_decoder(llama):
    from empirical.serving.statistics import read

    searched, plain = (decoded(llama[1], TEXTS, rule) for rule in (f"search:K={K}", "final"))
    with engine(llama[0], {"K": K}, tensor_parallel_size=2) as served:
        assert served.tokens(TEXTS) == [tokens for tokens, _ in plain]
        assert served.tokens(TEXTS, f"search:K={K}") == [tokens for tokens, _ in searched]
        first, second = served.llm.apply_model(read)
    assert first == second
    assert first.by_depth == by_depth(searched, K)


def allocate(worker: Any) -> None:
    """What plain vLLM 0.32 on a CPU leaves out: later ranks receive into what this allocates."""
    worker.model_runner.profile_run()


def test_the_last_rank_of_a_pipeline_searches_its_layers(llama):
    """Of six layers it has three, and so a window of two."""
    searched, plain = (decoded(llama[1], TEXTS, rule) for rule in ("search:K=2", "final"))
    with engine(llama[0], {"K": 2}, pipeline_parallel_size=2) as served:
        served.llm.collective_rpc(allocate)
        assert served.tokens(TEXTS) == [tokens for tokens, _ in plain]
        assert served.tokens(TEXTS, "search:K=2") == [tokens for tokens, _ in searched]
