"""The Gaussian change-point model: what a real model's traces are fitted with.

`component` is one class of tokens, `scale` where it is Gaussian, `model` the mixture of classes
(sampling, reading and writing), `posterior` what an observed token says about its turning point,
its latent entropies and the excess of each layer (S3).
"""

from stopping.changepoint.component import Component, Moments
from stopping.changepoint.model import ChangePointModel, read_content, read_model, write_model
from stopping.changepoint.origin import FittedOn
from stopping.changepoint.posterior import Posterior, log_joint, log_likelihood, posterior
from stopping.changepoint.scale import Scale

__all__ = [
    "ChangePointModel",
    "Component",
    "FittedOn",
    "Moments",
    "Posterior",
    "Scale",
    "log_joint",
    "log_likelihood",
    "posterior",
    "read_content",
    "read_model",
    "write_model",
]
