"""The outputs that a preview can predict."""

from __future__ import annotations

from collections.abc import Iterable

from airgap.stand_ins.protocol.property_values import UNKNOWN, Properties, is_unknown


def create_outputs(outputs: Iterable[str]) -> Properties:
    """Return unknown outputs: the resource does not exist yet."""
    return dict.fromkeys(outputs, UNKNOWN)


def update_outputs(fields: Iterable[str], outputs: Properties, state: Properties, inputs: Properties) -> Properties:
    """Return the old outputs if no input has changed since `state`, else unknown ones.

    Like the official provider, ignore an input that the state does not have.
    """
    for name in fields:
        new = inputs.get(name)
        if is_unknown(new) or (name in state and state[name] != new):
            return create_outputs(outputs)
    return outputs
