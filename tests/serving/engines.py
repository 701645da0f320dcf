"""Engines of stock vLLM on a CPU, one at a time, and tiny models that they can load."""

import gc
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from benchmarks.serving import ALONE
from tests.empirical.tiny_models import tiny_model

# Read by vLLM when it is imported; functions go to workers that are other processes.
VARIABLES = {
    **ALONE,
    "TOKENIZERS_PARALLELISM": "false",
    "VLLM_ALLOW_INSECURE_SERIALIZATION": "1",
}
for name, value in VARIABLES.items():
    os.environ.setdefault(name, value)

# vLLM's attention on a CPU wants heads of 32 numbers or more.
SIZES: dict[str, Any] = {
    "hidden_size": 128,
    "intermediate_size": 96,
    "num_hidden_layers": 6,
    "head_dim": 32,
}
K = 4


def save_tiny(folder: Path, family: str, **options: Any) -> Any:
    """Save a tiny model of a family for an engine; returns it for transformers."""
    model = tiny_model(family, **{**SIZES, **options})
    model.generation_config.eos_token_id = None
    model.save_pretrained(folder)
    return model


def prompts(count: int = 6, words: int = 97) -> list[list[int]]:
    """Token ids of prompts of several lengths."""
    return [[(i * 37 + j * 11) % (words - 5) + 5 for j in range(5 + 3 * i)] for i in range(count)]


class Engine:
    """One engine in this process; nothing else may hold its `llm`, or it outlives its context."""

    def __init__(self, folder: Path, confident: Any = None, **options: Any) -> None:
        from vllm import LLM

        settings: dict[str, Any] = {
            "dtype": "float32",
            "enforce_eager": True,
            "max_model_len": 128,
            "max_num_seqs": 8,
            "max_num_batched_tokens": 256,
            "enable_prefix_caching": False,
            "skip_tokenizer_init": True,
            "seed": 0,
            **options,
        }
        if confident is not None:
            settings["additional_config"] = {"confident": confident}
        self.llm: Any = None
        try:
            self.llm = LLM(str(folder), **settings)
        finally:
            if self.llm is None:
                self.close()

    def close(self) -> None:
        """Let go of the engine and of what its workers share."""
        from vllm.distributed import cleanup_dist_env_and_memory

        if self.llm is not None:
            self.llm.llm_engine.engine_core.shutdown()
        self.llm = None
        gc.collect()
        cleanup_dist_env_and_memory()

    def run(
        self, texts: Sequence[Any], asked: Any = None, tokens: int = 10, **sampling: Any
    ) -> list[Any]:
        """Continue texts; `asked` is what each request asks for, or a list of that."""
        from vllm import SamplingParams

        each = asked if isinstance(asked, list) else [asked] * len(texts)
        settings = {"temperature": 0, "max_tokens": tokens, "ignore_eos": True, **sampling}
        settings.setdefault("detokenize", False)
        parameters = [
            SamplingParams(**settings, extra_args=None if one is None else {"confident": one})
            for one in each
        ]
        given = [t if isinstance(t, str) else {"prompt_token_ids": list(t)} for t in texts]
        found: list[Any] = self.llm.generate(given, parameters, use_tqdm=False)
        return found

    def tokens(self, texts: Sequence[Any], asked: Any = None, **options: Any) -> list[list[int]]:
        """Token ids that were written."""
        return [list(o.outputs[0].token_ids) for o in self.run(texts, asked, **options)]

    def steps(
        self, texts: Sequence[Any], asked: Any = None, **options: Any
    ) -> list[tuple[list[int], list[int]]]:
        """Tokens that were written and the layers back that each was taken from.

        What is decoded at the end of a chunk of a prompt is dropped, by vLLM and here.
        """
        seen: dict[str, list[int]] = {}
        searcher = self.model.confident
        decode = searcher.decode

        def listening(step: Any, requests: Any) -> Any:
            depth = decode(step, requests)
            for name, j in zip(self._requests_of_rows(), depth.tolist(), strict=True):
                seen.setdefault(name, []).append(j)
            return depth

        searcher.decode = listening
        try:
            written = self.tokens(texts, asked, **options)
        finally:
            del searcher.decode
        order = sorted(seen, key=lambda name: int(name.split("-")[0]))
        depths = [seen[name][-len(ids) :] for name, ids in zip(order, written, strict=True)]
        return list(zip(written, depths, strict=True))

    def _requests_of_rows(self) -> list[str]:
        """Whose the rows of this step are, by the runner's own books."""
        slots = self.model.confident_window.rows.slots
        if slots is None:
            names: list[str] = self.runner.input_batch.req_ids
            return names
        return [self.runner.req_states.index_to_req_id[slot] for slot in slots.tolist()]

    @property
    def runner(self) -> Any:
        """The model runner."""
        return self.llm.llm_engine.model_executor.driver_worker.worker.model_runner

    @property
    def model(self) -> Any:
        """The model, of vLLM's class."""
        return self.runner.get_model()


@contextmanager
def engine(folder: Path, confident: Any = None, **options: Any) -> Iterator[Engine]:
    """An engine that is gone when the context is left."""
    served = Engine(folder, confident, **options)
    try:
        yield served
    finally:
        served.close()


def scores(outputs: list[Any]) -> list[Any]:
    """Log-probabilities of answers and prompts, to the bit."""
    return [
        [
            None if place is None else sorted((t, x.logprob, x.rank) for t, x in place.items())
            for place in places
        ]
        for output in outputs
        for places in (output.outputs[0].logprobs, output.prompt_logprobs)
    ]


def decoded(
    model: Any, texts: Sequence[Sequence[int]], rule: str, tokens: int = 10, **options: Any
) -> list[tuple[list[int], list[int]]]:
    """What `empirical.decoding` writes in transformers, and the layers back: see `Engine.steps`."""
    import torch

    from empirical.decoding import ConfidentDecoding

    found = []
    for text in texts:
        ids = torch.tensor([list(text)])
        with ConfidentDecoding(model, rule=rule, **options) as decoding:
            out = model.generate(
                input_ids=ids,
                attention_mask=torch.ones_like(ids),
                max_new_tokens=tokens,
                do_sample=False,
            )
        steps = decoding.statistics
        found.append((out[0, len(text) :].tolist(), steps.depth[0].tolist()))
    return found


def refused(words: str) -> Any:
    """A context in which vLLM refuses a request (HTTP 400)."""
    from vllm.exceptions import VLLMValidationError

    return pytest.raises(VLLMValidationError, match=words)
