"""The command that installs a missing extra is the one that works where the package lies."""

from pathlib import Path

import pytest

from stopping.errors import ROOT, missing_extra


def test_a_checkout_installs_an_extra_with_its_constraints() -> None:
    said = str(missing_extra("reading needs torch", "models"))
    assert said == (
        f"reading needs torch, which is not installed; "
        f'in {ROOT}: pip install -c constraints.txt -e ".[models]"'
    )


def test_an_installed_package_has_no_constraints_file(tmp_path: Path) -> None:
    said = str(missing_extra("reading needs torch", "models", tmp_path))
    assert said.endswith('not installed; pip install "layer-stopping[models]"')


@pytest.mark.parametrize("package", ["stopping", "empirical"])
def test_no_message_spells_an_installation_out_for_itself(package: str) -> None:
    spelled = {
        str(path.relative_to(ROOT))
        for path in (ROOT / package).rglob("*.py")
        if "pip install" in path.read_text(encoding="utf-8")
    }
    assert spelled <= {"stopping/errors.py"}
