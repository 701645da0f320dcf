"""The words at the edge of what counts: rarely said there, and said beyond it."""

import pytest

from benchmarks.words import KINDS, SHARES, TRUTHS, answers, audits, is_error, words

RUNS = 8


@pytest.mark.slow
def test_errors_are_rare_and_what_is_beyond_is_said() -> None:
    rows = list(audits(RUNS, seed=5, sizes=(100,)))
    found = {(row.truth, row.of, row.word): row for row in rows if row.method == "new"}
    for row in found.values():
        # Four of eight have a probability of 4e-4 at 5 %.
        if row.is_error:
            assert row.share.estimate <= 3 / RUNS, row
    for of in ("A0", *SHARES):
        assert found["beyond", of, "fails"].share.estimate > 0.5
    for of in SHARES:
        assert found["right", of, "holds"].share.estimate > 0.5


@pytest.mark.slow
def test_holds_is_not_said_of_shares_too_few_prompts_can_show() -> None:
    truth = TRUTHS["share at edge, in few prompts"]
    said = [words(truth, 30, seed) for seed in range(RUNS)]
    assert not any(one["new", of] == "holds" for one in said for of in SHARES)
    # The negative control says it: each in one run of eight, and there are four of them.
    assert any(one["old", of] == "holds" for one in said for of in SHARES)


@pytest.mark.slow
def test_better_and_worse_than_plain_decoding() -> None:
    found = {(r.truth, r.method, r.word): r.share for r in answers(60, seed=1, sizes=(25,))}
    for kind in KINDS:
        for word in ("better", "worse"):
            # Nine of sixty have a probability of 0.003 at 5 %.
            assert found[kind, "new", word].estimate <= 8 / 60
        assert found[kind, "old", "better"].low > 0.05


def test_which_words_are_errors() -> None:
    right, edge, beyond = TRUTHS["right"], TRUTHS["gap at edge"], TRUTHS["beyond"]
    assert is_error(right, "A0", "fails")
    assert not is_error(right, "A3", "holds")
    assert not is_error(right, "T2", "applies")
    assert is_error(edge, "A0", "holds")
    assert is_error(edge, "A0", "fails")
    assert is_error(edge, "T2", "applies")
    assert is_error(beyond, "A4", "holds")
    assert not is_error(beyond, "A2", "fails")
    said = words(right, 30, 0)
    assert {of for method, of in said if method == "new"} == {"A0", *SHARES, "T2"}
    assert {of for method, of in said if method == "old"} == set(SHARES)
