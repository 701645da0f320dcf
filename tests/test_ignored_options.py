"""No option is silently ignored: where another one leaves it without effect, it is refused.

A seed is the exception: it is that of every draw, also where nothing is drawn.
"""

import pytest

from stopping.cli.main import exit_code, group

Words = tuple[str, ...]
GENERATE = ("generate", "--model", "missing", "--prompt", "1")
LENS = ("lens", "fit", "--model", "missing", "--out", "new")
PAPER = ("paper", "--model", "missing")
TRACE = ("trace", "--model", "missing", "--out", "new")
CLUSTER = ("--backend", "dask", "--scheduler", "tcp://a:1")

# A call that ends at something that is missing, an option, what leaves it without effect, and with
# what it has one.
IGNORED: list[tuple[Words, Words, Words, Words]] = [
    (("audit", "missing"), ("--brief",), ("--json",), ()),
    (("conformance", "missing:f"), ("--window", "3"), ("--kind", "entropy"), ("--kind", "decoder")),
    (
        ("conformance", "missing:f", "--kind", "entropy"),
        ("--device", "cpu"),
        ("--framework", "numpy"),
        ("--framework", "torch"),
    ),
    (("fit", "missing"), ("--compare",), ("--scale", "nats"), ()),
    (("fit", "missing"), ("--compare",), ("--classes", "1"), ()),
    (("fit",), ("--runs", "9"), (), ("--check", "--resume", "/")),
    (("fit", "missing"), ("--window", "3"), ("--check",), ()),
    (GENERATE, ("--show", "layers"), ("--json",), ()),
    (GENERATE, ("--top-p", "0.9"), ("--temperature", "0"), ("--temperature", "1")),
    (GENERATE, ("--norm", "off"), ("--rule", "search"), ("--rule", "dola")),
    (GENERATE, ("--p", "0.5"), ("--rule", "dola"), ("--rule", "search")),
    (("learn", "missing"), ("--cost", "0.1"), ("--no-theory",), ()),
    (LENS, ("--max-new-tokens", "9"), ("--mode", "reference"), ("--mode", "generated")),
    (LENS, ("--max-new-tokens", "9"), (), ("--mode", "generated")),
    (LENS, ("--rank", "9"), ("--kind", "temperature"), ("--kind", "affine")),
    (LENS, ("--epochs", "9"), ("--kind", "temperature"), ("--kind", "affine")),
    (LENS, ("--rank", "9"), ("--kind", "jacobian"), ("--kind", "affine")),
    (PAPER, ("--samples", "9"), ("--sections", "p"), ("--sections", "difficulty")),
    (PAPER, ("--temperatures", "1"), ("--sections", "p"), ("--sections", "temperature")),
    (("audit", "phases", "missing"), ("--brief",), ("--json",), ()),
    (("sweep", "--rule", "x"), ("--jobs", "2"), CLUSTER, CLUSTER[:2]),
    (("sweep", "--rule", "x"), CLUSTER[2:], ("--backend", "loky"), CLUSTER[:2]),
    (TRACE, ("--max-new-tokens", "9"), ("--mode", "reference"), ("--mode", "generated")),
    (TRACE, ("--device", "cpu"), ("--device-map", "auto"), ()),
    (("validate", "missing"), ("--by-difficulty",), ("--json",), ()),
    (("verify", "T2"), ("--fresh",), (), ("--resume", "/")),
]
REFUSALS = (
    *("has no meaning", "belong", "draws none", "has no setting", "leave it out", "without --"),
    *("leave the number out", "leave the scheduler out", "not both"),
)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("call", "option", "without", "alive"),
    IGNORED,
    ids=[" ".join((*call[:1], *option[:1], *without)) for call, option, without, _ in IGNORED],
)
def test_an_option_without_effect_is_refused(
    call: Words, option: Words, without: Words, alive: Words, capsys: pytest.CaptureFixture[str]
) -> None:
    for setting, refused in ((without, True), (alive, False)):
        words = [*call, *setting, *option]
        assert exit_code(lambda words=words: group.main(words, standalone_mode=False)) == 2
        said = capsys.readouterr().err
        assert any(words in said for words in REFUSALS) is refused, said
