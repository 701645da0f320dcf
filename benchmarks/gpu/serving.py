"""The plug-in in stock vLLM: time of a decode step with and without the search.

Models have random weights at their real sizes (`benchmarks.gpu.engine.SIZES`), in vLLM's own
classes, with compiled and captured graphs on a GPU. Three engines one after the other: one that
does not ask, one whose requests do not ask, and one that searches ten layers for every token. Needs
vLLM in the environment of the run.
"""

import gc
import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks.gpu.engine import SIZES, Size

if TYPE_CHECKING:
    from benchmarks.gpu.__main__ import Bench

BATCHES = (1, 8, 64)
QUICK = (
    Size("tiny", 12, 128, 4, 2, 32, 96, 130),
    Size("tiny-moe", 12, 128, 4, 2, 32, 64, 130, 8, 2),
)
PROMPT, STEPS = 128, 64
ENGINES: dict[str, Any] = {
    "stock": None,
    "not asked": {"K": 10},
    "search:K=10": {"rule": "search:K=10"},
}


def overhead(bench: "Bench") -> Iterator[dict[str, Any]]:
    """Milliseconds of a step by model, engine and batch, and the ratio to stock vLLM."""
    for size in QUICK if bench.quick else SIZES:
        folder = _folder(size, bench.out / f"serving-{size.name}")
        stock: dict[int, float] = {}
        for name, confident in ENGINES.items():
            for batch, seconds in _seconds(folder, bench, confident):
                stock.setdefault(batch, seconds)
                yield {
                    "model": size.name,
                    "engine": name,
                    "batch": batch,
                    "ms per step": 1000 * seconds,
                    "over stock": seconds / stock[batch] - 1,
                }


def _seconds(folder: Path, bench: "Bench", confident: Any) -> Iterator[tuple[int, float]]:
    """Seconds of a step for each batch: two lengths of answers tell it from the prompt's time."""
    from vllm import LLM

    from empirical.serving.internals import close

    short, long = (1, 4) if bench.quick else (1, 1 + STEPS)
    llm = LLM(
        str(folder),
        dtype=bench.dtype,
        load_format="dummy",
        skip_tokenizer_init=True,
        max_model_len=512,
        max_num_seqs=max(BATCHES),
        enable_prefix_caching=False,
        enforce_eager=bench.quick,
        additional_config={} if confident is None else {"confident": confident},
    )
    for batch in BATCHES:
        prompts = [
            {"prompt_token_ids": [(7 * i + j) % 100 + 5 for j in range(PROMPT)]}
            for i in range(batch)
        ]
        yield batch, step_seconds(llm, prompts, (short, long), 1 if bench.quick else 5)
    close(llm)
    del llm
    gc.collect()


def step_seconds(
    llm: Any, prompts: list[dict[str, list[int]]], lengths: tuple[int, int], rounds: int
) -> float:
    """Seconds of a step: the least of some rounds for each of two lengths of answers."""
    from vllm import SamplingParams

    least = []
    for tokens in lengths:
        sampling = SamplingParams(
            temperature=0, max_tokens=tokens, ignore_eos=True, detokenize=False
        )
        llm.generate(prompts, sampling, use_tqdm=False)  # warm up
        times = []
        for _ in range(rounds):
            began = time.perf_counter()
            llm.generate(prompts, sampling, use_tqdm=False)
            times.append(time.perf_counter() - began)
        least.append(min(times))
    return (least[1] - least[0]) / (lengths[1] - lengths[0])


def _folder(size: Size, folder: Path) -> Path:
    """A configuration of Qwen3's of such a size."""
    config: dict[str, Any] = {
        "architectures": ["Qwen3ForCausalLM"],
        "model_type": "qwen3",
        "hidden_size": size.hidden,
        "num_hidden_layers": size.layers,
        "num_attention_heads": size.heads,
        "num_key_value_heads": size.groups,
        "head_dim": size.width,
        "intermediate_size": size.inner,
        "vocab_size": size.vocabulary,
        "max_position_embeddings": 4096,
        "rms_norm_eps": 1e-6,
        "tie_word_embeddings": False,
        "hidden_act": "silu",
        "torch_dtype": "bfloat16",
    }
    if size.experts:
        config |= {
            "architectures": ["Qwen3MoeForCausalLM"],
            "model_type": "qwen3_moe",
            "num_experts": size.experts,
            "num_experts_per_tok": size.chosen,
            "moe_intermediate_size": size.inner,
            "decoder_sparse_step": 1,
            "mlp_only_layers": [],
            "norm_topk_prob": True,
        }
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "config.json").write_text(json.dumps(config, indent=2) + "\n")
    return folder
