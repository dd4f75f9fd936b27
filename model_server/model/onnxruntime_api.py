"""ONNX Runtime's C interface, whose functions may be called without releasing the interpreter's lock.

It is the structure OrtApi of function pointers in the library of ONNX Runtime's package. Versions only append to the
structure, so the positions below hold for each later library (onnxruntime_c_api.h).
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from contextlib import ExitStack
from ctypes import POINTER, byref, c_char_p, c_int, c_int64, c_size_t, c_uint32, c_void_p
from functools import cache
from pathlib import Path
from typing import Any

import onnxruntime

VERSION = 17
"""Version of the interface that is requested; it has all functions below."""
OUT = POINTER(c_void_p)
STATUS_FUNCTIONS: dict[str, tuple[int, tuple[Any, ...]]] = {
    "CreateEnv": (3, (c_int, c_char_p, OUT)),
    "CreateSessionFromArray": (8, (c_void_p, c_char_p, c_size_t, c_void_p, OUT)),
    "CreateSessionOptions": (10, (OUT,)),
    "SetSessionLogSeverityLevel": (22, (c_void_p, c_int)),
    "SetIntraOpNumThreads": (24, (c_void_p, c_int)),
    "SetInterOpNumThreads": (25, (c_void_p, c_int)),
    "CreateTensorWithDataAsOrtValue": (
        49,
        (c_void_p, c_void_p, c_size_t, POINTER(c_int64), c_size_t, c_int, OUT),
    ),
    "CreateCpuMemoryInfo": (69, (c_int, c_int, OUT)),
    "RunWithBinding": (133, (c_void_p, c_void_p, c_void_p)),
    "CreateIoBinding": (134, (c_void_p, OUT)),
    "BindInput": (136, (c_void_p, c_char_p, c_void_p)),
    "BindOutput": (137, (c_void_p, c_char_p, c_void_p)),
}
"""Position and arguments of functions that return a status."""
RELEASE_FUNCTIONS = {
    "Status": 93,
    "MemoryInfo": 94,
    "Session": 95,
    "Value": 96,
    "SessionOptions": 100,
    "IoBinding": 135,
}
"""Position of the function that releases an object."""
FATAL = 4
"""Level of messages: errors are returned, and everything else would repeat what the Python interface logs."""


class OnnxRuntimeError(Exception):
    """ONNX Runtime's package has no such library, or a function failed."""


class _ApiBase(ctypes.Structure):
    _fields_ = (("GetApi", ctypes.CFUNCTYPE(c_void_p, c_uint32)), ("GetVersionString", c_void_p))


class Api:
    """The functions; `environment` is what sessions share."""

    def __init__(self, library: Path) -> None:
        base = ctypes.CDLL(str(library)).OrtGetApiBase
        base.restype = POINTER(_ApiBase)
        address = base().contents.GetApi(VERSION)
        if not address:
            raise OnnxRuntimeError(f"{library} has no version {VERSION} of the C interface")
        self._table = ctypes.cast(address, POINTER(c_void_p))
        self._message = ctypes.CFUNCTYPE(c_char_p, c_void_p)(self._table[2])
        self._release = {
            name: ctypes.CFUNCTYPE(None, c_void_p)(self._table[position])
            for name, position in RELEASE_FUNCTIONS.items()
        }
        self.environment = self._create("CreateEnv", FATAL, b"model_server")

    def function_with_lock(self, name: str) -> Callable[..., int | None]:
        """Return a function of `STATUS_FUNCTIONS` that keeps the interpreter's lock, and whose status `check` reads."""
        position, arguments = STATUS_FUNCTIONS[name]
        return ctypes.PYFUNCTYPE(c_void_p, *arguments)(self._table[position])

    def call(self, name: str, *arguments: Any) -> None:
        """Call a function of `STATUS_FUNCTIONS` without the interpreter's lock: a session takes long to create."""
        position, types = STATUS_FUNCTIONS[name]
        self.check(ctypes.CFUNCTYPE(c_void_p, *types)(self._table[position])(*arguments))

    def create(self, stack: ExitStack, kind: str, name: str, *arguments: Any) -> c_void_p:
        """Return the object of a kind of `RELEASE_FUNCTIONS` that a function creates; the stack releases it."""
        created = self._create(name, *arguments)
        stack.callback(self._release[kind], created)
        return created

    def check(self, status: int | None) -> None:
        """Raise OnnxRuntimeError if the status of a call is one of failure."""
        if status:
            message = self._message(status) or b""
            self._release["Status"](status)
            raise OnnxRuntimeError(message.decode(errors="replace"))

    def _create(self, name: str, *arguments: Any) -> c_void_p:
        created = c_void_p()
        self.call(name, *arguments, byref(created))
        return created


@cache
def onnxruntime_api() -> Api:
    """Return the functions of the library in ONNX Runtime's package.

    Raises:
        OnnxRuntimeError: the package has no such library, as on macOS and Windows, or a library without this version.
    """
    folder = Path(onnxruntime.__file__).parent / "capi"
    library = next(folder.glob("libonnxruntime.so.*"), None)
    if library is None:
        raise OnnxRuntimeError(f"{folder} has no libonnxruntime.so")
    try:
        return Api(library)
    except (OSError, AttributeError) as error:
        raise OnnxRuntimeError(str(error)) from None
