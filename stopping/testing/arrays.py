"""Arrays as the tested function wants them: numpy or torch, any precision, printed as code."""

import importlib
import sys
from typing import Any, Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

from stopping.errors import UserError, missing_extra

Framework: TypeAlias = Literal["auto", "numpy", "torch"]
Dtype: TypeAlias = Literal["float64", "float32", "bfloat16", "float16"]

DTYPES: tuple[Dtype, ...] = ("float64", "float32", "bfloat16", "float16")
Floats: TypeAlias = NDArray[np.floating[Any]]


def torch() -> Any:
    """Return the module torch, imported only now."""
    try:
        return importlib.import_module("torch")
    except ImportError:
        raise missing_extra("framework torch needs torch", "models") from None


def torch_in_use() -> bool:
    """Whether something in this process, such as the tested function's module, uses torch."""
    return sys.modules.get("torch") is not None


def rounded(values: Floats, dtype: Dtype) -> NDArray[np.float64]:
    """Round to the nearest number of `dtype` (ties to even), kept as float64."""
    if dtype != "bfloat16":
        return values.astype(dtype).astype(np.float64)
    # bfloat16 is the upper half of a float32.
    bits = values.astype(np.float32).view(np.uint32)
    nearest = (bits + np.uint32(0x7FFF) + ((bits >> np.uint32(16)) & np.uint32(1))) >> np.uint32(16)
    return (nearest << np.uint32(16)).view(np.float32).astype(np.float64)


def fitting(framework: Framework, dtypes: tuple[Dtype, ...], device: str) -> Framework:
    """Settle "auto" where only torch can make such an array."""
    if framework == "auto" and (set(dtypes) == {"bfloat16"} or device != "cpu"):
        return "torch"
    return framework


def to_framework(values: Floats, framework: Framework, dtype: Dtype, device: str) -> Any:
    """Return a fresh array that the tested function may keep, or spoil."""
    if framework == "torch":
        t = torch()
        try:
            place = t.device(device)
            return t.from_numpy(np.array(values, np.float64)).to(place, getattr(t, dtype))
        except (RuntimeError, AssertionError) as error:
            reason = str(error).splitlines()[0]
            raise UserError(f"device {device!r}: torch cannot use it: {reason}") from None
    if dtype == "bfloat16":
        raise UserError("dtype: numpy has no bfloat16; pass framework torch")
    return np.array(values, dtype=dtype, order="C")


def to_numpy(value: Any) -> NDArray[Any]:
    """Return whatever the function gave back as a numpy array; half precision becomes float32."""
    if hasattr(value, "detach"):
        value = value.detach().cpu()
        if str(value.dtype) == "torch.bfloat16":
            value = value.float()
        value = value.numpy()
    elif isinstance(value, (list, tuple)):
        value = [to_numpy(item) if hasattr(item, "detach") else item for item in value]
    return np.asarray(value)


def same(a: NDArray[Any], b: NDArray[Any]) -> bool:
    """Whether two arrays are equal in shape and value, NaN being equal to itself."""
    return a.shape == b.shape and bool(np.array_equal(a, b, equal_nan=a.dtype.kind == "f"))


def code(values: Floats, framework: Framework, dtype: Dtype) -> str:
    """Return an expression that makes the array again, exactly."""
    # The shortest text that a float32 is read back from serves the half precisions as well.
    listed = nested(values if dtype == "float64" else values.astype(np.float32))
    if framework == "torch":
        return f"torch.tensor({listed}, dtype=torch.{dtype})"
    return f"np.array({listed}, dtype=np.{dtype})"


def nested(values: Any) -> str:
    """Return nested lists as Python code; NaN and infinity included."""
    if np.ndim(values):
        return f"[{', '.join(nested(item) for item in values)}]"
    return str(values) if np.isfinite(values) else f'float("{values}")'
