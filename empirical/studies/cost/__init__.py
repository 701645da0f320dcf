"""What decoding from a chosen layer costs, from bytes and FLOPs alone (needs no torch).

`Shape` is a model by its sizes, `Device` a bandwidth and an arithmetic rate, and `overheads`
predicts what each way of reading the candidates adds to a decode step.
"""

from empirical.studies.cost.counts import Count, counts
from empirical.studies.cost.designs import DESIGNS, Overhead, overheads
from empirical.studies.cost.devices import DEVICES, Device, read_device
from empirical.studies.cost.shapes import SHAPES, Shape, read_shape
from empirical.studies.cost.step import Load, Step, plain_step

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
