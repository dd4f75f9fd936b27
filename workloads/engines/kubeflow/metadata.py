"""What ML Metadata, the store of Kubeflow Pipelines, has of a run: its executions and the artifacts they made."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from types import TracebackType
from typing import Any

from infra.retry import retry
from workloads.engines.kubeflow import metadata_pb2 as messages

RUN = "system.PipelineRun"
"""The type of the context that all executions of a run belong to; its name is the run's id."""
ANSWER_SECONDS = 30
LARGEST_MESSAGE = 100 << 20
"""Bytes, as in Kubeflow Pipelines' own clients."""
PAGE = 100


class MetadataStore:
    """The gRPC service at `address`, `host:port`."""

    def __init__(self, address: str) -> None:
        import grpc

        options = [("grpc.max_receive_message_length", LARGEST_MESSAGE), ("grpc.enable_http_proxy", 0)]
        self._channel = grpc.insecure_channel(address, options)

    def __enter__(self) -> MetadataStore:
        return self

    def __exit__(self, *_: type[BaseException] | BaseException | TracebackType | None) -> None:
        self._channel.close()

    def executions(self, run_id: str) -> list[messages.Execution]:
        """Those of a run, oldest first; none where the run has not begun.

        Raises:
            UserError: the service stays away.
        """
        request = messages.GetContextByTypeAndNameRequest(type_name=RUN, context_name=run_id)
        context = self._ask("GetContextByTypeAndName", request, messages.GetContextByTypeAndNameResponse)
        if not context.HasField("context"):
            return []
        found: list[messages.Execution] = []
        token = ""
        while True:
            options = messages.ListOperationOptions(max_result_size=PAGE, next_page_token=token)
            page = self._ask(
                "GetExecutionsByContext",
                messages.GetExecutionsByContextRequest(context_id=context.context.id, options=options),
                messages.GetExecutionsByContextResponse,
            )
            found += page.executions
            if not (token := page.next_page_token):
                return sorted(found, key=lambda execution: execution.id)

    def outputs(self, executions: Iterable[messages.Execution]) -> dict[int, dict[str, messages.Artifact]]:
        """The artifacts that each execution put out, by its id and the name that they have there."""
        ids = [execution.id for execution in executions]
        request = messages.GetEventsByExecutionIDsRequest(execution_ids=ids)
        events = self._ask("GetEventsByExecutionIDs", request, messages.GetEventsByExecutionIDsResponse).events
        made = [event for event in events if event.type == messages.Event.OUTPUT]
        wanted = messages.GetArtifactsByIDRequest(artifact_ids={event.artifact_id for event in made})
        answer = self._ask("GetArtifactsByID", wanted, messages.GetArtifactsByIDResponse) if made else None
        artifacts = {artifact.id: artifact for artifact in answer.artifacts} if answer else {}
        found: dict[int, dict[str, messages.Artifact]] = {}
        for event in made:
            found.setdefault(event.execution_id, {})[event.path.steps[0].key] = artifacts[event.artifact_id]
        return found

    def _ask(self, method: str, request: Any, answer: Any) -> Any:
        call: Callable[..., Any] = self._channel.unary_unary(
            f"/ml_metadata.MetadataStoreService/{method}",
            request_serializer=type(request).SerializeToString,
            response_deserializer=answer.FromString,
        )
        return retry(lambda: call(request, timeout=ANSWER_SECONDS), _away, "the metadata of Kubeflow Pipelines")


def _away(error: Exception) -> str | None:
    import grpc

    transient = {grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.DEADLINE_EXCEEDED, grpc.StatusCode.ABORTED}
    if isinstance(error, grpc.Call) and error.code() in transient:
        return str(error.details())
    return None
