"""`stopping generate`: watch a model write, token by token and layer by layer."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import click
from rich.console import Console
from rich.style import Style
from rich.text import Text

from empirical.commands.options import (
    ModelChoice,
    lens_option,
    model_options,
    norm_option,
    plan_option,
)
from empirical.model.fitted import require_own_fit
from empirical.prompts import require_unicode
from stopping.changepoint import FittedOn
from stopping.cli.numbers import Number, at_least
from stopping.cli.options import FILE, seed_option
from stopping.cli.reply import Reply, deliver
from stopping.cli.ui import json_option, output, refuse_ignored
from stopping.errors import UserError
from stopping.support.files import require_writable, written_aside

if TYPE_CHECKING:
    from empirical.decoding.plan import PlanName
    from empirical.decoding.writing import Token, Writing

# From one layer back on; the final layer keeps the terminal's own colour.
COLOURS = (
    *("cyan", "green", "chartreuse3", "yellow3", "orange3"),
    *("dark_orange", "red", "deep_pink2", "magenta", "purple"),
)


@click.command(
    epilog="""\b
Examples:
  stopping generate --model HuggingFaceTB/SmolLM2-135M-Instruct --prompt "Why is the sky blue?"
  stopping generate --model ./model.gguf --prompt-file question.txt --show layers
  stopping generate --model ./model --prompt "1, 2, 3," --chat off --rule tolerance:tau=0.5
  stopping generate --model ./model --prompt "Hello" --temperature 0.8 --top-p 0.95 --p 0.5
  stopping generate --model ./model --prompt "Hello" --rule final --json > plain.json
  stopping generate --model ./model --prompt "Hello" --rule dola:layers=high --norm off
