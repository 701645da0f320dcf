"""Whose the rows of a step are.

`compute_logits` is not told: the first model runner (V1) tells logits processors of every change of
its batch, the second one (V2) tells the model's own `ModelState` (`plugin`).
"""

import logging
from typing import Any
from weakref import WeakValueDictionary

from torch import Tensor
from vllm.v1.sample.logits_processor import LogitsProcessor as FirstProcessor
from vllm.v1.sample.logits_processor import process_dict_updates
from vllm.v1.worker.gpu.sample.logits_processor import LogitsProcessor as SecondProcessor

from empirical.serving.internals.interface import engine_of
from empirical.serving.settings import KEY, Engine, Request
from stopping.errors import UserError
from stopping.rules import Search

_log = logging.getLogger(f"vllm.{__name__}")


def hears_requests(vllm_config: Any) -> bool:
    """Whether requests' own settings reach the model; V1 drops processors under speculation."""
    return vllm_config.speculative_config is None or bool(vllm_config.use_v2_model_runner)


FRONT: list[tuple[Engine | None, bool]] = []
"""What the engine configured last in this process asked for, and whether it hears requests."""


class Rows:
    """Whose the rows of a worker's current step are."""

    def __init__(self, engine: Engine, hears: bool) -> None:
        self.engine, self.hears = engine, hears
        self.of_row: dict[int, Request] = {}  # first runner: by row
        self.of_slot: dict[int, Request] = {}  # second runner: by request slot
        self.slots: Any = None  # second runner: slot of each row
        # Rows of a dummy run: memory is profiled for all that may be asked.
        self._any = Request(Search(engine.K))

    def requests(self, n: int) -> list[Request]:
        """What holds for each of the `n` rows of this step."""
        if not self.hears:
            return [self.engine.default] * n
        if self.slots is None:
            return [self.of_row.get(row, self._any) for row in range(n)]
        if len(self.slots) != n:
            return [self._any] * n
        return [self.of_slot.get(slot, self._any) for slot in self.slots.tolist()]

    def of(self, sampling_params: Any) -> Request:
        """What a request asks for."""
        if sampling_params is None:
            return self.engine.default
        try:
            return self.engine.request(sampling_params.extra_args, sampling_params.seed)
        except UserError as error:  # it got past the door of another engine in this process
            _log.warning("%s; it is decoded plainly", error)
            return Request()


_ROWS: WeakValueDictionary[str, Rows] = WeakValueDictionary()


def rows_of(vllm_config: Any, engine: Engine) -> Rows:
    """The rows that the model and the requests of one engine share in this worker."""
    name = str(vllm_config.instance_id)
    rows = _ROWS.get(name)
    if rows is None:
        rows = _ROWS[name] = Rows(engine, hears_requests(vllm_config))
    return rows


class Requests(FirstProcessor, SecondProcessor):
    """Entry point of the group `vllm.logits_processors`: hears of requests, changes no logits."""

    def __init__(self, vllm_config: Any, *args: object) -> None:
        engine = engine_of(vllm_config)
        self._rows = None if engine is None else rows_of(vllm_config, engine)

    @classmethod
    def validate_params(cls, sampling_params: Any) -> None:
        """Refuse a wrong request at the door (HTTP 400)."""
        extra = sampling_params.extra_args
        if extra is None or KEY not in extra:
            return
        engine, hears = FRONT[0] if FRONT else (None, True)
        if engine is None:
            raise UserError(
                f"{KEY}: this engine was started without it; start it with "
                """--additional-config '{"confident": {"K": 10}}'"""
            )
        if not hears:
            raise UserError(
                f"{KEY}: with speculation, vLLM's first model runner hands no request's own "
                "settings on; set the rule for the whole engine"
            )
        engine.request(extra, sampling_params.seed)

    def is_argmax_invariant(self) -> bool:
        """It changes nothing."""
        return True

    def apply(self, logits: Tensor, context: object = None) -> Tensor:
        """Leave logits as they are."""
        return logits

    def update_state(self, batch_update: Any) -> None:
        """Note the first runner's batch, before each of its forward passes."""
        rows = self._rows
        if rows is not None:
            process_dict_updates(
                rows.of_row, batch_update, lambda params, prompt, output: rows.of(params)
            )

    def add_request(self, req_idx: int, sampling_params: Any) -> bool:
        """Say to the second runner that no logits are changed here."""
        return False
