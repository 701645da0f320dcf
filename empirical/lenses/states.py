"""The residual states that a lens is fitted and judged on, and what it is fitted to.

Prompts are dealt to three parts. On the *training* prompts translations are trained; the
*validation* prompts stop the training and set temperatures; the *test* prompts have been seen by
neither, and every number reported comes from them. Tokens of one prompt are dependent, so a prompt
is never split. Of each part a random sample of tokens is kept, at the layers of the lens alone:
the memory needed is `tokens * layers * hidden` numbers, whatever the size of the vocabulary.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from empirical.lenses.soundness import require_sound_capture
from empirical.model.anatomy import Anatomy
from empirical.texts import Text
from stopping.errors import UserError

Target = Literal["final", "reference"]
HeldOut = Literal["prompts", "groups"]

LEAST_PROMPTS = 10
_SHARES = (0.6, 0.2, 0.2)
_CHUNK_BYTES = 64 << 20
# Words masked with -inf get probability 0 from this logit, too, and keep sums finite.
_MASKED = -1e4


@dataclass(frozen=True, eq=False)
class States:
    """Sampled tokens of some prompts and the states that predict them.

    Attributes
    ----------
    prompt : (n,) int32
        Index of the prompt.
    token : (n,) int64
        Reference token.
    layers : mapping of int to (n, ...) tensors
        States by layer number; the final layer is always among them.
    """

    prompt: NDArray[np.int32]
    token: Tensor
    layers: dict[int, Tensor]

    def __len__(self) -> int:
        return len(self.prompt)

    @property
    def final(self) -> Tensor:
        """States of the final layer."""
        return self.layers[max(self.layers)]

    def rows(self, keep: slice | Tensor) -> "States":
        """The tokens `keep`."""
        indices = np.arange(len(self))[keep.cpu().numpy() if isinstance(keep, Tensor) else keep]
        chosen = torch.from_numpy(indices).to(self.token.device)
        return States(
            self.prompt[indices],
            self.token[chosen],
            {layer: state[chosen] for layer, state in self.layers.items()},
        )

    def chunks(self, vocabulary: int) -> Iterator["States"]:
        """Consecutive tokens, few enough for their logits to fit."""
        for start, stop in spans(len(self), vocabulary):
            yield self.rows(slice(start, stop))


def spans(tokens: int, vocabulary: int) -> list[tuple[int, int]]:
    """Cut `tokens` tokens into ranges whose logits fit."""
    size = max(16, _CHUNK_BYTES // (4 * vocabulary))
    return [(start, min(start + size, tokens)) for start in range(0, tokens, size)]


def joined(first: States, second: States) -> States:
    """Tokens of both."""
    return States(
        np.concatenate([first.prompt, second.prompt]),
        torch.cat([first.token, second.token]),
        {layer: torch.cat([first.layers[layer], second.layers[layer]]) for layer in first.layers},
    )


def split_prompts(
    texts: Sequence[Text], rng: np.random.Generator, by: HeldOut = "prompts"
) -> tuple[list[Text], list[Text], list[Text]]:
    """Deal texts, one per prompt, to training, validation and test at 3 : 1 : 1.

    `by` says what is never in two of them: a prompt, or a group of prompts.

    Raises
    ------
    UserError
        If there are too few prompts, or groups.
    """
    if len(texts) < LEAST_PROMPTS:
        raise UserError(
            f"lens: {len(texts)} prompt(s) with a completion; fitting, validating and testing "
            f"need at least {LEAST_PROMPTS} (--problems)"
        )
    labels = [
        text.group if by == "groups" and text.group else f" {i}" for i, text in enumerate(texts)
    ]
    names = list(dict.fromkeys(labels))
    if len(names) < LEAST_PROMPTS:
        raise UserError(
            f"lens: {len(names)} group(s) of prompts; dealing them out whole needs at least "
            f"{LEAST_PROMPTS}; hold out prompts instead"
        )
    order = rng.permutation(len(names))
    first, second = np.cumsum([round(share * len(names)) for share in _SHARES[:2]]).tolist()
    parts = (
        {names[i] for i in part} for part in (order[:first], order[first:second], order[second:])
    )
    train, validation, test = (
        [text for text, label in zip(texts, labels, strict=True) if label in part] for part in parts
    )
    return train, validation, test


def gather(
    anatomy: Anatomy,
    texts: Sequence[Text],
    layers: Sequence[int],
    tokens: int,
    rng: np.random.Generator,
    advance: Callable[[], None] = lambda: None,
) -> States:
    """Sample at most `tokens` completion tokens of `texts` and keep the states before them."""
    places = [(row, i) for row, text in enumerate(texts) for i in range(len(text.completion_ids))]
    chosen = rng.choice(len(places), size=min(tokens, len(places)), replace=False)
    anatomy.require_causal()
    require_sound_capture(anatomy, texts[0].ids)
    device = anatomy.device
    kept = {*layers, len(anatomy.layers)}
    found: dict[int, list[Tensor]] = {layer: [] for layer in sorted(kept)}
    prompt, token = [], []
    wanted: dict[int, list[int]] = {}
    for row, i in sorted(places[index] for index in chosen.tolist()):
        wanted.setdefault(row, []).append(i)
    for row, text in enumerate(texts):
        places_here = wanted.get(row, [])
        if places_here:
            # The state at one position predicts the token at the next.
            before = torch.tensor(places_here, device=device) + len(text.prompt_ids) - 1

            def keep(layer: int, state: Tensor, before: Tensor = before) -> None:
                if layer in kept:
                    found[layer].append(state[0, before])

            with torch.no_grad(), anatomy.listening(keep):
                anatomy.decoder(input_ids=torch.tensor([text.ids], device=device), use_cache=False)
            prompt += [text.prompt] * len(places_here)
            token += [text.completion_ids[i] for i in places_here]
        advance()
    return States(
        np.array(prompt, dtype=np.int32),
        torch.tensor(token, device=device),
        {layer: torch.cat(states) for layer, states in found.items()},
    )


def expected_logit(anatomy: Anatomy, states: States, target: Target, z: Tensor) -> Tensor:
    """Mean of the logits `z` under the target distribution of each token, (n,).

    The target is the final layer's distribution, or the reference token with certainty. The
    cross-entropy of the target with softmax(z) is `logsumexp(z)` minus this.
    """
    if target == "reference":
        return z.gather(1, states.token.to(z.device)[:, None])[:, 0]
    with torch.no_grad():
        weights = finite_logits(anatomy.lens(states.final[None])).softmax(1)
    mean: Tensor = torch.linalg.vecdot(weights.to(z.device), z)
    return mean


def finite_logits(logits: Tensor) -> Tensor:
    """Rows of logits (1, n, vocabulary) in float32, (n, vocabulary), masked entries finite."""
    return logits[0].float().clamp(min=_MASKED)
