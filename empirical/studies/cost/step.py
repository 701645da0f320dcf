"""The decode step without the feature: what every overhead is a share of.

Each part takes the longer of reading its bytes and doing its FLOPs (the roofline):

    body   max(touched weights, 2 B active FLOPs), layer by layer alike
    cache  B * context * cache numbers, read
    head   max(V d weights, 2 B V d FLOPs), and its logits written

An engine that runs is slower than that, so that shares of a real step are smaller; the added parts
lose efficiency, too.
"""

from dataclasses import dataclass

from empirical.studies.cost.devices import Device
from empirical.studies.cost.shapes import Shape
from stopping.errors import UserError


@dataclass(frozen=True)
class Load:
    """What a step is asked to do.

    `batch` rows are decoded at once, each after `context` tokens; a row that has read a candidate
    wants the next with probability `rate`, in a window of `window` steps back. Weights, logits and
    cache have `width` bytes a number.
    """

    batch: int
    rate: float
    window: int = 10
    context: int = 1024
    width: float = 2.0

    def __post_init__(self) -> None:
        if not 0.0 <= self.rate <= 1.0:
            raise UserError(f"rate: a probability, got {self.rate}")
        if self.batch < 1 or self.window < 0 or self.context < 0 or not self.width > 0:
            raise UserError(
                f"batch >= 1, window >= 0, context >= 0 and a positive width are needed, got {self}"
            )

    @property
    def depth(self) -> float:
        """Mean number of steps back that a row takes: `q + q^2 + ... + q^K`."""
        return sum(self.rate**j for j in range(1, self.window + 1))

    @property
    def projections(self) -> float:
        """Mean number of layers that a lazy reader projects beyond `L`: `1 + q + ... + q^(K-1)`."""
        return sum(self.rate**j for j in range(self.window))


@dataclass(frozen=True)
class Step:
    """Seconds of the parts of a plain step."""

    body: float
    cache: float
    head: float

    @property
    def total(self) -> float:
        """Seconds of the whole step."""
        return self.body + self.cache + self.head


def product_seconds(shape: Shape, device: Device, load: Load, rows: float) -> float:
    """Time of a product of `rows` rows with the unembedding."""
    read = shape.head * load.width / device.bytes_per_second
    return max(read, 2 * rows * shape.head / device.flops_per_second)


def logits_seconds(shape: Shape, device: Device, load: Load, rows: float) -> float:
    """Time to write or read the logits of `rows` rows once."""
    return rows * shape.vocabulary * load.width / device.bytes_per_second


def plain_step(shape: Shape, device: Device, load: Load) -> Step:
    """Seconds of a step of plain decoding."""
    read = shape.touched(load.batch) * load.width / device.bytes_per_second
    compute = 2 * load.batch * shape.active / device.flops_per_second
    cache = shape.cache * load.batch * load.context * load.width / device.bytes_per_second
    head = product_seconds(shape, device, load, load.batch)
    # Written by the product, read by whoever samples.
    head += 2 * logits_seconds(shape, device, load, load.batch)
    return Step(max(read, compute), cache, head)
