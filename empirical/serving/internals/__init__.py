"""vLLM: the one package that knows its inside.

| file | idea |
|---|---|
| `interface` | all that is used of vLLM, which versions have it, and what is refused |
| `requests` | whose the rows of a step are, and what each asks for |
| `window` | the states of a model's last layers: how they leave `forward` and reach the search |
| `plugin` | the subclass of a model's class that vLLM builds, and the entry point that lets it |
| `running` | an engine of this process, from outside |
"""

from empirical.serving.internals.interface import TESTED, missing_interface, require_served
from empirical.serving.internals.plugin import register
from empirical.serving.internals.requests import Requests
from empirical.serving.internals.running import close, model_of
from empirical.serving.internals.window import Window

__all__ = [
    "TESTED",
    "Requests",
    "Window",
    "close",
    "missing_interface",
    "model_of",
    "register",
    "require_served",
]
