"""What all dynamic resource providers of this project have in common.

Pulumi stores a dynamic provider by reference to its class, so a provider lives in an installed module, captures
nothing and imports what is slow or rarely needed inside its methods.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable
from functools import wraps
from typing import Any, ParamSpec, TypeVar

from pulumi.dynamic import DiffResult, ResourceProvider, UpdateResult

from infra.errors import UserError as UserError

P = ParamSpec("P")
T = TypeVar("T")
METHODS = {"check", "diff", "create", "read", "update", "delete"}
"""What Pulumi calls."""


class DynamicProvider(ResourceProvider):
    """A provider that updates in place, by making it again, when one of the inputs named in `compared` changed."""

    serialize_as_secret_always = False
    compared: tuple[str, ...] = ()

    def __init_subclass__(cls) -> None:
        for name in METHODS & vars(cls).keys():
            setattr(cls, name, _plain(vars(cls)[name]))

    def diff(self, _id: str, _olds: dict[str, Any], _news: dict[str, Any]) -> DiffResult:
        return DiffResult(changes=any_changed(_olds, _news, self.compared))

    def update(self, _id: str, _olds: dict[str, Any], _news: dict[str, Any]) -> UpdateResult:
        return UpdateResult(self.create(_news).outs)


def _plain(method: Callable[P, T]) -> Callable[P, T]:
    """Keep the frames of this program out of what the user reads when a `UserError` ends a provider's method.

    `pulumi.dynamic` sends the formatted traceback of whatever a method raises; its length is a process-wide setting.
    """

    @wraps(method)
    def guarded(*args: P.args, **kwargs: P.kwargs) -> T:
        try:
            return method(*args, **kwargs)
        except UserError:
            sys.tracebacklimit = 0
            raise

    return guarded


def any_changed(olds: dict[str, Any], news: dict[str, Any], names: Iterable[str]) -> bool:
    """Whether one of the named inputs is another than the one in `olds`; one that is not known yet is."""
    return any(olds.get(name) != news.get(name) for name in names)
