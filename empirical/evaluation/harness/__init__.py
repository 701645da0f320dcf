"""lm-evaluation-harness with our decoders (needs the extra `eval`).

`model.ConfidentLM` is the harness's own Hugging Face model with a decoder attached while it
generates; `tasks/` holds task files that the harness lacks (Omni-MATH, HLE); `local_tasks` makes of
every task of the paper one that reads a few local records of the same shape, so that the wiring is
tested without a hub; `command` is what `stopping lm-eval` runs.
"""
