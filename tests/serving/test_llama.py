"""A tiny Llama in engines, one after the other: the decoder's choices, and what must not change.

Engines are expensive, so each class of tests shares one.
"""

from collections.abc import Iterator
from typing import Any

import pytest

from tests.serving.engines import Engine, K, decoded, engine, prompts, refused, scores

RULES = (
    f"search:K={K}",
    "search:K=2",
    f"search:K={K},p=0.5",
    f"shifted:shift=1,K={K}",
    f"shifted:shift=-1,K={K}",
    f"tolerance:tau=0.05,K={K}",
    f"patience:m=1,K={K}",
    f"guarded:guard=0.02,K={K}",
    f"hedged:eps_max=0.1,K={K}",
    f"minimum:K={K}",
)
SEARCH = RULES[0]
TEXTS = prompts(4)


@pytest.fixture(scope="module")
def plain(llama) -> dict[str, Any]:
    """What stock vLLM says, in an engine that does not ask."""
    with engine(llama[0]) as stock:
        assert type(stock.model).__mro__[0].__module__.startswith("vllm.")
        assert not hasattr(stock.model, "confident")
        outputs = stock.run(TEXTS, logprobs=3, prompt_logprobs=3)
        with refused("started without it"):
            stock.run(TEXTS[:1], SEARCH)
        return {
            "scores": scores(outputs),
            "tokens": [list(o.outputs[0].token_ids) for o in outputs],
            "sampled": stock.tokens(TEXTS, temperature=1.0, seed=5),
        }


@pytest.fixture(scope="module")
def references(llama) -> dict[str, Any]:
    """What the decoder writes in transformers."""
    return {rule: decoded(llama[1], TEXTS, rule) for rule in ("final", *RULES)}


class TestWindow:
    """An engine that searches where a request asks; two ways to project."""

    @pytest.fixture(scope="class", params=["lazy", "together"])
    def served(self, request, llama, plain) -> Iterator[Engine]:
        with engine(llama[0], {"K": K, "projections": request.param}) as one:
            yield one

    def test_requests_that_do_not_ask_are_plain_to_the_bit(self, served, plain):
        for asked in (
            None,
            "final",
            "search:p=0,K=3",
            {"rule": "search:K=3", "p": 0},
            "search:K=0",
        ):
            outputs = served.run(TEXTS, asked, logprobs=3, prompt_logprobs=3)
            assert scores(outputs) == plain["scores"]
        assert served.tokens(TEXTS, temperature=1.0, seed=5) == plain["sampled"]

    @pytest.mark.parametrize("rule", RULES)
    def test_layers_and_tokens_are_those_of_the_decoder(self, served, references, rule):
        found = served.steps(TEXTS, rule)
        assert found == references[rule]
        assert any(j > 0 for _, depths in found for j in depths)

    def test_plain_tokens_are_those_of_transformers(self, plain, references):
        assert plain["tokens"] == [tokens for tokens, _ in references["final"]]
        assert [t for t, _ in references[SEARCH]] != plain["tokens"]

    def test_a_row_does_not_depend_on_its_batch(self, served, references):
        asked = [RULES[i % len(RULES)] if i % 3 else None for i in range(24)]
        texts = [TEXTS[i % len(TEXTS)] for i in range(24)]
        found = served.tokens(texts, asked)  # eight at a time
        for i, (tokens, rule) in enumerate(zip(found, asked, strict=True)):
            assert tokens == references[rule or "final"][i % len(TEXTS)][0], (i, rule)
        alone = served.tokens([texts[7]], asked[7:8])
        assert alone == [found[7]]

    def test_returned_log_probabilities_are_the_chosen_layers(self, served, plain):
        outputs = served.run(TEXTS, SEARCH, logprobs=3, prompt_logprobs=3)
        for output in outputs:
            for token, place in zip(
                output.outputs[0].token_ids, output.outputs[0].logprobs, strict=True
            ):
                assert max(place.items(), key=lambda item: item[1].logprob)[0] == token
        # Those of the prompt stay the final layer's.
        assert scores(outputs)[1::2] == plain["scores"][1::2]

    def test_sampling_repeats_with_its_seed_alone_and_in_a_batch(self, served):
        asked = {"rule": SEARCH, "p": 0.5}
        first = served.tokens(TEXTS, asked, temperature=1.0, seed=5)
        assert first == served.tokens(TEXTS, asked, temperature=1.0, seed=5)
        assert first[2:3] == served.tokens(TEXTS[2:3], asked, temperature=1.0, seed=5)
        assert first != served.tokens(TEXTS, asked, temperature=1.0, seed=6)

    def test_draws_follow_the_requests_seed(self, served, llama):
        asked = {"rule": SEARCH, "p": 0.5, "seed": 12}
        expected = decoded(llama[1], TEXTS[:2], f"{SEARCH},p=0.5", seed=12)
        assert served.steps(TEXTS[:2], asked) == expected
        assert served.steps(TEXTS[:2], f"{SEARCH},p=0.5", seed=12) == expected

    @pytest.mark.parametrize(
        ("asked", "words"),
        [
            (f"search:K={K + 1}", f"keeps {K}"),
            ("offset:k=1", "offset is not served"),
            ("dola", "dola"),
            ({"rule": SEARCH, "q": 1}, "unknown: q"),
        ],
    )
    def test_a_wrong_request_is_refused_and_the_engine_goes_on(self, served, plain, asked, words):
        with refused(words):
            served.run(TEXTS[:1], asked)
        assert served.tokens(TEXTS[:1]) == plain["tokens"][:1]

    def test_rows_that_are_not_sampled_project_nothing(self, served):
        rows = []
        head = served.model.logits_processor.forward
        served.model.logits_processor.forward = lambda lm_head, x, *rest: (
            rows.append(len(x)),
            head(lm_head, x, *rest),
        )[1]
        product = served.model.confident.projector.project
        served.model.confident.projector.project = lambda parts: (
            rows.extend(len(h) for _, h in parts),
            product(parts),
        )[1]
        long = [[5 + i % 90 for i in range(100)]]
        served.tokens(long, SEARCH, tokens=1)
        assert rows[0] == 1  # vLLM's own
        assert 1 <= sum(rows[1:]) <= K
        rows.clear()
        served.tokens(long, tokens=1)
        assert rows == [1]
        del served.model.logits_processor.forward, served.model.confident.projector.project

    def test_counts(self, served):
        from empirical.serving.statistics import read

        before = read(served.model)
        steps = served.steps(TEXTS, SEARCH)
        served.tokens(TEXTS)
        after = read(served.model)
        assert after.tokens - before.tokens == sum(len(tokens) for tokens, _ in steps)
        moved = sum(j > 0 for _, depths in steps for j in depths)
        assert sum(after.by_depth[1:]) - sum(before.by_depth[1:]) == moved
        (same,) = served.llm.apply_model(read)
        assert same == after


