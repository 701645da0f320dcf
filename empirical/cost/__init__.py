"""What decoding from a chosen layer costs, from bytes and FLOPs alone (needs no torch).

`Shape` is a model by its sizes, `Device` a bandwidth and an arithmetic rate, and `overheads`
predicts what each way of reading the candidates adds to a decode step.
"""

from empirical.cost.counts import Count, counts
from empirical.cost.designs import DESIGNS, Overhead, overheads
from empirical.cost.devices import DEVICES, Device, read_device
from empirical.cost.shapes import SHAPES, Shape, read_shape
from empirical.cost.step import Load, Step, plain_step

__all__ = [
    "DESIGNS",
    "DEVICES",
    "SHAPES",
    "Count",
    "Device",
    "Load",
    "Overhead",
    "Shape",
    "Step",
    "counts",
    "overheads",
    "plain_step",
    "read_device",
    "read_shape",
]
