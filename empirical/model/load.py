"""Loading a causal language model and its tokenizer from a file, a folder or the hub.

This module imports torch and transformers only when a model is loaded, so that `import empirical`
and the command line's help need neither.
"""

import gc
import hashlib
import importlib.util
import io
import re
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from empirical.provenance import Provenance, library_versions
from stopping.errors import UserError, missing_extra

if TYPE_CHECKING:
    import torch

    from empirical.problems import Problem

DTYPES = ("auto", "float32", "bfloat16", "float16")

_HUB_ID = re.compile(r"[\w-][\w.-]*(/[\w-][\w.-]*)?")
_WEIGHT_FILES = ("*.safetensors", "*.bin")


@dataclass(frozen=True, eq=False)
class LoadedModel:
    """A model ready for inference, with what its traces must say about it.

    Attributes
    ----------
    model, tokenizer : the transformers objects.
    name : file or folder name, or hub id; never a machine's path.
    weights : SHA-256 of each weights file, by file name.
    """

    model: Any
    tokenizer: Any
    name: str
    weights: dict[str, str]

    @property
    def device(self) -> "torch.device":
        """Where the model's parameters are; of a spread model, its first ones."""
        parameters = self.model.parameters()
        # Weights that are offloaded have no place of their own; their inputs start on the CPU.
        device: torch.device | None = next((p.device for p in parameters if not p.is_meta), None)
        return device or _device("cpu")

    @property
    def device_name(self) -> str:
        """What the device calls itself, such as "cpu" or the name of a GPU."""
        if self.device.type != "cuda":
            return self.device.type
        import torch

        return torch.cuda.get_device_name(self.device)

    @property
    def dtype(self) -> str:
        """Precision of the model's parameters, such as "float32"."""
        return str(self.model.dtype).removeprefix("torch.")

    def provenance(self, problems: "Sequence[Problem]", **run: Any) -> Provenance:
        """Say where what is made with this model and these problems comes from.

        `run` are the fields of `Provenance` that only the run knows.
        """
        from empirical.problems import prompts_hash

        return Provenance(
            model=self.name,
            hidden_size=int(self.text_config.hidden_size),
            weights=self.weights,
            dtype=self.dtype,
            device=self.device_name,
            versions=library_versions(),
            prompts_hash=prompts_hash(problems),
            prompts=len(problems),
            **run,
        )

    @property
    def context(self) -> int | None:
        """Most tokens that the model can read, None if it sets no limit."""
        limit = getattr(self.text_config, "max_position_embeddings", None)
        return int(limit) if limit else None

    @cached_property
    def control_tokens(self) -> dict[int, str]:
        """The tokenizer's special tokens: those with a role, and those added as special."""
        found = {
            number: self.tokenizer.convert_ids_to_tokens(number)
            for number in self.tokenizer.all_special_ids
            if number is not None
        }
        added = getattr(self.tokenizer, "added_tokens_decoder", {})
        return found | {number: token.content for number, token in added.items() if token.special}

    @property
    def text_config(self) -> Any:
        """Configuration of the text decoder, also of a multimodal model."""
        return self.model.config.get_text_config(decoder=True)


def load_model(
    spec: str | Path, dtype: str = "auto", device: str = "auto", device_map: str | None = None
) -> LoadedModel:
    """Load a model for inference.

    Parameters
    ----------
    spec
        A `.gguf` file, a folder in transformers' layout, or a hub id such as
        "HuggingFaceTB/SmolLM2-135M-Instruct".
    dtype
        Precision; "auto" is float32 on a CPU and bfloat16 on a GPU.
    device
        A torch device; "auto" is the first GPU, or the CPU without one.
    device_map
        "auto" spreads the model over all GPUs and the CPU instead.

    Raises
    ------
    UserError
        If the extra `models` is not installed, or the model cannot be found or loaded.
    """
    require_models_extra()
    with _no_collection():
        import torch
        import transformers
        import transformers.modeling_utils  # which every model's module imports

    if device_map is not None and device != "auto":
        raise UserError("give either a device or a device map, not both")
    place = _device(device)
    if dtype not in DTYPES:
        raise UserError(f"dtype {dtype!r}: expected one of {', '.join(DTYPES)}")
    if dtype == "auto":
        dtype = "float32" if place.type == "cpu" else "bfloat16"
    source, options, name = locate(str(spec))
    spread: dict[str, Any] = {} if device_map is None else {"device_map": device_map}
    with _quiet():
        try:
            tokenizer = transformers.AutoTokenizer.from_pretrained(source, **options)
            model: Any = transformers.AutoModelForCausalLM.from_pretrained(
                source, dtype=getattr(torch, dtype), **options, **spread
            )
        except Exception as error:  # a damaged file breaks its reader in any way whatever
            raise UserError(_explain(name, source, error)) from error
    model = (model if spread else model.to(place)).eval()
    return LoadedModel(model, tokenizer, name, _hashes(source, options))


