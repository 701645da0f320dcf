"""JSON documents that say what they are: a format's name and a version stand beside the content.

Whoever reads one learns in plain words whether it is missing, damaged, of another kind, or newer
than the package.
"""

import dataclasses
import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import cattrs
import numpy as np

from stopping.errors import UserError
from stopping.support.files import Kind, write_atomic

T = TypeVar("T")


@dataclass(frozen=True)
class Format:
    """A kind of document.

    Attributes
    ----------
    name, version
        What stands in the document; a higher version than this one cannot be read.
    what : str
        What a reader calls it, such as "trace file".
    remedy : str
        How to make one, such as "make one with `stopping trace`".
    former : dict
        Keys that earlier versions wrote, with their present names; both are read.
    """

    name: str
    version: int
    what: str
    remedy: str
    former: Mapping[str, str] = field(default_factory=dict, compare=False)

    @property
    def kind(self) -> Kind:
        """The format as a kind of file; files of other types (Parquet, safetensors) name it too."""
        return Kind(self.what, self.name.encode())

    def wrap(self, content: Mapping[str, Any]) -> dict[str, Any]:
        """Return the content under the format's name and version."""
        return {"format": self.name, "version": self.version, **content}

    def write(self, path: Path, content: Mapping[str, Any]) -> None:
        """Write a document of plain values, whole or not at all."""
        write_atomic(path, json.dumps(self.wrap(content), indent=1, allow_nan=False) + "\n")

    def parse(self, text: str, where: str) -> dict[str, Any]:
        """Return the content of a document; `where` names its file in errors.

        Raises
        ------
        UserError
            If it is damaged, of another kind, or of a newer version.
        """
        try:
            content: dict[str, Any] = json.loads(text, object_hook=self._renamed)
            if content.pop("format") != self.name:
                raise KeyError("format")
            found = int(content.pop("version"))
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
            raise UserError(
                f"{where}: no {self.what} (damaged, or not of the format {self.name!r}); "
                f"{self.remedy}"
            ) from error
        if found > self.version:
            raise UserError(
                f"{where}: {self.what} of format version {found}, this package reads up to "
                f"{self.version}; upgrade layer-stopping"
            )
        return content

    def _renamed(self, content: dict[str, Any]) -> dict[str, Any]:
        return {self.former.get(key, key): value for key, value in content.items()}

    def read(self, path: Path) -> dict[str, Any]:
        """Read a document.

        Raises
        ------
        UserError
            If the file is missing or cannot be read, or as `parse`.
        """
        path = Path(path)
        if not path.is_file():
            raise UserError(f"{path}: cannot be read (no such file); {self.remedy}")
        try:
            text = path.read_text(encoding="utf-8-sig")
        except OSError as error:
            raise UserError(f"{path}: cannot be read ({error.strerror}); {self.remedy}") from error
        except ValueError:  # not UTF-8
            text = ""
        return self.parse(text, str(path))


def structured(content: dict[str, Any], kind: type[T], what: str) -> T:
    """Turn plain values into a frozen dataclass; null where a number stands is NaN.

    Raises
    ------
    UserError
        If something is missing or of a wrong type; `what` begins the message.
    """
    converter = cattrs.Converter()
    converter.register_structure_hook(float, lambda value, _: _number(value))
    try:
        return converter.structure(content, kind)
    except cattrs.BaseValidationError as error:
        reasons = "; ".join(cattrs.transform_error(error))
        raise UserError(f"{what} is incomplete or damaged ({reasons})") from error


def _number(value: float | None) -> float:
    return math.nan if value is None else float(value)


def as_json(value: object) -> str:
    """Serialise dataclasses, arrays and plain values; NaN and infinity become null."""
    return json.dumps(plain(value), indent=2, ensure_ascii=False, allow_nan=False)


def plain(value: Any) -> Any:
    """Turn dataclasses and numpy values into what `json` accepts."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {f.name: plain(getattr(value, f.name)) for f in dataclasses.fields(value)}
    if isinstance(value, dict):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(item) for item in value]
    if isinstance(value, np.ndarray):
        return plain(value.tolist())
    if isinstance(value, np.generic):
        return plain(value.item())
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value


def read_text(path: Path) -> str:
    """Read a user's text file: UTF-8, without the byte-order mark that some editors write.

    Raises
    ------
    UserError
        If the file cannot be read, or is not UTF-8.
    """
    try:
        return path.read_text(encoding="utf-8-sig")
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror})") from error
    except UnicodeDecodeError as error:
        raise UserError(
            f"{path}: not UTF-8 text (byte {error.start + 1}); save the file as UTF-8"
        ) from error
