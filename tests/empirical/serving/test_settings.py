import pytest

from empirical.serving.settings import KEY, Engine, Request
from stopping.errors import UserError
from stopping.rules import Final, Guarded, Hedged, Patience, Search, Shifted, Tolerance

K10 = Engine.of({KEY: {"K": 10}})
assert K10 is not None


def test_an_engine_that_does_not_ask():
    assert Engine.of({}) is None
    assert Engine.of(None) is None
    assert Engine.of({"other": 1}) is None


def test_an_engine_asks_for_every_request_or_for_none():
    every = Engine.of({KEY: {"rule": "search:K=6", "p": 0.25, "seed": 3}})
    assert every is not None
    assert (every.default, every.K) == (Request(Search(6, 0.25), 3), 6)
    none = Engine.of({KEY: {}})
    assert none is not None
    assert (none.default.reach, none.K) == (0, 10)
    larger = Engine.of({KEY: {"rule": "search:K=2", "K": 8}})
    assert larger is not None
    assert (larger.default.reach, larger.K) == (2, 8)


@pytest.mark.parametrize(
    ("asked", "rule"),
    [
        ("search:K=3", Search(3)),
        ("search:K=3,p=0.5", Search(3, 0.5)),
        ({"rule": "search:K=3", "p": 0.5}, Search(3, 0.5)),
        ("shifted:shift=-1", Shifted(-1)),
        ("tolerance:tau=0.5", Tolerance(0.5)),
        ("patience:m=2", Patience(2)),
        ("guarded:guard=0.1", Guarded(0.1)),
        ("hedged:eps_max=0.1", Hedged(0.1)),
        ("final", Final()),
    ],
)
def test_a_request_asks(asked, rule):
    assert K10.request({KEY: asked}, None).rule == rule


def test_a_request_that_does_not_ask_has_the_engines_rule():
    assert K10.request(None, None).reach == 0
    assert K10.request({"mine": 1}, 5) == Request(Final(), 5)
    every = Engine.of({KEY: {"rule": "search:K=6", "seed": 3}})
    assert every is not None
    assert every.request({}, None) == Request(Search(6), 3)
    assert every.request({KEY: "final"}, None).reach == 0


def test_seeds_are_the_requests_own_else_its_samplings_else_the_engines():
    asked = {"rule": "search:p=0.5"}
    assert K10.request({KEY: {**asked, "seed": 9}}, 5).seed == 9
    assert K10.request({KEY: asked}, 5).seed == 5
    assert K10.request({KEY: asked}, None).seed == 0


def test_deterministic_rules_of_all_seeds_are_decided_together():
    assert Request(Search(3), 1).group == Request(Search(3), 2).group
    assert Request(Search(3, 0.5), 1).group != Request(Search(3, 0.5), 2).group
    assert Request(Search(3), 1).reach == 3
    assert Request(Search(3, 0.0), 1).reach == 0


@pytest.mark.parametrize(
    ("asked", "words"),
    [
        ("search:K=11", "keeps 10"),
        ("nonsense", "unknown kind 'nonsense'"),
        ("offset:k=2", "offset is not served"),
        ("forward:threshold=0.1", "forward is not served"),
        ("minimax:eps_max=0.1", "minimax is not served"),
        ("dola", "no rule"),
        ("snell:file=none.json", "none.json"),
        ("search:p=2", "must be in"),
        ({"rule": "search:p=1", "p": 0.5}, "keep one"),
        ({"rule": "tolerance:tau=1", "p": 0.5}, "no setting p"),
        ({"rule": "search", "p": "half"}, "number"),
        ({"rule": "search", "q": 1}, "unknown: q"),
        ({"rule": 3}, "text"),
        ({"p": 1}, "name a rule"),
        ({"rule": "search", "seed": -1}, "seed"),
        ({"rule": "search", "seed": True}, "seed"),
        (["search"], "object"),
        (1, "object"),
        (float("nan"), "object"),
    ],
)
def test_a_wrong_request_is_refused_by_name(asked, words):
    with pytest.raises(UserError, match=words):
        K10.request({KEY: asked}, None)


@pytest.mark.parametrize(
    ("asked", "words"),
    [
        ({"K": -1}, "K must"),
        ({"K": True}, "K must"),
        ({"K": 2.5}, "K must"),
        ({"p": 0.5}, "p belongs to a rule"),
        ({"rule": "snell:file=none.json"}, "none.json"),
        ({"rule": "offset:k=1"}, "offset is not served"),
        ({"projections": "eager"}, "choose from auto, lazy, together"),
        ({"lens": 3}, "name of a file"),
        ({"any_version": "yes"}, "true or false"),
        ({"layers": 3}, "unknown: layers"),
        ("search", "object"),
        (None, "object"),
    ],
)
def test_a_wrong_engine_is_refused_by_name(asked, words):
    with pytest.raises(UserError, match=words):
        Engine.of({KEY: asked})
