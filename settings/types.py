"""Types that several sections of the settings share."""

from __future__ import annotations

import ipaddress
import re
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, StringConstraints

Port = Annotated[int, Field(ge=1024, le=65535)]
Name = Annotated[str, StringConstraints(pattern=r"^[a-z]([a-z0-9-]{0,48}[a-z0-9])?$")]
HostName = Annotated[str, StringConstraints(pattern=r"^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$")]
HostKey = Annotated[str, StringConstraints(pattern=r"^(ssh|ecdsa)-\S+ [A-Za-z0-9+/=]+$")]
"""Public host key of a machine, `ssh-ed25519 AAAA...`: the output of `ssh-keyscan` after the address."""
ServiceType = Literal["ClusterIP", "NodePort", "LoadBalancer"]
Subnet = ipaddress.IPv4Network
PRIVATE = tuple(ipaddress.IPv4Network(net) for net in ("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16"))
"""Private address ranges of RFC 1918."""
LARGEST_EXACT_INTEGER = 2**53


def _require_exact(value: Any) -> Any:
    """Refuse whole numbers that Pulumi would round, because it passes all numbers as doubles."""
    for each in value.values() if isinstance(value, dict) else value if isinstance(value, list) else ():
        _require_exact(each)
    if isinstance(value, int) and abs(value) > LARGEST_EXACT_INTEGER:
        raise ValueError(f"{value} is beyond 2^53, where Pulumi rounds whole numbers; write it as a text, in quotes")
    return value


Parameter = Annotated[bool | int | float | str | list[Any] | dict[str, Any], AfterValidator(_require_exact)]
CONTAINER_NAME = r"^[a-z0-9]+(-[a-z0-9]+)*$"


def _require_container_name(name: str) -> str:
    if not (3 <= len(name) <= 63 and re.fullmatch(CONTAINER_NAME, name)):
        raise ValueError("the name of a container has 3 to 63 lowercase letters, digits and single dashes between them")
    return name


ContainerName = Annotated[
    str, AfterValidator(_require_container_name), Field(json_schema_extra={"pattern": CONTAINER_NAME})
]
"""Name of a container of Azure Blob Storage."""


def _require_file(file: str) -> str:
    if not Path(file).expanduser().is_file():
        raise ValueError("there is no such file")
    return file


ExistingFile = Annotated[str, AfterValidator(_require_file)]
"""Path of a file of this computer."""


class Section(BaseModel):
    """A group of settings. Strings below its fields are their descriptions in docs/settings.md."""

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)
