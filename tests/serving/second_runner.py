"""What vLLM's second model runner does with the plug-in: `python -m ... FOLDER FILE`, as JSON.

vLLM runs it wherever there is Triton, which its build for CPUs has not; here Triton interprets its
kernels. A process has one runner, so this one is a process of its own, with
`VLLM_USE_V2_MODEL_RUNNER=1` and `TRITON_INTERPRET=1`.
"""

import json
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from triton.backends import backends

from tests.serving.engines import Engine, K, engine, prompts, scores

SEARCH = f"search:K={K}"
RULES = (SEARCH, f"{SEARCH},p=0.5")
TEXTS = prompts(3)
MIXED = [None, SEARCH, f"search:K={K},p=0", "search:K=2", SEARCH, None]
DRAFT = {"method": "draft_model", "num_speculative_tokens": 3}
# Parts of prompts of 5 to 11 tokens, and some of them beside answers.
OPTIONS: dict[str, Any] = {"max_num_batched_tokens": 8, "max_num_seqs": 4, "max_model_len": 64}
TOKENS = 4


def what_it_does(folder: Path) -> dict[str, Any]:
    """Tokens, layers and log-probabilities of stock engines and of ours."""
    found: dict[str, Any] = {}
    with engine(folder, **OPTIONS) as stock:
        found["runner"] = [base.__module__ for base in type(stock.runner).__mro__]
        found["stock"] = _scored(stock)
    with engine(folder, {"K": K}, **OPTIONS) as one:
        found["plain"] = _scored(one)
        found["steps"] = {rule: one.steps(TEXTS, rule, tokens=TOKENS) for rule in RULES}
        found["mixed"] = one.tokens([*TEXTS, *TEXTS], MIXED, tokens=TOKENS)
        searched = one.run(TEXTS, SEARCH, TOKENS, logprobs=2, prompt_logprobs=2)
        found["prompts"] = scores(searched)[1::2]
    draft = {**DRAFT, "model": str(folder)}
    with engine(folder, {"K": K}, speculative_config=draft, **OPTIONS) as drafted:
        found["drafted"] = drafted.tokens([*TEXTS, *TEXTS], MIXED, tokens=TOKENS)
    return found


def _scored(one: Engine) -> Any:
    return scores(one.run(TEXTS, tokens=TOKENS, logprobs=2, prompt_logprobs=2))


if __name__ == "__main__":
    backends["cpu"] = SimpleNamespace(driver=SimpleNamespace(is_active=lambda: True), compiler=None)
    Path(sys.argv[2]).write_text(json.dumps(what_it_does(Path(sys.argv[1]))))
