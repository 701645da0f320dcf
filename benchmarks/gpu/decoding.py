"""The decoder on the GPU: what must be identical, what need not be, and what it costs."""

import time
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import torch

from empirical.evaluation import Answer
from empirical.evaluation.runner import Settings, answer_batch
from empirical.model.anatomy import Anatomy
from empirical.model.load import LoadedModel
from empirical.problems import draw_problems
from stopping.rules import AbstractRule, Final, Search, Tolerance

if TYPE_CHECKING:
    from benchmarks.gpu.__main__ import Bench

STAYING = (Final(), Search(K=10, p=0.0), Search(K=0))
MOVING = (Search(K=10), Tolerance(tau=0.5, K=10))


def equality(bench: "Bench", models: list[str]) -> Iterator[dict[str, Any]]:
    """Texts under each rule against plain decoding, and in a batch against alone.

    A rule that stays must write what plain decoding writes. A batch may differ from its rows alone
    where the matrix products round differently; that share is measured for plain decoding too.
    """
    n, tokens = (2, 8) if bench.quick else (8, 96)
    for spec in models:
        loaded = bench.model(spec)
        anatomy = Anatomy.of(loaded.model)
        chat = bool(getattr(loaded.tokenizer, "chat_template", None))
        settings = Settings(chat=chat, max_new_tokens=tokens, batch=n)
        problems = list(enumerate(draw_problems(n, 4)))
        answer_batch(loaded, problems, None, Settings(chat, 4, n), anatomy)  # warm up
        plain = None
        for rule in (None, *STAYING, *MOVING):
            batch, seconds, peak = _timed(loaded, problems, rule, settings, anatomy)
            alone = [
                answer
                for one in problems[: 2 if bench.quick else 4]
                for answer in answer_batch(loaded, [one], rule, settings, anatomy)
            ]
            plain = plain or batch
            same = sum(a.text == b.text for a, b in zip(batch, plain, strict=True))
            if rule in STAYING and same < n:
                raise AssertionError(f"{loaded.name}: {rule.name} changes {n - same} texts")
            written = sum(a.tokens for a in batch)
            yield {
                "model": loaded.name,
                "rule": rule.spec() if rule else "plain",
                "texts as plain": f"{same}/{n}",
                "alone as in the batch": f"{_equal(alone, batch)}/{len(alone)}",
                "moved": sum(a.moved for a in batch) / max(written, 1),
                "ms per step": 1000 * seconds / max(a.tokens for a in batch),
                "peak MB": peak,
            }


def _equal(alone: list[Answer], batch: tuple[Answer, ...]) -> int:
    return sum(a.text == b.text for a, b in zip(alone, batch, strict=False))


def _timed(
    loaded: LoadedModel,
    problems: list[Any],
    rule: AbstractRule | None,
    settings: Settings,
    anatomy: Anatomy,
) -> tuple[tuple[Answer, ...], float, float | str]:
    cuda = loaded.device.type == "cuda"
    if cuda:
        torch.cuda.synchronize()
        torch.cuda.reset_peak_memory_stats()
    began = time.monotonic()
    answers = answer_batch(loaded, problems, rule, settings, anatomy)
    if cuda:
        torch.cuda.synchronize()
    seconds = time.monotonic() - began
    return answers, seconds, torch.cuda.max_memory_allocated() / 1e6 if cuda else "–"
