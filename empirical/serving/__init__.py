"""Confident Decoding inside stock vLLM, as a plug-in (extra `serving`; no fork).

    vllm serve MODEL --additional-config '{"confident": {"rule": "search:K=10"}}'

The plug-in does three things.

1. It lets vLLM build a *subclass* of the model's class, in engines whose `additional_config` has
   the key `confident` and in no other. The subclass asks the model for the residual states of its
   last layers, by the interface that EAGLE-3 drafters use, so that they come out of compiled and
   captured graphs as the final state does; it returns them beside the final state as one wide row.
2. vLLM picks the rows that it samples from, whichever they are, and hands them to
   `compute_logits`, which searches: rows that are not sampled are never projected.
3. vLLM tells its logits processors of every request's settings, and so the plug-in's.

| file | idea |
|---|---|
| `settings` | what an engine and a request may ask for; everything else is refused by name |
| `scan` | the rules on tensors, without a look from the host; the generator of random rules |
| `searching` | rows of states and logits to rows of chosen logits |
| `lens` | a model's norm and head as a lens of this package |
| `statistics` | counts of chosen layers |
| `internals` | vLLM: the one package that knows it |

`empirical.serving` stands above decoding and capture because it does both their work through an
engine; nothing here but `internals` imports vLLM.
"""
