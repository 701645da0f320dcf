"""The words of an audit at the edge of what counts: rarely said, and said beyond it."""

import pytest

from benchmarks.words import TRUTHS, is_error, table, words

RUNS = 12


@pytest.mark.slow
def test_errors_are_rare_and_what_is_beyond_is_said() -> None:
    found = {(row.truth, row.of, row.word): row for row in table(RUNS, seed=5, sizes=(100,))}
    for row in found.values():
        # Four of twelve have a probability of 0.002 at 5 %.
        if row.is_error:
            assert row.share.estimate <= 3 / RUNS, row
    assert found["beyond", "A2", "fails"].share.estimate > 0.5
    assert found["beyond", "A0", "fails"].share.estimate > 0.5
    assert found["right", "A2", "holds"].share.estimate > 0.5


def test_which_words_are_errors() -> None:
    right, edge, beyond = TRUTHS["right"], TRUTHS["gap at edge"], TRUTHS["beyond"]
    assert is_error(right, "A0", "fails")
    assert not is_error(right, "T2", "applies")
    assert is_error(edge, "A0", "holds")
    assert is_error(edge, "T2", "applies")
    assert is_error(beyond, "A0", "holds")
    assert not is_error(beyond, "A2", "fails")
    assert set(words(right, 30, 0)) == {"A0", "A1", "A2", "A3", "A4", "T2"}
