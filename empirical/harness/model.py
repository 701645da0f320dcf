"""The harness's Hugging Face model, decoding with any rule or rival.

    --model confident --model_args pretrained=...,rule=search,window=10,p=1.0,seed=0

What is generated is decoded by the rule; log-likelihoods (of multiple choice and perplexity) stay
those of the final layer, since a decoder is about what is written, unless `score=chosen` asks for
the chosen layers'. With the final-layer rule, or `p=0`, every request gives what the harness's own
class gives.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from lm_eval.api.registry import register_model
from lm_eval.models.huggingface import HFLM
from torch import Tensor

from empirical.anatomy import Anatomy
from empirical.decoder import ConfidentDecoding, Steps
from empirical.fitted import require_own_fit
from empirical.lenses import load_lens
from empirical.rivals import decoder_of
from stopping.changepoint import FittedOn
from stopping.errors import UserError

SCORES = ("final", "chosen")


@register_model("confident")
class ConfidentLM(HFLM):  # type: ignore[misc]  # the harness is not typed
    """`HFLM` with a decoder.

    Parameters
    ----------
    pretrained : str or model
        As for `HFLM`, or a `.gguf` file.
    rule : str
        A rule or rival, `;` between its settings: `search`, `tolerance:tau=0.5`,
        `dola:layers=high;norm=off`.
    window, p : int, float, optional
        Set `K` of a rule that has a window, and `p` of the search.
    norm : "on" or "off", optional
        Whether DoLa and SLED read earlier layers through the final norm.
    lens : str, optional
        A lens file.
    seed : int
        Of randomised rules.
    score : "final" or "chosen"
        Which layers log-likelihoods are of.

    Raises
    ------
    UserError
        If an argument is not understood, or the model is no decoder that can be read.
    """

    def __init__(
        self,
        pretrained: Any,
        *args: Any,
        rule: str = "search",
        window: int | None = None,
        p: float | None = None,
        norm: str | bool | None = None,
        lens: str | None = None,
        seed: int = 0,
        score: str = "final",
        **options: Any,
    ) -> None:
        decoder = decoder_of(rule, window, p, norm)
        if score not in SCORES:
            raise UserError(f"score={score}: choose from {', '.join(SCORES)}")
        # The harness reads numbers where it can, so the file's name may not be a text.
        pretrained, options = _split_gguf(pretrained, options)
        super().__init__(pretrained, *args, **options)
        if self.backend != "causal":
            raise UserError("stopping lm-eval: encoder-decoder models have no layers to choose")
        anatomy = Anatomy.of(self.model)
        reader = load_lens(Path(str(lens)), anatomy) if lens is not None else None
        name = str(options.get("gguf_file") or pretrained) if isinstance(pretrained, str) else ""
        read_as = FittedOn(name, len(anatomy.layers), reader.name if reader else "raw")
        require_own_fit(decoder, read_as)
        self.decoding = ConfidentDecoding(self.model, decoder, reader, int(seed), anatomy=anatomy)
        self.scores_chosen, self._seed = score == "chosen", int(seed)
        self.tally = Tally()

    def _model_generate(
        self, context: Tensor, max_length: int, stop: list[str], **generation_kwargs: Any
    ) -> Tensor:
        with self.decoding:
            output: Tensor = super()._model_generate(context, max_length, stop, **generation_kwargs)
        self.tally = self.tally.plus(self.decoding.statistics, output[:, context.shape[1] :])
        return output

    def _model_call(self, *args: Any, **kwargs: Any) -> Tensor:
        if not self.scores_chosen:
            final: Tensor = super()._model_call(*args, **kwargs)
            return final
        with self.decoding:
            chosen: Tensor = super()._model_call(*args, **kwargs)
        return chosen

    def get_model_info(self) -> dict[str, Any]:
        """Add to the harness's record how was decoded, and what that did."""
        info: dict[str, Any] = super().get_model_info()
        return info | {
            "decoder": self.decoding.rule.spec(),
            "decoder_lens": self.decoding.lens.name,
            "decoder_layers": list(self.decoding.layers),
            "decoder_seed": self._seed,
            "log_likelihood_of": SCORES[self.scores_chosen],
            "generated_tokens": self.tally.tokens,
            "moved": self.tally.share(self.tally.moved),
            "substituted": self.tally.share(self.tally.substituted),
        }


@dataclass(frozen=True)
class Tally:
    """Tokens generated so far, those from an earlier layer, those other than the final layer's."""

    tokens: int = 0
    moved: int = 0
    substituted: int = 0

    def plus(self, steps: Steps, written: Tensor) -> "Tally":
        """Add a batch; of each row the tokens before the padding that fills it up."""
        # What follows a row's end is one token repeated, as is the end itself.
        differs = written != written[:, -1:]
        column = torch.arange(1, written.shape[1] + 1, device=written.device)
        lengths = torch.where(differs, column, 0).amax(dim=1) + 1
        mine = steps.within(lengths.clamp_max(written.shape[1]).cpu().numpy())
        return Tally(
            self.tokens + int(mine.present.sum()),
            self.moved + int(mine.moved.sum()),
            self.substituted + int(mine.substituted.sum()),
        )

    def share(self, count: int) -> float | None:
        """Share of the tokens, None before any was generated."""
        return count / self.tokens if self.tokens else None


def _split_gguf(pretrained: Any, options: dict[str, Any]) -> tuple[Any, dict[str, Any]]:
    """Turn a `.gguf` file into the folder and file name that transformers wants."""
    if isinstance(pretrained, str) and pretrained.lower().endswith(".gguf"):
        file = Path(pretrained).expanduser()
        if not file.is_file():
            raise UserError(f"{pretrained}: no such file")
        return str(file.parent), {**options, "gguf_file": file.name}
    return pretrained, options
