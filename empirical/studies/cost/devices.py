"""A device as two rates and a delay: bytes per second, FLOPs per second, time of a small kernel."""

import json
from dataclasses import asdict, dataclass, fields
from pathlib import Path

from stopping.errors import UserError
from stopping.support.documents import read_text


@dataclass(frozen=True)
class Device:
    """Rates of one device.

    Attributes
    ----------
    bytes_per_second : rate at which weights are read.
    flops_per_second : rate of a matrix product in the precision of the weights; a multiply-add is
        two FLOPs.
    kernel_seconds : what each further kernel adds that waits for the one before it.
    source : where the rates come from.
    """

    name: str
    bytes_per_second: float
    flops_per_second: float
    kernel_seconds: float = 2e-6
    source: str = ""

    @property
    def free_rows(self) -> float:
        """Rows whose product with 2-byte weights computes as long as it reads: the ridge."""
        return self.flops_per_second / self.bytes_per_second


_SHARES = "nominal rates, at the shares of nominal that were measured on an H200"
DEVICES: dict[str, Device] = {
    device.name: device
    for device in (
        # Nominal: 4.8 TB/s and 989 TFLOP/s.
        Device("h200", 4.3e12, 790e12, source="measured: copy, and bfloat16 products"),
        # Nominal: 3.35 TB/s and 989 TFLOP/s; 2.04 TB/s and 312 TFLOP/s.
        Device("h100", 3.0e12, 790e12, source=_SHARES),
        Device("a100", 1.8e12, 250e12, source=_SHARES),
    )
}


def read_device(spec: str) -> Device:
    """Return a device by name, or from a JSON file with the fields of `Device`.

    Raises
    ------
    UserError
        If there is neither, or the file is not like that.
    """
    if spec in DEVICES:
        return DEVICES[spec]
    path = Path(spec)
    if not path.is_file():
        raise UserError(
            f"device {spec!r}: neither a file nor one of {', '.join(DEVICES)}; write a JSON file "
            f"with {', '.join(f.name for f in fields(Device))}"
        )
    try:
        content = json.loads(read_text(path))
        device = Device(**{"name": path.stem, "source": path.name, **content})
        rates = device.bytes_per_second, device.flops_per_second
        sound = all(0 < float(rate) < float("inf") for rate in rates) and device.kernel_seconds >= 0
    except (ValueError, TypeError, RecursionError) as error:
        raise UserError(f"{spec}: not a device ({error})") from error
    if not sound:
        raise UserError(f"{spec}: rates must be positive and finite, got {asdict(device)}")
    return device
