"""Hypothesis profiles: `quick`, `dev` (default), `ci`, `thorough` (HYPOTHESIS_PROFILE=thorough).

None has a limit of time: tests do not fail because the machine is slow or busy.
"""

import gc
import os
from collections import Counter

import pytest
from hypothesis import HealthCheck, settings

untimed = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.register_profile("quick", untimed, max_examples=20)
settings.register_profile("dev", untimed, max_examples=100)
settings.register_profile("ci", untimed, max_examples=100, derandomize=True)
settings.register_profile("thorough", untimed, max_examples=5000)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "ci" if os.environ.get("CI") else "dev"))

# Tests leave little in cycles, and each collection takes a while beside torch and transformers.
gc.set_threshold(100_000, 50, 100)

# No test waits for a network: a model that is not here is told at once.
os.environ["HF_HUB_OFFLINE"] = "1"

# Output is as wide as a page, whatever the terminal: also for fixtures of a module.
ABOUT_THE_TERMINAL = ("COLUMNS", "LINES", "FORCE_COLOR", "TTY_COMPATIBLE")
for name in ABOUT_THE_TERMINAL:
    os.environ.pop(name, None)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with the files of most slow tests, so that no core ends alone with one of them."""
    slow = Counter(item.path for item in items if item.get_closest_marker("slow"))
    items.sort(key=lambda item: -slow[item.path])


def pytest_collection_finish() -> None:
    """Set aside what torch and transformers have made: each full collection would walk over it."""
    gc.collect()
    gc.freeze()


def pytest_sessionfinish() -> None:
    """Let go of it in order."""
    gc.unfreeze()


@pytest.fixture(autouse=True)
def page(monkeypatch: pytest.MonkeyPatch) -> None:
    """Forget what a library has set since."""
    for name in ABOUT_THE_TERMINAL:
        monkeypatch.delenv(name, raising=False)
