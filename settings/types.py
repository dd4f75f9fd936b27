"""Types that several sections of the settings share."""

from __future__ import annotations

import ipaddress
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, StringConstraints

Port = Annotated[int, Field(ge=1024, le=65535)]
Name = Annotated[str, StringConstraints(pattern=r"^[a-z]([a-z0-9-]{0,48}[a-z0-9])?$")]
HostName = Annotated[str, StringConstraints(pattern=r"^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$")]
HostKey = Annotated[str, StringConstraints(pattern=r"^(ssh|ecdsa)-\S+ [A-Za-z0-9+/=]+$")]
"""Public host key of a machine, `ssh-ed25519 AAAA...`: the output of `ssh-keyscan` after the address."""
ServiceType = Literal["ClusterIP", "NodePort", "LoadBalancer"]
Subnet = ipaddress.IPv4Network
PRIVATE = tuple(ipaddress.IPv4Network(net) for net in ("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16"))
"""Private address ranges of RFC 1918."""
Parameter = bool | int | float | str | list[Any] | dict[str, Any]


class Section(BaseModel):
    """A group of settings. Strings below its fields are their descriptions in docs/settings.md."""

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)