@contextmanager
def _no_collection() -> Iterator[None]:
    """Collect no garbage: imports make little, and looking for it takes a fifth of their time."""
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()


def require_models_extra() -> None:
    """Raise a UserError that names the extra if torch or transformers is missing."""
    for library in ("torch", "transformers"):
        if importlib.util.find_spec(library) is None:
            raise missing_extra(f"reading a model needs {library}", "models")


def _device(device: str) -> "torch.device":
    import torch

    if device == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        place = torch.device(device)
        torch.empty(1, device=place)
    except (RuntimeError, AssertionError) as error:
        reason = str(error).splitlines()[0]
        raise UserError(f"device {device!r} cannot be used here: {reason}") from error
    return place


def locate(spec: str) -> tuple[str, dict[str, str], str]:
    """Return what transformers loads from, with which options, and the model's name.

    Raises
    ------
    UserError
        If there is no such model here, and it cannot be on the hub.
    """
    path = Path(spec).expanduser()
    if path.is_file():
        if path.suffix.lower() != ".gguf":
            raise UserError(f"{spec}: a model file must be .gguf; name a folder for other formats")
        return str(path.parent), {"gguf_file": path.name}, path.stem
    if path.is_dir():
        if not (path / "config.json").is_file():
            raise UserError(f"{spec}: no config.json in this folder, so it holds no model")
        return str(path), {}, path.resolve().name
    if path.suffix.lower() == ".gguf" or not _HUB_ID.fullmatch(spec):
        raise UserError(f"{spec}: no such file or folder, and no hub id (owner/name) either")
    return spec, {}, spec


def _explain(name: str, source: str, error: Exception) -> str:
    reason = " ".join(str(error).split())[:300]
    if Path(source).is_dir():
        return f"{name}: transformers cannot load this model ({reason})"
    return (
        f"{name}: no such file or folder here, and the hub did not give it ({reason}); "
        "check the spelling and the connection, or name a local folder or .gguf file"
    )


def weights_of(spec: str) -> dict[str, str]:
    """SHA-256 of each weights file of a model that has been loaded, by file name."""
    source, options, _ = locate(spec)
    return _hashes(source, options)


def _hashes(source: str, options: dict[str, str]) -> dict[str, str]:
    folder = Path(source)
    if "gguf_file" in options:
        files = [folder / options["gguf_file"]]
    else:
        if not folder.is_dir():
            from huggingface_hub import snapshot_download

            # The model has just been loaded, so its files are in the hub's cache.
            folder = Path(snapshot_download(source, local_files_only=True))
        files = sorted(file for pattern in _WEIGHT_FILES for file in folder.glob(pattern))
    return {file.name: _sha256(file) for file in files}


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


@contextmanager
def _quiet() -> Iterator[None]:
    """Silence progress bars and warnings about loading; what fails still raises."""
    from transformers.utils import logging as transformers_logging

    logging: Any = transformers_logging

    verbosity, bars = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    try:
        with (
            warnings.catch_warnings(action="ignore"),
            redirect_stderr(io.StringIO()),
            redirect_stdout(io.StringIO()),
        ):
            yield
    finally:
        logging.set_verbosity(verbosity)
        if bars:
            logging.enable_progress_bar()
