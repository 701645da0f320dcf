"""What an engine and a request may ask for; everything else is refused by name.

An engine asks in its `additional_config`:

    {"confident": {"rule": "search:K=10"}}     every request, unless it says otherwise
    {"confident": {"K": 10}}                   none, unless it asks; at most 10 layers back

and a request in `extra_args` (over HTTP: `vllm_xargs`, whose values are texts):

    {"confident": "search:K=10,p=0.5"}
    {"confident": {"rule": "search:K=10", "p": 0.5, "seed": 7}}
    {"confident": "final"}                     plain decoding

Texts of rules are read by `stopping.rules.registry`, as everywhere.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal, get_args

from empirical.serving.scan import SERVED
from stopping.errors import UserError
from stopping.rules import AbstractRule, Final, Hedged, Search, parse, parse_rule

KEY = "confident"

WINDOW = 10
"""Layers back that an engine keeps where it names neither a rule nor `K`."""

Projections = Literal["auto", "lazy", "together"]
"""How candidates are projected.

- `"lazy"`: round by round, for the rows that go on; the host looks after each round.
- `"together"`: all of the window at once; the host never looks.
- `"auto"`: `"lazy"` on a CPU, `"together"` on a GPU.
"""


@dataclass(frozen=True)
class Request:
    """How one request is decoded.

    Attributes
    ----------
    rule : AbstractRule
    seed : int
        Seed of a randomised rule. A draw depends on (seed, position, token read last) alone.
    """

    rule: AbstractRule = field(default_factory=Final)
    seed: int = 0

    @property
    def reach(self) -> int:
        """Layers that the rule may step back; 0 is plain decoding."""
        if isinstance(self.rule, Final) or (isinstance(self.rule, Search) and self.rule.p == 0):
            return 0
        return int(getattr(self.rule, "K", 0))

    @property
    def randomises(self) -> bool:
        """Whether the rule draws."""
        rule = self.rule
        return isinstance(rule, Hedged) or (isinstance(rule, Search) and 0 < rule.p < 1)

    @property
    def group(self) -> "Request":
        """The same for all requests whose rows are decided alike."""
        return self if self.randomises else Request(self.rule)


@dataclass(frozen=True)
class Engine:
    """What an engine was started with.

    Attributes
    ----------
    default : Request
        Of requests that ask for nothing.
    K : int
        Layers back that the engine keeps; no request may ask for more.
    lens : Path, optional
        A temperature lens of `stopping lens fit`.
    projections : "auto", "lazy" or "together"
    any_version : bool
        Whether to try a vLLM that was not tested.
    traces : bool
        Whether the engine reads texts for `empirical.serving.tracing`, and searches nothing.
    """

    default: Request
    K: int
    lens: Path | None = None
    projections: Projections = "auto"
    any_version: bool = False
    traces: bool = False

    @classmethod
    def of(cls, additional_config: object) -> "Engine | None":
        """Read an engine's `additional_config`; None if it does not ask.

        Raises
        ------
        UserError
            If it asks for what there is not.
        """
        if not isinstance(additional_config, Mapping) or KEY not in additional_config:
            return None
        return _engine(json.dumps(additional_config[KEY], sort_keys=True))

    def request(self, extra_args: Mapping[str, Any] | None, seed: int | None) -> Request:
        """Read what a request asks for; `seed` is that of its sampling.

        Raises
        ------
        UserError
            If it asks for what there is not, or for more layers than the engine keeps.
        """
        asked = (extra_args or {}).get(KEY)
        own = self.default.seed if seed is None or seed < 0 else seed
        if asked is None:
            return self.default if own == self.default.seed else Request(self.default.rule, own)
        found = _request(json.dumps(asked, sort_keys=True), own)
        if found.reach > self.K:
            raise UserError(
                f"{KEY}: rule {found.rule.spec()!r} steps back {found.reach} layers, and this "
                f"engine keeps {self.K}; ask for fewer, or start it with a larger K"
            )
        return found


@lru_cache
def _engine(text: str) -> Engine:
    known = ("rule", "p", "seed", "K", "lens", "projections", "any_version", "traces")
    asked = _settings(json.loads(text), *known)
    K = asked.get("K")
    if K is not None and (isinstance(K, bool) or not isinstance(K, int) or K < 0):
        raise UserError(f"{KEY}: K must be a whole number >= 0, got {K!r}")
    default = Request(seed=_seed(asked.get("seed", 0)))
    if "rule" in asked:
        default = Request(_rule(asked["rule"], asked.get("p"), K), default.seed)
    elif "p" in asked:
        raise UserError(f"{KEY}: p belongs to a rule; name one, such as search:K=10")
    window = max(default.reach, K if K is not None else 0 if default.reach else WINDOW)
    projections, lens = asked.get("projections", "auto"), asked.get("lens")
    if projections not in get_args(Projections):
        choices = ", ".join(get_args(Projections))
        raise UserError(f"{KEY}: projections={projections!r}: choose from {choices}")
    if lens is not None and not isinstance(lens, str):
        raise UserError(f"{KEY}: lens must be the name of a file, got {lens!r}")
    flags = {name: asked.get(name, False) for name in ("any_version", "traces")}
    for name, value in flags.items():
        if not isinstance(value, bool):
            raise UserError(f"{KEY}: {name} must be true or false, got {value!r}")
    return Engine(default, window, Path(lens) if lens else None, projections, **flags)


@lru_cache(maxsize=4096)
def _request(text: str, seed: int) -> Request:
    asked = json.loads(text)
    if isinstance(asked, str):
        asked = {"rule": asked}
    asked = _settings(asked, "rule", "p", "seed")
    if "rule" not in asked:
        raise UserError(f'{KEY}: name a rule, as in {{"rule": "search:K=10"}}')
    return Request(_rule(asked["rule"], asked.get("p"), None), _seed(asked.get("seed", seed)))


def _settings(asked: object, *known: str) -> dict[str, Any]:
    if not isinstance(asked, dict):
        raise UserError(f"{KEY}: expected an object with {', '.join(known)}; got {asked!r}")
    unknown = sorted(asked.keys() - set(known))
    if unknown:
        raise UserError(f"{KEY}: unknown: {', '.join(unknown)}; known: {', '.join(known)}")
    return asked


def _seed(value: object) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value < 2**64:
        raise UserError(f"{KEY}: seed must be a whole number in [0, 2^64), got {value!r}")
    return value


def _rule(text: object, p: object, window: int | None) -> AbstractRule:
    if not isinstance(text, str):
        raise UserError(f"{KEY}: rule must be a text such as search:K=10, got {text!r}")
    if p is not None and (isinstance(p, bool) or not isinstance(p, int | float)):
        raise UserError(f"{KEY}: p must be a number in [0, 1], got {p!r}")
    rule = parse_rule(text, window)
    if p is not None:
        rule = parse(text, window, p=p)  # type: ignore[assignment]  # a rule, as just seen
    if type(rule) not in SERVED:
        known = ", ".join(cls.kind for cls in SERVED)
        raise UserError(
            f"{KEY}: {rule.kind} is not served: an engine decides without leaving the device, and "
            f"only {known} are written for that; decode with `stopping generate` instead"
        )
    return rule
