"""These tests run in an environment with vLLM: `make serving-test`."""

from pathlib import Path
from typing import Any

import pytest

from tests.serving.engines import save_tiny


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Warnings of vLLM and of what it needs are not ours; `test_drafts` comes last."""
    for item in items:
        item.add_marker(pytest.mark.filterwarnings("default"))
    items.sort(key=lambda item: item.path.name == "test_drafts.py")


@pytest.fixture(scope="session")
def llama(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Any]:
    """A tiny Llama: its folder, and the model in transformers."""
    folder = tmp_path_factory.mktemp("llama")
    return folder, save_tiny(folder, "llama")