"""
)
@model_options
@click.option("--prompt", help="What the model shall answer or continue.")
@click.option(
    "--prompt-file",
    type=click.Path(path_type=Path, dir_okay=False, allow_dash=True),
    help="Read the prompt from a file (- for standard input), without its last line break.",
)
@click.option(
    "--rule",
    "spec",
    default="search:K=10",
    help="A rule as in `stopping validate`, or a rival: dola, sled, calm, released-score.",
)
@norm_option
@click.option(
    "--p",
    type=Number(0, 1),
    help="Share of tokens on which the search may leave the final layer.  [default: the rule's]",
)
@lens_option
@click.option("--max-new-tokens", type=at_least(), default=200)
@click.option(
    "--temperature",
    type=Number(0, 1000),
    help="Draw tokens at this temperature; 0 takes the most probable.  "
    "[default: 0, or 1 with --top-p]",
)
@click.option(
    "--top-p",
    type=Number(0, 1, min_open=True),
    help="Draw from the most probable tokens of this total probability.  [default: all]",
)
@seed_option
@click.option(
    "--show",
    type=click.Choice(["text", "layers"]),
    default="text",
    help="layers: colour each token by its layer, and show what the final layer would have said.",
)
@click.option(
    "--steps",
    "steps_file",
    type=FILE,
    help="Write a Parquet file with a row for each token: layer, entropies, substitution.",
)
@plan_option
@json_option
def generate(
    model: ModelChoice,
    prompt: str | None,
    prompt_file: Path | None,
    spec: str,
    norm: str | None,
    p: float | None,
    lens: Path | None,
    max_new_tokens: int,
    temperature: float | None,
    top_p: float | None,
    seed: int,
    show: str,
    steps_file: Path | None,
    plan: "PlanName",
    as_json: bool,
) -> None:
    """Let a model write with Confident Decoding, and show which layer each token is from.

    The text goes to standard output as it comes, the summary to standard error. Prompts go
    through the model's chat template if it has one; a prompt that would not reach the model whole
    is refused. Counted are the tokens whose characters are in the text: its end is none. `--rule
    final` is plain decoding: nothing of the model's generation_config.json is
    used but its token ids.
    """
    if as_json:
        refuse_ignored("with --json", "show")
    question = read_prompt(prompt, prompt_file)
    draws = read_sampling(temperature, top_p)
    from empirical.decoding.rivals import parse_decoder
    from empirical.decoding.steps import STEPS

    require_writable((steps_file, STEPS), inputs=filter(None, (prompt_file, lens)))
    rule = parse_decoder(spec, p=p, norm=None if norm is None else norm == "on")
    loaded = model.open(lens)
    from empirical.decoding import ConfidentDecoding
    from empirical.decoding.writing import Sampling, encode, write
    from empirical.lenses import lens_of
    from empirical.model.anatomy import Anatomy

    anatomy = Anatomy.of(loaded.model)
    reader = lens_of(lens, anatomy)
    prompt_ids = encode(loaded, question, model.uses_chat(loaded))
    require_own_fit(rule, FittedOn(loaded.name, len(anatomy.layers), reader.name, loaded.weights))
    decoding = ConfidentDecoding(loaded.model, rule, reader, seed, anatomy=anatomy, plan=plan)
    sampling = Sampling(max_new_tokens, *draws, seed)
    painter = Painter(output(), decoding.layers)
    if as_json:
        on_token = _silent
    elif show == "layers":
        painter.legend()
        on_token = painter.paint
    else:
        on_token = _plain
    writing = write(loaded, decoding, prompt_ids, sampling, on_token)

    def end(out: Console) -> None:
        out.print()
        errors = Console(stderr=True, highlight=False, soft_wrap=True)
        errors.print(writing.summary, style="dim", markup=False)

    content = report(writing, loaded.name, rule.spec(), decoding.lens.name)
    try:
        if steps_file is not None:
            import pyarrow.parquet as pq

            with written_aside(steps_file) as aside:
                pq.write_table(writing.steps.to_arrow([[t.id for t in writing.tokens]]), aside)
    finally:  # the result is printed even if it cannot be written
        deliver(Reply(content, end), as_json)


def read_sampling(temperature: float | None, top_p: float | None) -> tuple[float, float]:
    """Return temperature and top-p with their defaults."""
    if temperature is None:
        temperature = 0.0 if top_p is None else 1.0
    if temperature == 0.0 and top_p is not None:
        raise UserError(
            "--top-p draws tokens, a temperature of 0 draws none: leave one of them out"
        )
    return temperature, 1.0 if top_p is None else top_p


def read_prompt(prompt: str | None, file: Path | None) -> str:
    """Return the prompt, from whichever of the two was given."""
    if (prompt is None) == (file is None):
        raise UserError("give one of --prompt and --prompt-file")
    if file is None:
        require_unicode(prompt or "", "--prompt")
        return prompt or ""
    try:
        with click.open_file(str(file), encoding="utf-8") as stream:
            # Editors on Windows begin a file with a mark of its byte order.
            text: str = stream.read().removeprefix("\ufeff").removesuffix("\n")
    except FileNotFoundError:
        raise UserError(f"{file}: no such file") from None
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"{file}: cannot be read as UTF-8 text ({error})") from error
    if not text.strip():
        raise UserError(f"{file}: the file is empty; write the prompt into it")
    return text


def _silent(token: "Token") -> None:
    pass


def _plain(token: "Token") -> None:
    click.echo(token.text, nl=False)


@dataclass(frozen=True)
class Painter:
    """Shows each token in the colour of its layer, or with the layer's number without colours."""

    console: Console
    layers: tuple[int, ...]

    @property
    def coloured(self) -> bool:
        """Whether colours can be seen."""
        return self.console.color_system is not None and not self.console.no_color

    def legend(self) -> None:
        """One line that says what the marks mean."""
        last = self.layers[-1]
        if self.coloured:
            names = [Text(f" {layer} ", self._style(last - layer)) for layer in self.layers]
            line = Text("layers:").append_text(Text("").join(names)).append(" (final)  ")
            line.append("token", Style(underline=True)).append("‹other›", Style(dim=True))
            line.append(": the final layer would have said other")
        else:
            line = Text(
                f"token{{{max(1, last - 1)}}}: from layer {max(1, last - 1)}, no number: from the "
                f"final layer {last}; token{{{max(1, last - 1)} ‹other›}}: the final layer would "
                "have said other"
            )
        self.console.print(line, "", sep="\n", soft_wrap=True)

    def paint(self, token: "Token") -> None:
        """Show one token."""
        style = self._style(token.depth)
        other = None if token.final_text is None else f"‹{visible(token.final_text)}›"
        if self.coloured:
            word = (token.text, style + Style(underline=other is not None))
            piece = Text.assemble(word, (other or "", Style(dim=True)))
        else:
            mark = f"{{{token.layer}{f' {other}' if other else ''}}}" if token.depth else ""
            piece = Text(token.text + mark)
        self.console.print(piece, end="", soft_wrap=True)

    def _style(self, depth: int) -> Style:
        if depth == 0:
            return Style()
        return Style(color=COLOURS[min(depth, len(COLOURS)) - 1])


def visible(text: str) -> str:
    """Show a token alone: line breaks and tabs as signs, without the space before a word."""
    return text.replace("\n", "⏎").replace("\t", "⇥").strip() or "␣"


def report(writing: "Writing", model: str, rule: str, lens: str) -> dict[str, object]:
    """Everything that was written and how, for `--json`."""
    averages = writing.steps.summary()
    return {
        "model": model,
        "rule": rule,
        "lens": lens,
        "layers": writing.steps.layers,
        "prompt_tokens": writing.prompt_tokens,
        "text": writing.text,
        "ended": writing.ended,
        "summary": averages,
        "seconds": writing.seconds,
        "tokens_per_second": averages.tokens / writing.seconds,
        "tokens": [
            {
                "id": token.id,
                "text": token.text,
                "layer": token.layer,
                "final_text": token.final_text,
                "entropy": entropy,
            }
            for token, entropy in zip(writing.tokens, writing.steps.entropy[0], strict=True)
        ],
    }
