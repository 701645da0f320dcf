"""JSON files with any part replaced or left out: read, or one clear line."""

import copy
import json
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import cache
from importlib.resources import files
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from empirical.evaluation.harness.runs import read_runs
from empirical.evaluation.run import read_evaluation
from empirical.studies.paper.results import read_paper
from stopping.changepoint import FittedOn, read_model, write_model
from stopping.errors import UserError
from stopping.optimal.bases import Polynomial
from stopping.optimal.layers import LayerProblem
from stopping.optimal.regression import fit_policy
from stopping.optimal.rules import Snell, save_rule
from tests.stopping.changepoint.models import two_classes

BUNDLED = "smollm2-135m-instruct"
READERS: dict[str, Callable[[Path], Any]] = {
    "model": read_model,
    "rule": Snell.from_file,
    "evaluation": read_evaluation,
    "paper": read_paper,
    "harness": read_runs,
}
LEAVES = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(2**70), 2**70),
    st.floats(),
    st.text(max_size=3),
    st.just([]),
    st.just({}),
    st.just([[]]),
)


LEFT_OUT = "left out"


def leaves(content: Any) -> Iterator[tuple[Any, ...]]:
    """Where all values stand that hold no other."""
    inner = content.items() if isinstance(content, dict) else enumerate(content)
    for key, below in inner:
        if isinstance(below, dict | list) and below:
            yield from ((key, *rest) for rest in leaves(below))
        else:
            yield (key,)


@cache
def document(name: str) -> Any:
    with TemporaryDirectory() as folder:
        write(Path(folder) / "file", name)
        return json.loads((Path(folder) / "file").read_text())


def write(path: Path, name: str) -> None:
    model = two_classes(w=4)
    if name == "model":
        write_model(path, replace(model, fitted_on=FittedOn("tiny", 6, "raw", {"a": "b"})))
    elif name == "rule":
        problem = LayerProblem(model, 0.05, True)
        policy = fit_policy(problem, Polynomial(), np.random.default_rng(0), 1000)
        save_rule(path, Snell(policy))
    else:
        data = files("empirical.data").joinpath(f"{BUNDLED}.{name}.json").read_bytes()
        path.write_bytes(data)


@pytest.mark.slow
@pytest.mark.parametrize("name", READERS)
@settings(
    deadline=None,
    max_examples=60,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
)
@given(
    leaf=st.integers(0, 10**6),
    depth=st.integers(0, 10),
    value=st.one_of(LEAVES, st.just(LEFT_OUT)),
)
def test_any_part_may_be_wrong(
    name: str, tmp_path: Path, leaf: int, depth: int, value: Any
) -> None:
    content = copy.deepcopy(document(name))
    places = list(leaves(content))
    place = places[leaf % len(places)]
    *above, key = place[: 1 + depth % len(place)]
    here = content
    for part in above:
        here = here[part]
    if value == LEFT_OUT:
        del here[key]
    else:
        here[key] = value
    path = tmp_path / "the-file"
    path.write_text(json.dumps(content))
    told = ""
    try:
        READERS[name](path)
    except UserError as error:
        told = str(error)
    assert not told or "the-file" in told


@pytest.mark.parametrize("name", READERS)
@pytest.mark.parametrize("text", ["", "null", "[]", '"x"', "{}", "[" * 100_000, "\ud800"])
def test_other_texts_are_none_of_them(name: str, text: str, tmp_path: Path) -> None:
    path = tmp_path / "the-file"
    path.write_bytes(text.encode("utf-8", "surrogatepass"))
    with pytest.raises(UserError, match="the-file"):
        READERS[name](path)
