"""Names of a package that are imported when they are touched (PEP 562)."""

from collections.abc import Callable, Mapping
from importlib import import_module


def lazily(
    package: str, homes: Mapping[str, str]
) -> tuple[Callable[[str], object], Callable[[], list[str]], list[str]]:
    """Return `__getattr__`, `__dir__` and `__all__` of a package.

    Parameters
    ----------
    package : str
        Its name.
    homes : mapping of str to str
        Each public name and the module that holds it. `__version__` is added.
    """
    names = sorted((*homes, "__version__"))

    def get(name: str) -> object:
        if name == "__version__":
            from importlib.metadata import version

            return version("layer-stopping")
        if name in homes:
            return getattr(import_module(homes[name]), name)
        raise AttributeError(f"module {package!r} has no attribute {name!r}")

    return get, lambda: names, names
