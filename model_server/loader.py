"""Loads the model, follows its repository, and swaps only to a model that works."""

from __future__ import annotations

import logging
import math
import threading
import time
from collections.abc import Iterable
from dataclasses import dataclass

from model_server.codecs.plain_inference import PlainInference
from model_server.codecs.row_reader import RowReader
from model_server.errors import ModelRefused, RepositoryError, TrialUnfinished
from model_server.model.model import Model
from model_server.redaction import redact
from model_server.repository import Offer, Repository, repository
from model_server.settings import ServerSettings
from model_server.telemetry import Telemetry
from model_server.trial import ModelTrial

FIRST_LOAD_SECONDS = 20
"""Seconds that the start of a worker waits for its models."""
logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class ServedModel:
    """A model, the reader of its rows, and the codec of its plain requests."""

    model: Model
    reader: RowReader
    plain: PlainInference


class ModelLoader:
    """Loader of one model in one worker process.

    Attributes:
        served: the current model. Read it once per request: the next read may return another one.
        problem: the reason why no model, or not the newest one, is served; None if there is no problem. It is
            public, so it never repeats what a registry said.
    """

    def __init__(self, settings: ServerSettings, telemetry: Telemetry, trial: ModelTrial) -> None:
        self.served: ServedModel | None = None
        self.problem: str | None = None
        self._settings = settings
        self._telemetry = telemetry
        self._trial = trial
        self._repository = repository(settings)
        self._polled = threading.Event()
        self._accepted: Offer | None = None
        self._refused: Offer | None = None
        self._refused_until = math.inf
        self._refusal = self._refusal_detail = ""

    def start(self) -> None:
        """Poll the repository in a thread."""
        if self._repository is None:
            self.problem = "none is set (MODEL_SERVER_VERSION, MODEL_SERVER_ALIAS, MODEL_SERVER_DIRECTORY)"
            self._polled.set()
            return
        threading.Thread(target=self._run, args=(self._repository,), name="loader", daemon=True).start()

    def wait_until_polled(self, deadline: float) -> None:
        """Wait for the first answer of the repository, at most until a time of `time.monotonic`."""
        self._polled.wait(max(0, deadline - time.monotonic()))

    def _run(self, repository: Repository) -> None:
        while repository.follows or self.served is None:
            try:
                self._poll(repository)
            except RepositoryError as error:
                self._report(f"the model cannot be fetched: {error}", error.detail)
            except OSError as error:
                self._report("the model cannot be fetched: a file cannot be read or written", str(error))
            except Exception as error:  # an unexpected response must not end this thread
                self._report("the registry's response is not valid", f"{type(error).__name__} {error}")
            self._polled.set()
            time.sleep(self._settings.poll_seconds)

    def _poll(self, repository: Repository) -> None:
        offer = repository.find()
        if offer == self._refused and time.monotonic() < self._refused_until:
            self._report(self._refusal, self._refusal_detail)
            return
        try:
            if offer != self._accepted:
                package = repository.fetch(offer)
                if repository.follows:
                    self._trial.require_accepted(package)
                self._swap(Model(self._settings.model, package))
        except ModelRefused as error:
            self._refuse(offer, f"version {offer.version} is refused: {error}" if offer.version else str(error), error)
        except TrialUnfinished as error:
            self._refuse(offer, f"version {offer.version} is not served yet: {error}", error, error.pause)
        else:
            self._accepted, self._refused, self.problem = offer, None, None

    def _refuse(
        self, offer: Offer, problem: str, error: ModelRefused | TrialUnfinished, seconds: float = math.inf
    ) -> None:
        """Keep the served model, and do not try the offer again for so many seconds."""
        self._telemetry.record_refusal(self._settings.model or "")
        self._refused, self._refused_until = offer, time.monotonic() + seconds
        self._refusal, self._refusal_detail = problem, error.detail
        self._report(problem, error.detail)

    def _swap(self, model: Model) -> None:
        previous = self.served.model if self.served else None
        self._telemetry.record_swap(model, previous)
        reader = RowReader(model.signature, self._settings.max_rows)
        self.served = ServedModel(model, reader, PlainInference(reader, model.identity, model.task.outputs))
        logger.info("serving %s version %s, SHA-256 %s", model.name, model.version, model.signature.sha256)

    def _report(self, problem: str, detail: str) -> None:
        """Publish a problem; log it once, with the detail that is not public."""
        if problem != self.problem:
            model = f"{self._settings.model}: " if self._settings.model else ""
            logger.error("%s%s%s", model, problem, f" ({redact(detail)})" if detail else "")
        self.problem = problem


def start_loaders(loaders: Iterable[ModelLoader]) -> None:
    """Start all loaders; wait a moment, because a worker should listen with its models."""
    deadline = time.monotonic() + FIRST_LOAD_SECONDS
    for loader in loaders:
        loader.start()
    for loader in loaders:
        loader.wait_until_polled(deadline)
