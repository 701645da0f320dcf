"""These tests run in an environment with vLLM: `make serving-test`."""

from pathlib import Path
from typing import Any

import pytest

from tests.serving.engines import save_tiny


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Warnings of vLLM and of what it needs are not ours; drafts come last.

    Drafting by n-grams loads numba, and after that vLLM 0.32 starts no other engine in a process.
    """
    for item in items:
        item.add_marker(pytest.mark.filterwarnings("default"))
    items.sort(key=lambda item: item.name.startswith("test_drafts"))


@pytest.fixture(scope="session")
def llama(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Any]:
    """A tiny Llama: its folder, and the model in transformers."""
    folder = tmp_path_factory.mktemp("llama")
    return folder, save_tiny(folder, "llama")
