"""What a preview can say of outputs: nothing of a resource to be created, the old ones where no input has changed."""

from __future__ import annotations

from collections.abc import Iterable

from .values import UNKNOWN, Properties, is_unknown


def created(outputs: Iterable[str]) -> Properties:
    """The outputs of a resource that is yet to be created."""
    return dict.fromkeys(outputs, UNKNOWN)


def updated(fields: Iterable[str], outputs: Properties, state: Properties, inputs: Properties) -> Properties:
    """The outputs of a resource in `state` when it gets `inputs`.

    As with the official provider, an input that the state lacks is no change.
    """
    for name in fields:
        new = inputs.get(name)
        if is_unknown(new) or (name in state and state[name] != new):
            return created(outputs)
    return outputs
