"""The base class of all dynamic providers of this project.

Pulumi stores a dynamic provider as a reference to its class. Therefore a provider lives in an installed module,
captures no variables and imports slow libraries inside its methods.
"""

from __future__ import annotations

import errno
import os
import shutil
import stat
import sys
import threading
import traceback
from collections.abc import Callable, Iterable, Mapping
from functools import cache, wraps
from typing import Any, ParamSpec, TypeVar

from pulumi.dynamic import ConfigureRequest, ResourceProvider

from infra.errors import UserError as UserError
from tools.bootstrap.console import SetupError
from tools.bootstrap.paths import cache_directory

P = ParamSpec("P")
T = TypeVar("T")
METHODS = {"check", "diff", "create", "read", "update", "delete"}
"""The methods that Pulumi calls."""
STACK_FRAMES = 50
FULL = {errno.ENOSPC, errno.EDQUOT}
"""Errors of a file system, or of a user's quota, without space."""


class DynamicProvider(ResourceProvider):
    """A provider whose errors of type `UserError` and `SetupError` reach the user without stack frames.

    Subclasses must define `diff` and `update`: Pulumi's defaults report no change and discard all outputs.
    """

    serialize_as_secret_always = False

    def __init_subclass__(cls) -> None:
        for name in METHODS & vars(cls).keys():
            setattr(cls, name, _with_stack_of_bugs(vars(cls)[name]))
        missing = [name for name in ("diff", "update") if getattr(cls, name) is getattr(ResourceProvider, name)]
        if missing:
            raise TypeError(f"{cls.__name__} has to define {' and '.join(missing)}")

    def configure(self, _req: ConfigureRequest) -> None:
        """Prepare this process, which runs dynamic providers and nothing else: hide stack frames, exit with the CLI.

        `pulumi.dynamic` sends the formatted traceback of each exception to the user.
        """
        sys.tracebacklimit = 0
        _exit_with_cli()


@cache
def _exit_with_cli() -> None:
    """Exit when standard input ends, a pipe from the CLI; `pulumi.dynamic` would survive a CLI that is killed.

    Otherwise its operations would continue beside those of the next command.
    """

    def wait_for_end_of_input() -> None:
        while os.read(0, 4096):
            pass
        os._exit(1)

    if stat.S_ISFIFO(os.fstat(0).st_mode):
        threading.Thread(target=wait_for_end_of_input, daemon=True).start()


def _with_stack_of_bugs(method: Callable[P, T]) -> Callable[P, T]:
    """Attach the stack to each exception that is no failure of the user's, because `configure` hides it."""

    @wraps(method)
    def wrapper(*args: P.args, **kwargs: P.kwargs) -> T:
        try:
            return method(*args, **kwargs)
        except UserError:
            raise
        except SetupError as error:
            raise UserError(str(error)) from None
        except Exception as error:
            if isinstance(error, OSError) and error.errno in FULL:
                raise UserError(_full_disk(error)) from None
            error.add_note("".join(traceback.format_tb(error.__traceback__, limit=STACK_FRAMES)))
            raise

    return wrapper


def _full_disk(error: OSError) -> str:
    """Return the message for a file system without space. The error of a write does not name its file."""
    folder = cache_directory()
    where = f" at {error.filename}" if error.filename else ""
    return (
        f"a file cannot be written{where}: {error.strerror}. {folder} has {shutil.disk_usage(folder).free / 1e6:.0f} "
        "MB left; the full disk may also be that of temporary files. Free space, then run `pulumi up` again: it "
        "continues from here"
    )


def changed(olds: Mapping[str, Any], news: Mapping[str, Any], names: Iterable[str]) -> list[str]:
    """Return the named inputs that differ from the stored ones. An input that is still unknown differs."""
    return [name for name in names if olds.get(name) != news.get(name)]


def any_changed(olds: Mapping[str, Any], news: Mapping[str, Any], names: Iterable[str]) -> bool:
    """Return True if one of the named inputs differs from the stored one. An input that is still unknown differs."""
    return bool(changed(olds, news, names))
