"""Keeps the model that is served: gets it, follows its source, and swaps only to a model that works."""

from __future__ import annotations

import logging
import threading
import time
from contextlib import ExitStack

from model_server import telemetry
from model_server.errors import ModelRefused
from model_server.model.model import Model
from model_server.repository import DirectoryRepository, Found, MlflowRepository, Source
from model_server.settings import Settings

FIRST_LOOK_SECONDS = 5
logger = logging.getLogger(__name__)


def source_of(settings: Settings) -> Source | None:
    """The source that the settings name; None where they name none."""
    if settings.directory:
        return DirectoryRepository(settings)
    if settings.version or settings.alias:
        return MlflowRepository(settings)
    return None


class ModelLoader:
    """Holds the model of one worker process.

    `model` is what a request predicts with: read it once a request, as the next read may give another model.
    `problem` says why there is no model, or why the newest one is not served; None where all is well.
    """

    def __init__(self, settings: Settings) -> None:
        self.model: Model | None = None
        self.problem: str | None = None
        self._settings = settings
        self._source = source_of(settings)
        self._looked = threading.Event()
        self._replaced: list[Model] = []
        self._served: Found | None = None
        self._refused: Found | None = None
        self._refusal = ""

    def start(self) -> None:
        """Begin to look for the model, and wait a moment for it: a worker that listens should have one."""
        if self._source is None:
            self.problem = "none is set (MODEL_SERVER_VERSION, MODEL_SERVER_ALIAS, MODEL_SERVER_DIRECTORY)"
            return
        threading.Thread(target=self._run, args=(self._source,), name="keeper", daemon=True).start()
        self._looked.wait(FIRST_LOOK_SECONDS)

    def count(self) -> None:
        """Count what was asked and answered since the last time."""
        models = telemetry.drain(self._replaced)
        if self.model:
            models.append(self.model)
        with ExitStack() as rest:  # what fails to be counted is no reason to go on noting the rest for ever
            rest.callback(telemetry.count)
            for model in models:
                rest.callback(model.count)

    def _run(self, source: Source) -> None:
        while source.follows or self.model is None:
            try:
                self._look(source)
            except OSError as error:
                self._report(f"the model cannot be fetched: {error}")
            except Exception as error:  # whatever a registry answers, this thread goes on
                self._report(f"the registry's answer makes no sense: {type(error).__name__} {error}")
            self._looked.set()
            time.sleep(self._settings.poll_seconds)

    def _look(self, source: Source) -> None:
        found = source.find()
        if found == self._refused:
            self._report(self._refusal)
            return
        try:
            if found != self._served:
                self._swap(Model(self._settings.model, source.fetch(found), self._settings.max_rows))
        except ModelRefused as error:
            telemetry.refused()
            self._refused = found
            self._refusal = f"version {found.version} is refused: {error}" if found.version else str(error)
            self._report(self._refusal)
        else:
            self._served, self._refused, self.problem = found, None, None

    def _swap(self, model: Model) -> None:
        old, self.model = self.model, model
        telemetry.serving(model, old)
        if old:
            self._replaced.append(old)
        logger.info("serving %s version %s, SHA-256 %s", model.name, model.version, model.signature.sha256)

    def _report(self, problem: str) -> None:
        if problem != self.problem:
            logger.error("%s", problem)
        self.problem = problem
