"""Client of ML Metadata, which stores the executions of a run and their artifacts for Kubeflow Pipelines."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from types import TracebackType
from typing import Any

from infra.retry import retry
from workloads.engines.kubeflow import metadata_pb2 as messages

RUN_CONTEXT = "system.PipelineRun"
"""Type of the context that all executions of a run belong to; the name of the context is the run's id."""
REQUEST_SECONDS = 30
MAX_MESSAGE_BYTES = 100 << 20
"""Maximum size of a response, as in the clients of Kubeflow Pipelines."""
PAGE_SIZE = 100


class MetadataStore:
    """Client of the gRPC service at `address`, `host:port`."""

    def __init__(self, address: str) -> None:
        import grpc

        options = [("grpc.max_receive_message_length", MAX_MESSAGE_BYTES), ("grpc.enable_http_proxy", 0)]
        self._channel = grpc.insecure_channel(address, options)

    def __enter__(self) -> MetadataStore:
        return self

    def __exit__(self, *_: type[BaseException] | BaseException | TracebackType | None) -> None:
        self._channel.close()

    def executions(self, run_id: str) -> list[messages.Execution]:
        """Return the executions of a run, oldest first; an empty list before the run starts.

        Raises:
            UserError: the service did not respond before the retry timeout.
        """
        request = messages.GetContextByTypeAndNameRequest(type_name=RUN_CONTEXT, context_name=run_id)
        context = self._call("GetContextByTypeAndName", request, messages.GetContextByTypeAndNameResponse)
        if not context.HasField("context"):
            return []
        executions: list[messages.Execution] = []
        token = ""
        while True:
            options = messages.ListOperationOptions(max_result_size=PAGE_SIZE, next_page_token=token)
            page = self._call(
                "GetExecutionsByContext",
                messages.GetExecutionsByContextRequest(context_id=context.context.id, options=options),
                messages.GetExecutionsByContextResponse,
            )
            executions += page.executions
            if not (token := page.next_page_token):
                return sorted(executions, key=lambda execution: execution.id)

    def outputs(self, executions: Iterable[messages.Execution]) -> dict[int, dict[str, messages.Artifact]]:
        """Return the output artifacts by the id of their execution and by their name in it."""
        ids = [execution.id for execution in executions]
        events_request = messages.GetEventsByExecutionIDsRequest(execution_ids=ids)
        events = self._call("GetEventsByExecutionIDs", events_request, messages.GetEventsByExecutionIDsResponse).events
        output_events = [event for event in events if event.type == messages.Event.OUTPUT]
        if not output_events:
            return {}
        artifact_ids = {event.artifact_id for event in output_events}
        request = messages.GetArtifactsByIDRequest(artifact_ids=artifact_ids)
        response = self._call("GetArtifactsByID", request, messages.GetArtifactsByIDResponse)
        artifacts = {artifact.id: artifact for artifact in response.artifacts}
        outputs: dict[int, dict[str, messages.Artifact]] = {}
        for event in output_events:
            outputs.setdefault(event.execution_id, {})[event.path.steps[0].key] = artifacts[event.artifact_id]
        return outputs

    def _call(self, method: str, request: Any, response: Any) -> Any:
        call: Callable[..., Any] = self._channel.unary_unary(
            f"/ml_metadata.MetadataStoreService/{method}",
            request_serializer=type(request).SerializeToString,
            response_deserializer=response.FromString,
        )
        return retry(
            lambda: call(request, timeout=REQUEST_SECONDS), _transient_reason, "the metadata of Kubeflow Pipelines"
        )


def _transient_reason(error: Exception) -> str | None:
    import grpc

    transient = {grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.DEADLINE_EXCEEDED, grpc.StatusCode.ABORTED}
    if isinstance(error, grpc.Call) and error.code() in transient:
        return str(error.details())
    return None
