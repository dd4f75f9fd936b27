"""Prediction of single rows by ONNX Runtime without releasing the interpreter's lock.

ONNX Runtime's Python interface releases the lock for each prediction. The threads of a worker then compete for it,
which costs more than a row of a small model.
"""

from __future__ import annotations

import ctypes
import struct
import weakref
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from ctypes import c_int64, c_void_p
from functools import partial
from math import prod
from threading import Lock
from time import perf_counter
from typing import Any

from onnx import AttributeProto, ModelProto, load_model_from_string

from model_server.model.onnxruntime_api import Api, OnnxRuntimeError, onnxruntime_api
from model_server.model.prediction_task import OutputTensor

MOST_BYTES = 1 << 20
"""Largest model: this session needs its memory a second time."""
MOST_SECONDS = 200e-6
"""Longest prediction of a row; no other thread of the worker runs meanwhile."""
BODIES = (AttributeProto.GRAPH, AttributeProto.GRAPHS)
"""Types of attributes of operators such as Loop, whose time may depend on the row."""
ARENA, DEFAULT_MEMORY = 1, 0
TYPES = {"FP32": (1, "f"), "INT64": (7, "q"), "BOOL": (9, "?")}
"""ONNX's number of an element type, and its format of `struct`, by datatype of the open inference protocol."""


class RowSession:
    """A session of one model for one row at a time, with fixed memory for the row and the outputs.

    Args:
        onnx: the model, with the input `features` [rows, features] of float32.
        features: number of features.
        outputs: the outputs of the model.

    Raises:
        OnnxRuntimeError: there is no library, or the model is not one for this session.
    """

    def __init__(self, onnx: bytes, features: int, outputs: Sequence[OutputTensor]) -> None:
        if len(onnx) > MOST_BYTES or _has_bodies(load_model_from_string(onnx)):
            raise OnnxRuntimeError("the model is large, or may take long for some rows")
        api = self._api = onnxruntime_api()
        with ExitStack() as created:
            options = api.create(created, "SessionOptions", "CreateSessionOptions")
            for name in ("SetIntraOpNumThreads", "SetInterOpNumThreads"):
                api.call(name, options, 1)
            model = (api.environment, onnx, len(onnx), options)
            session = api.create(created, "Session", "CreateSessionFromArray", *model)
            memory = api.create(created, "MemoryInfo", "CreateCpuMemoryInfo", ARENA, DEFAULT_MEMORY)
            self._row = _Tensor(api, created, memory, "FP32", [1, features])
            self._outputs = [_Tensor(api, created, memory, each.datatype, [1, *each.shape[1:]]) for each in outputs]
            binding = api.create(created, "IoBinding", "CreateIoBinding", session)
            api.call("BindInput", binding, b"features", self._row.value)
            for output, tensor in zip(outputs, self._outputs, strict=True):
                api.call("BindOutput", binding, output.name.encode(), tensor.value)
            weakref.finalize(self, created.pop_all().close).atexit = False
        self._run = partial(api.function_with_lock("RunWithBinding"), session, None, binding)
        self._lock = Lock()

    def predict(self, row: bytes) -> tuple[Any, ...]:
        """Return the outputs for a row, given as the bytes of float32 [features]."""
        with self._lock:
            self._row.memory.raw = row
            status = self._run()
            outputs = tuple([output.read() for output in self._outputs])
        if status:
            self._api.check(status)
        return outputs

    def seconds(self, rows: Sequence[bytes]) -> float:
        """Return the time of the fastest prediction of these rows; other programs disturb it least."""
        return min(_seconds(self.predict, row) for row in rows)


class _Tensor:
    """A tensor [1, columns...] in fixed memory.

    `read` returns its values; the only value of a tensor [1] stands alone.
    """

    def __init__(self, api: Api, created: ExitStack, memory: c_void_p, datatype: str, shape: Sequence[int]) -> None:
        kind, code = TYPES[datatype]
        layout = struct.Struct(f"={prod(shape)}{code}")
        self.memory = ctypes.create_string_buffer(layout.size)
        self.value = api.create(
            created,
            "Value",
            "CreateTensorWithDataAsOrtValue",
            memory,
            ctypes.addressof(self.memory),
            layout.size,
            (c_int64 * len(shape))(*shape),
            len(shape),
            kind,
        )
        unpack = partial(layout.unpack_from, self.memory)
        self.read: Callable[[], Any] = (lambda: unpack()[0]) if len(shape) == 1 else unpack


def _has_bodies(model: ModelProto) -> bool:
    """Return True for a model with operators that run a graph, or with functions, which may have such operators."""
    return bool(model.functions) or any(each.type in BODIES for node in model.graph.node for each in node.attribute)


def _seconds(predict: Callable[[bytes], object], row: bytes) -> float:
    started = perf_counter()
    predict(row)
    return perf_counter() - started