class TestEveryRequest:
    """An engine with a rule of its own: small chunks, cached prefixes, and too little memory."""

    @pytest.fixture(scope="class")
    def served(self, llama) -> Iterator[Engine]:
        options = {"max_num_batched_tokens": 16, "max_num_seqs": 4, "block_size": 32}
        confident = {"rule": SEARCH}
        with engine(llama[0], confident, enable_prefix_caching=True, **options) as one:
            yield one

    def test_its_rule_holds_for_all_who_do_not_say_otherwise(self, served, references):
        assert served.steps(TEXTS) == references[SEARCH]
        assert served.tokens(TEXTS, "final") == [tokens for tokens, _ in references["final"]]

    def test_chunks_and_cached_prefixes_change_nothing(self, served, llama):
        long = [5 + (7 * i) % 90 for i in range(100)]
        texts = [long, [*long, 9], [*long[:70], 11, 12]]
        expected = [tokens for tokens, _ in decoded(llama[1], texts, SEARCH)]
        assert served.tokens(texts[:1]) == expected[:1]
        outputs = served.run(texts)
        assert [list(o.outputs[0].token_ids) for o in outputs] == expected
        assert any(o.num_cached_tokens for o in outputs)
        plain = [tokens for tokens, _ in decoded(llama[1], texts, "final")]
        assert served.tokens(texts, "final") == plain

    def test_the_order_of_requests_changes_nothing(self, served, references):
        back = served.tokens(TEXTS[::-1], [None, "final"] * 2)
        kinds = ["final", SEARCH] * 2
        assert back[::-1] == [references[k][i][0] for i, k in enumerate(kinds)]


def test_preempted_requests_go_on_where_they_were(llama):
    """Eight long answers in a cache with room for about three of them."""
    texts = prompts(8)
    with engine(llama[0], {"rule": SEARCH}, num_gpu_blocks_override=11, block_size=32) as served:
        preempted = []
        scheduler = served.llm.llm_engine.engine_core.engine_core.scheduler
        preempt = scheduler._preempt_request
        scheduler._preempt_request = lambda *args, **options: (
            preempted.append(1),
            preempt(*args, **options),
        )[1]
        crowded = served.tokens(texts, tokens=60)
        assert preempted
        assert [served.tokens([text], tokens=60)[0] for text in texts[:3]] == crowded[:3]
