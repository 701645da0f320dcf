"""The harness's Hugging Face model, decoding with any rule or rival.

    --model confident --model_args pretrained=...,rule=search,window=10,p=1.0,seed=0

What is generated is decoded by the rule; log-likelihoods (of multiple choice and perplexity) stay
those of the final layer, since a decoder is about what is written, unless `score=chosen` asks for
the chosen layers'. With the final-layer rule, or `p=0`, every request gives what the harness's own
class gives, but where that is led astray: greedy runs take nothing from a model's own
generation_config.json but its token ids, and a tokenizer that appends an end of text is refused.
"""

from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from lm_eval.api.registry import register_model
from lm_eval.models.huggingface import HFLM
from torch import Tensor

from empirical.decoding import ConfidentDecoding, Steps
from empirical.decoding.rivals import decoder_of
from empirical.decoding.rivals.catalogue import whole_number
from empirical.evaluation.harness.counting import in_text
from empirical.evaluation.harness.mistakes import as_mistakes
from empirical.lenses import lens_of, require_lens
from empirical.model.anatomy import Anatomy
from empirical.model.fitted import require_own_fit
from empirical.model.generation import without_own_settings
from empirical.model.load import locate
from stopping.changepoint import FittedOn
from stopping.errors import UserError

SCORES = ("final", "chosen")
# What the harness can take from `generate`: one text for each record, and nothing else.
_TAKEN = {"num_return_sequences": 1, "return_dict_in_generate": False}


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
    plan : "fixed" or "measured"
        How many layers are projected together (see `empirical.decoding.plan`).

    Raises
    ------
    UserError
        If an argument is not understood, or the model is no decoder that can be read.
    """

    @classmethod
    def create_from_arg_obj(
        cls, arg_dict: dict[str, Any], additional_config: dict[str, Any] | None = None
    ) -> "ConfidentLM":
        """Make the model of a command line's arguments.

        Raises
        ------
        UserError
            If no model can be made of them.
        """
        with as_mistakes("--model_args"):
            made: ConfidentLM = super().create_from_arg_obj(arg_dict, additional_config)
        return made

    def __init__(
        self,
        pretrained: Any = None,
        *args: Any,
        rule: str = "search",
        window: int | None = None,
        p: float | None = None,
        norm: str | bool | None = None,
        lens: str | None = None,
        seed: int = 0,
        score: str = "final",
        plan: Any = "fixed",
        **options: Any,
    ) -> None:
        decoder, seed = decoder_of(rule, window, p, norm), whole_number("seed", seed)
        if score not in SCORES:
            raise UserError(f"score={score}: choose from {', '.join(SCORES)}")
        if pretrained is None:
            raise UserError("pretrained is missing: a folder, a .gguf file, or a hub id")
        if lens is not None:
            require_lens(Path(str(lens)))
        if not isinstance(pretrained, torch.nn.Module):
            # The harness reads numbers where it can, so a name may not be a text.
            pretrained, found, _ = locate(str(pretrained))
            options |= found
        super().__init__(pretrained, *args, **options)
        if self.backend != "causal":
            raise UserError("stopping lm-eval: encoder-decoder models have no layers to choose")
        _require_open_end(self)
        anatomy = Anatomy.of(self.model)
        reader = lens_of(None if lens is None else Path(str(lens)), anatomy)
        name = str(options.get("gguf_file") or pretrained) if isinstance(pretrained, str) else ""
        read_as = FittedOn(name, len(anatomy.layers), reader.name)
        require_own_fit(decoder, read_as)
        self.decoding = ConfidentDecoding(
            self.model, decoder, reader, seed, anatomy=anatomy, plan=plan
        )
        self.scores_chosen, self._seed, self._plan = score == "chosen", seed, plan
        self.tally = Tally()

    def generate_until(self, requests: Any, disable_tqdm: bool = False) -> list[str]:
        """Write, and count what was written.

        Raises
        ------
        UserError
            If more than one text of a record is asked for, more than texts, or no beam.
        """
        for settings in (request.args[1] for request in requests):
            for name, taken in _TAKEN.items():
                if settings.get(name) not in (None, taken):
                    raise UserError(
                        f"--gen_kwargs {name}: the harness takes one text for each record, and "
                        "nothing else; leave it out"
                    )
            beams = settings.get("num_beams", 1)
            if not isinstance(beams, int) or beams < 1:
                raise UserError(f"--gen_kwargs num_beams={beams}: must be a whole number >= 1")
        texts: list[str] = super().generate_until(requests, disable_tqdm)
        return texts

    def _model_generate(
        self, context: Tensor, max_length: int, stop: list[str], **generation_kwargs: Any
    ) -> Tensor:
        draws, temperature = (generation_kwargs.get(k) for k in ("do_sample", "temperature"))
        greedy = draws is False or (draws is None and not temperature)
        alone = without_own_settings(self.model) if greedy else nullcontext()
        with alone, self.decoding:
            output: Tensor = super()._model_generate(context, max_length, stop, **generation_kwargs)
        steps = self.decoding.statistics
        written = output[:, context.shape[1] :].tolist()
        lengths = steps.present.sum(axis=1)
        kept = np.zeros(steps.position.shape, dtype=np.bool_)
        for row, (tokens, length) in enumerate(zip(written, lengths, strict=True)):
            kept[row, :length] = in_text(self, tokens[:length], stop)
        self.tally = self.tally.plus(steps.where(kept))
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
            "decoder_plan": self._plan,
            "log_likelihood_of": SCORES[self.scores_chosen],
            "generated_tokens": self.tally.tokens,
            "moved": self.tally.share(self.tally.moved),
            "substituted": self.tally.share(self.tally.substituted),
        }


def _require_open_end(lm: HFLM) -> None:
    """Raise a UserError if the tokenizer puts tokens behind a text, which the model would go on."""
    alone, given = lm.tok_encode("a", add_special_tokens=False), lm.tok_encode("a")
    if given[-len(alone) :] != alone:
        end = lm.tokenizer.convert_ids_to_tokens(given[-1])
        raise UserError(
            f"{lm.tokenizer.name_or_path}: the tokenizer puts {end} behind each prompt; set "
            "add_eos_token to false in its tokenizer_config.json, or give add_bos_token=False, "
            "which puts nothing before and behind"
        )


@dataclass(frozen=True)
class Tally:
    """Tokens of the texts so far, those from an earlier layer, those not the final layer's."""

    tokens: int = 0
    moved: int = 0
    substituted: int = 0

    def plus(self, steps: Steps) -> "Tally":
        """Add the steps of a batch."""
        return Tally(
            self.tokens + int(steps.present.sum()),
            self.moved + int(steps.moved.sum()),
            self.substituted + int(steps.substituted.sum()),
        )

    def share(self, count: int) -> float | None:
        """Share of the tokens, None before any was generated."""
        return count / self.tokens if self.tokens else None
