"""The base class of all dynamic providers of this project.

Pulumi stores a dynamic provider as a reference to its class. Therefore a provider lives in an installed module,
captures no variables and imports slow libraries inside its methods.
"""

from __future__ import annotations

import os
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

P = ParamSpec("P")
T = TypeVar("T")
METHODS = {"check", "diff", "create", "read", "update", "delete"}
"""The methods that Pulumi calls."""
STACK_FRAMES = 50


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
    """Attach the stack to every exception except `UserError` and `SetupError`, because `configure` hides it."""

    @wraps(method)
    def wrapper(*args: P.args, **kwargs: P.kwargs) -> T:
        try:
            return method(*args, **kwargs)
        except UserError:
            raise
        except SetupError as error:
            raise UserError(str(error)) from None
        except Exception as error:
            error.add_note("".join(traceback.format_tb(error.__traceback__, limit=STACK_FRAMES)))
            raise

    return wrapper


def changed(olds: Mapping[str, Any], news: Mapping[str, Any], names: Iterable[str]) -> list[str]:
    """Return the named inputs that differ from the stored ones. An input that is still unknown differs."""
    return [name for name in names if olds.get(name) != news.get(name)]


def any_changed(olds: Mapping[str, Any], news: Mapping[str, Any], names: Iterable[str]) -> bool:
    """Return True if one of the named inputs differs from the stored one. An input that is still unknown differs."""
    return bool(changed(olds, news, names))
