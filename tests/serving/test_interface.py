"""What the plug-in uses of vLLM; a test that fails here names what a new version has changed."""

import re
import tomllib
from importlib.metadata import entry_points
from pathlib import Path
from types import SimpleNamespace

import pytest
import vllm

from empirical.serving import internals
from empirical.serving.internals import interface
from empirical.serving.settings import KEY, Engine
from stopping.errors import UserError
from tests.serving.engines import engine


def config(ranks=1, **changes):
    plain = {"lora_config": None, "speculative_config": None}
    parallel = SimpleNamespace(pipeline_parallel_size=ranks)
    return SimpleNamespace(**{**plain, "parallel_config": parallel, **changes})


ASKED = Engine.of({KEY: {"K": 2}})
assert ASKED is not None


def test_the_installed_version_is_one_of_those_tested():
    assert ".".join(vllm.__version__.split(".")[:2]) in internals.TESTED
    assert internals.missing_interface() == []
    internals.require_served(config(), ASKED)


@pytest.mark.parametrize(
    ("entry", "words"),
    [
        (("vllm.nowhere", "a", ()), "nowhere"),
        (("vllm.config", "VllmConfig.no_such", ()), "no_such"),
        (("vllm", "SamplingParams.no_such", ()), "no_such"),
        (
            ("vllm.model_executor.model_loader.utils", "get_model_architecture", ("config",)),
            "takes model_config",
        ),
    ],
)
def test_what_changed_is_named(monkeypatch, entry, words):
    monkeypatch.setattr(interface, "INTERFACE", (*interface.INTERFACE, entry))
    (found,) = internals.missing_interface()
    assert words in found
    with pytest.raises(UserError, match=f"has changed: {re.escape(entry[0])}"):
        internals.require_served(config(), ASKED)


def test_another_version_is_refused_with_how_to_go_on(monkeypatch):
    monkeypatch.setattr(vllm, "__version__", "0.99.1")
    with pytest.raises(UserError, match=r"not tested with vLLM 0.99.1.*any_version"):
        internals.require_served(config(), ASKED)
    trying = Engine.of({KEY: {"K": 2, "any_version": True}})
    assert trying is not None
    internals.require_served(config(), trying)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"lora_config": object()}, "LoRA adapters are not served"),
        ({"speculative_config": SimpleNamespace(method="mtp")}, "speculation by 'mtp'"),
        ({"speculative_config": SimpleNamespace(method="eagle")}, "speculation by 'eagle'"),
    ],
)
def test_what_is_not_served_is_refused_in_one_sentence(changes, words):
    with pytest.raises(UserError, match=words):
        internals.require_served(config(**changes), ASKED)
    internals.require_served(config(speculative_config=SimpleNamespace(method="ngram")), ASKED)


@pytest.mark.parametrize(
    ("version", "options", "words"),
    [
        ("0.99.1", {}, "not tested with vLLM 0.99.1"),
        (vllm.__version__, {"enable_lora": True}, "LoRA adapters are not served"),
        (vllm.__version__, {"pipeline_parallel_size": 3}, "rank, 5 to 6; ask for K <= 1"),
    ],
)
def test_an_engine_does_not_start_with_what_is_refused(llama, monkeypatch, version, options, words):
    monkeypatch.setattr(vllm, "__version__", version)
    with pytest.raises(ValueError, match=words), engine(llama[0], {"K": 2}, **options):
        pass


def test_entry_points_are_installed_and_registering_twice_changes_nothing():
    found = {group: entry_points(group=group)[KEY] for group in _GROUPS}
    text = Path(__file__).parents[2].joinpath("pyproject.toml").read_text()
    stated = tomllib.loads(text)["project"]["entry-points"]
    for group, entry in found.items():
        assert stated[group] == {KEY: entry.value}
        assert entry.load() is getattr(internals, entry.value.partition(":")[2])
    from vllm.model_executor.model_loader import utils

    internals.register()
    once = utils.get_model_architecture
    internals.register()
    assert utils.get_model_architecture is once


_GROUPS = ("vllm.general_plugins", "vllm.logits_processors")
