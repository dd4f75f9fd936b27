"""Settings of the namespace `serving`: the model server."""

from __future__ import annotations

from pydantic import Field, model_validator

from settings.types import Name, Port, Section, ServiceType


class PromotionConditionSettings(Section):
    """Conditions for a canary to become the champion. Each compares the canary with the champion over the same time."""

    requests: int = Field(default=100, ge=1, le=1_000_000_000)
    """Least number of requests that the canary answered. With fewer, nothing is decided."""
    more_errors: float = Field(default=0.01, ge=0, le=1)
    """Most by which the canary's error rate may exceed the champion's. A request with a status of 400 or above is an
    error."""
    slower: float = Field(default=1.5, ge=0.1, le=100)
    """Highest ratio of the canary's latency to the champion's, each the 99th percentile."""
    agreement: float | None = Field(default=None, ge=0, le=1)
    """Least share of rows for which canary and champion predict the same. Unset: any."""


class CanaryPromotionSettings(Section):
    """Decision on a canary by what `platform:monitoring` measured, see [Promotion](door.md#promotion)."""

    after: str = Field(pattern=r"^[1-9]\d{0,3}[mhd]$")
    """Time after which the canary may become the champion, in minutes, hours or days: `30m`, `24h` or `7d`. The first
    `up` that sees too many errors takes the canary back earlier."""
    conditions: PromotionConditionSettings = Field(default=PromotionConditionSettings(), alias="if")
    """Conditions. If one is not met, the canary is taken back."""

    @property
    def seconds(self) -> int:
        """Return the time in seconds."""
        return int(self.after[:-1]) * {"m": 60, "h": 3600, "d": 86_400}[self.after[-1]]


class CanarySettings(Section):
    """A second model version behind the same address, see [A second version](door.md#a-second-version)."""

    version: int = Field(ge=1)
    """Registered version that the canary pods serve."""
    replicas: int = Field(default=1, ge=1, le=100)
    """Number of canary pods."""
    weight: int | None = Field(default=None, ge=1, le=99)
    """Percentage of the requests that `platform:door` sends to the canary. Unset: requests are spread evenly over all
    pods."""
    mirror: bool = False
    """Let `platform:door` send a copy of each request to the canary and discard the answer of the canary."""
    promote: CanaryPromotionSettings | None = None
    """Let `up` make the canary the champion, or take it back. Unset: you decide. Needs `platform:monitoring`."""

    @property
    def separate(self) -> bool:
        """Return True if the canary has a Service, to which only the door sends requests."""
        return self.mirror or self.weight is not None

    @model_validator(mode="after")
    def _check_mirror(self) -> CanarySettings:
        if self.mirror and self.weight is not None:
            raise ValueError("weight and mirror are two ways to send requests to the canary; set one of them")
        return self


class ModelServerSettings(Section):
    """Settings that the model server receives as environment variables of the same names."""

    workers: int = Field(default=2, ge=1, le=64)
    """Processes of the model server. Each holds up to 10,000 connections and closes a connection after 30 seconds
    without a request."""
    max_body_bytes: int = Field(default=1 << 20, ge=1024, le=1 << 30)
    """Longest request body in bytes. The server answers 413 to a longer one."""
    max_rows: int = Field(default=10_000, ge=1, le=10_000_000)
    """Most rows in one request."""
    max_bodies: int = Field(default=128, ge=1, le=1000)
    """Most request bodies that a process reads at the same time. It closes the slowest connections beyond that."""
    body_seconds: float = Field(default=30, ge=1, le=3600)
    """Time in seconds within which a whole request body has to arrive. The server answers 408 to a slower one."""

    def environment(self) -> dict[str, str]:
        """Return the environment variables of the model server."""
        return {f"MODEL_SERVER_{name.upper()}": str(getattr(self, name)) for name in ModelServerSettings.model_fields}


class ServingSettings(ModelServerSettings):
    """The model server of every served model. The ports of further models are set at their pipelines."""

    port: Port = 5005
    """Port of the model server."""
    grpc_port: Port | None = None
    """Port of the model server at `serving:port` for the open inference protocol over gRPC. `platform:door` forwards no
    gRPC, so a stack has one of the two. Unset: no gRPC."""
    together: list[Name] = Field(default_factory=list)
    """Models that one server at `serving:port` serves, by name, such as `[iris, wine]`. Each has its addresses below
    `/models/NAME/`, and the first one has those of a server of one model, too. Needs `serving:follow: true`."""
    follow: bool = False
    """Load a new champion as soon as it has the alias. Otherwise the next `pulumi up` loads it."""
    service: ServiceType = "ClusterIP"
    """In a cluster: type of the model server's Service. `make pages` forwards a `ClusterIP` to this computer."""
    replicas: int = Field(default=2, ge=1, le=100)
    """In a cluster: lowest number of pods."""
    maximum_replicas: int = Field(default=4, ge=1, le=100)
    """In a cluster: highest number of pods. The autoscaler adds pods under load."""
    canary: CanarySettings | None = None
    """In a cluster: a second version of the model at `serving:port`. Unset: no canary."""

    @model_validator(mode="after")
    def _check_together(self) -> ServingSettings:
        if self.together and not self.follow:
            raise ValueError(
                "together: the server loads each new champion by itself, without a restart; set follow: true, or "
                "remove together"
            )
        if self.together and self.canary:
            raise ValueError("together and canary: a canary is a version of one model; remove one of them")
        if len(set(self.together)) < len(self.together):
            raise ValueError(f"together: a model is named twice in {', '.join(self.together)}")
        return self

    @model_validator(mode="after")
    def _check_replica_range(self) -> ServingSettings:
        if self.maximum_replicas < self.replicas:
            raise ValueError(
                f"maximum_replicas: {self.maximum_replicas} is less than replicas: {self.replicas}; "
                "set maximum_replicas to at least replicas"
            )
        return self
