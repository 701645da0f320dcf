"""`stopping lm-eval`: lm-evaluation-harness with our decoders."""

import importlib.util

import click

from empirical.model.load import require_models_extra
from stopping.errors import missing_extra


@click.command(
    "lm-eval",
    context_settings={"ignore_unknown_options": True, "allow_interspersed_args": False},
    epilog="""\b
Examples:
  stopping lm-eval run --tasks gsm8k --model_args pretrained=Qwen/Qwen3-0.6B,rule=search
  stopping lm-eval run --tasks gpqa_diamond_cot_zeroshot,omni_math,hle_exact_match \\
      --model_args pretrained=Qwen/Qwen3-8B,rule=search,window=10,p=1.0 --batch_size 16
  stopping lm-eval run --tasks gsm8k --model_args \\
      "pretrained=./model.gguf,rule=dola:layers=low;divergence=released,norm=off"
  stopping lm-eval run --tasks gsm8k_local --model_args pretrained=./model,rule=final
  stopping lm-eval run --help
\b
Model arguments beside the harness's own (`--model confident` is the default):
  rule    a rule or rival, ";" between its settings        [search]
  window  steps back of a rule that has a window           [the rule's]
  p       share of tokens on which the search is on        [1.0]
  norm    off: DoLa and SLED read without the final norm   [on]
  lens    a lens file (see `stopping lens`)                [raw]
  seed    of randomised rules                              [0]
  score   chosen: log-likelihoods of the chosen layers     [final]
  plan    measured: project layers together where faster   [fixed]
""",
)
@click.argument("arguments", nargs=-1, type=click.UNPROCESSED, metavar="[HARNESS ARGUMENTS]...")
@click.pass_context
def lm_eval(context: click.Context, arguments: tuple[str, ...]) -> None:
    """Run lm-evaluation-harness with a rule, a lens or a rival decoder.

    Everything after `lm-eval` goes to the harness, whose own options apply. Its tasks are known,
    and so are omni_math, hle_exact_match, the built-in problems (built_in_problems,
    built_in_choice, built_in_solutions), and for each task of the paper a small local copy
    (gsm8k_local, ...) that needs no network. Those of --include_path are added.
    """
    if importlib.util.find_spec("lm_eval") is None:  # first: its extra has that of models in it
        raise missing_extra("lm-eval needs lm-evaluation-harness", "eval")
    require_models_extra()
    if not arguments:
        click.echo(context.get_help())
        return
    from empirical.evaluation.harness.command import run_harness

    run_harness(arguments)
