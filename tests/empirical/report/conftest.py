"""The claims on a page, checked once for all reports of a file: the theory is the same in each."""

from collections.abc import Iterator
from functools import cache
from typing import Any

import pytest

from empirical.report import claims
from stopping.claims import Finding


@pytest.fixture(scope="module", autouse=True)
def _claims_are_checked_once() -> Iterator[None]:
    real = claims.check

    @cache
    def check(seed: int, effort: float, error: float) -> tuple[Finding, ...]:
        return real(claims.CLAIMS, seed=seed, effort=effort, error=error)

    def once(some: Any, *, workers: Any, **settings: Any) -> tuple[Finding, ...]:
        assert some is claims.CLAIMS
        return check(**settings)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(claims, "check", once)
        yield
