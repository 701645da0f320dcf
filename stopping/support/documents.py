"""JSON documents that say what they are: a format's name and a version stand beside the content.

Whoever reads one learns in plain words whether it is missing, damaged, of another kind, or newer
than the package.
"""

import dataclasses
import json
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, TypeVar, get_args, get_origin

import cattrs
import numpy as np
from numpy.typing import NDArray

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
    """

    name: str
    version: int
    what: str
    remedy: str

    @property
    def kind(self) -> Kind:
        """The format as a kind of file; files of other types (Parquet, safetensors) name it too."""
        return Kind(self.what, self.name.encode())

    def wrap(self, content: Mapping[str, Any]) -> dict[str, Any]:
        """Return the content under the format's name and version."""
        return {"format": self.name, "version": self.version, **content}

    def text(self, value: Any) -> str:
        """Serialise a dataclass or a mapping as a document; what JSON lacks is null."""
        return as_json(self.wrap(plain(value)))

    def write(self, path: Path, value: Any) -> None:
        """Write a dataclass or a mapping as a document, whole or not at all."""
        write_atomic(path, self.text(value) + "\n")

    def parse(self, text: str, where: str) -> dict[str, Any]:
        """Return the content of a document; `where` names its file in errors.

        Raises
        ------
        UserError
            If it is damaged, of another kind, or of a newer version.
        """
        try:
            content: dict[str, Any] = json.loads(text)
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

    def load(self, path: Path, kind: type[T]) -> T:
        """Read a document that is a dataclass.

        Raises
        ------
        UserError
            As `read` and `structure`.
        """
        return self.structure(self.read(path), kind, str(path))

    def structure(self, content: Any, kind: type[T], where: str) -> T:
        """Turn what was read into a dataclass; `where` names its file in errors.

        Raises
        ------
        UserError
            If something is missing, of a wrong type, or refused by the dataclass.
        """
        try:
            return structured(content, kind)
        except cattrs.BaseValidationError as error:
            reasons = "; ".join(cattrs.transform_error(error, format_exception=_reason))
            raise UserError(
                f"{where}: the {self.what} is incomplete or damaged ({reasons}); {self.remedy}"
            ) from error


def structured(content: Any, kind: type[T], exact: bool = False) -> T:
    """Turn plain values into a value of a type: the other way round of `plain`.

    Null where a number stands is NaN, and numbers that JSON lacks may be words (nan, inf); lists
    become arrays where the type says so. With `exact` a field that the type does not know is an
    error: a renamed one would take its default without it.

    Raises
    ------
    cattrs.BaseValidationError
        With all that is wrong.
    """
    return _converter(exact).structure(content, kind)


@cache
def _converter(exact: bool) -> cattrs.Converter:
    converter = cattrs.Converter(forbid_extra_keys=exact)
    converter.register_structure_hook(
        float, lambda value, _: math.nan if value is None else float(value)
    )
    converter.register_structure_hook_func(_is_array, _array)
    return converter


def _is_array(kind: Any) -> bool:
    return kind is np.ndarray or get_origin(kind) is np.ndarray


def _array(values: Any, kind: Any) -> NDArray[Any]:
    dtype = get_args(get_args(kind)[1])[0]
    found: NDArray[Any] = np.asarray(values, np.float64)
    with np.errstate(invalid="ignore"):
        cast = found.astype(dtype)
    if cast.dtype.kind == "i" and (cast != found).any():
        raise UserError(f"whole numbers are needed, got {values}")
    return cast


def _reason(error: BaseException, kind: type | None) -> str:
    return str(error) if isinstance(error, UserError) else cattrs.v.format_exception(error, kind)


def as_json(value: object) -> str:
    """Serialise dataclasses, arrays and plain values; NaN and infinity become null."""
    return json.dumps(plain(value), indent=2, ensure_ascii=False, allow_nan=False)


def plain(value: Any, lacking: Callable[[float], Any] = lambda _: None) -> Any:
    """Turn dataclasses and numpy values into what `json` accepts.

    `lacking` is asked what stands for a number that JSON lacks; by default null.
    """
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        names = (field.name for field in dataclasses.fields(value))
        return {name: plain(getattr(value, name), lacking) for name in names}
    if isinstance(value, Mapping):
        return {str(key): plain(item, lacking) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(item, lacking) for item in value]
    if isinstance(value, (np.ndarray, np.generic)):
        return plain(value.tolist(), lacking)
    if isinstance(value, float) and not math.isfinite(value):
        return lacking(value)
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
