"""Setting `tune`: the search for an estimator and its parameters. Steps of pipelines import this module too."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Discriminator, Field, StringConstraints, Tag, model_validator

from settings.types import Section

MOST_TRIALS = 1000
DEFAULT_TRIALS = 20
DEFAULT_ESTIMATORS = ("forest", "boosting", "linear")
CHOICES, RANGE = "<choices>", "<range>"
"""Tags of the forms of a parameter. Messages about settings leave out a part in angle brackets."""

Text = Annotated[str, StringConstraints(pattern=r"^\S+$")]
Choice = bool | int | float | str | None


class ParameterRange(Section):
    """A range of a parameter: its smallest and its largest value, both possible."""

    integer: tuple[int, int] | None = None
    """Smallest and largest whole number, such as `[50, 300]`."""
    number: tuple[float, float] | None = None
    """Smallest and largest number, such as `[0.01, 0.3]`. Set either `integer` or `number`."""
    scale: Literal["linear", "log"] = "linear"
    """Scale on which values are equally likely. `log` is for values that differ by orders of magnitude."""
    points: int | None = Field(default=None, ge=2, le=100)
    """Number of values of the range in a grid. Unset: 3. Only for `sampler: grid`."""

    @property
    def bounds(self) -> tuple[float, float]:
        """Return the smallest and the largest value."""
        bounds = self.integer or self.number
        assert bounds
        return bounds

    @model_validator(mode="after")
    def _check(self) -> ParameterRange:
        if (self.integer is None) == (self.number is None):
            raise ValueError("a range needs either integer or number, such as {integer: [50, 300]}")
        low, high = self.bounds
        if not low < high:
            raise ValueError(f"the first bound has to be smaller than the second, found {low:g} and {high:g}")
        if self.scale == "log" and low <= 0:
            raise ValueError(f"scale: log needs bounds above 0, found {low:g}")
        return self


def _form(parameter: Any) -> str:
    return CHOICES if isinstance(parameter, (list, tuple)) else RANGE


TunedParameter = Annotated[
    Annotated[tuple[Choice, ...], Field(min_length=1), Tag(CHOICES)] | Annotated[ParameterRange, Tag(RANGE)],
    Discriminator(_form),
]
"""A list of values, or a range."""


class TuneSection(Section):
    """The search of a pipeline for the best estimator and the best parameters."""

    estimators: list[Text] = Field(default_factory=list)
    """Estimators to search: `forest`, `boosting`, `linear`, or the names of classes as in `train_model`. Unset: the
    first three."""
    parameters: dict[Text, dict[Text, TunedParameter]] = Field(default_factory=dict)
    """Parameters by estimator, such as `{forest: {max_depth: {integer: [3, 20]}, criterion: [gini, entropy]}}`. The
    three named estimators have default ranges, which these replace one by one."""
    metric: Literal["accuracy", "precision", "recall", "f1", "roc_auc", "log_loss", "rmse", "mae", "r2"] | None = None
    """Metric to improve, measured by cross-validation on the training rows. Unset: `accuracy`, or `rmse` of a
    regression."""
    sampler: Literal["tpe", "random", "grid"] = "tpe"
    """`tpe` learns from former trials, `random` does not, and `grid` tries all combinations."""
    trials: int | None = Field(default=None, ge=1, le=MOST_TRIALS)
    """Number of trials. Unset: 20, or all combinations of a grid."""
    parallel: int = Field(default=1, ge=1, le=32)
    """Number of trials at a time: processes of this computer, or pods of Kubeflow Pipelines. The engine `job` runs
    them one after the other."""
    minutes: float = Field(default=30, gt=0, le=10_080)
    """Time limit in minutes. After it no trial starts, and a running one stops after its fold."""
    folds: int = Field(default=5, ge=2, le=20)
    """Folds of the cross-validation."""
    prune: bool = True
    """Stop a trial after a fold if its mean is worse than the median of the others at that fold."""

    @model_validator(mode="after")
    def _check(self) -> TuneSection:
        if repeated := sorted({name for name in self.estimators if self.estimators.count(name) > 1}):
            raise ValueError(f"estimators: {', '.join(repeated)} is listed twice")
        known = self.estimators or DEFAULT_ESTIMATORS
        if unknown := sorted(set(self.parameters) - set(known)):
            raise ValueError(f"parameters.{unknown[0]}: it is not one of the estimators {', '.join(known)}")
        for estimator, parameters in self.parameters.items():
            for name, parameter in parameters.items():
                if isinstance(parameter, ParameterRange) and parameter.points and self.sampler != "grid":
                    raise ValueError(f"parameters.{estimator}.{name}.points: it is for sampler: grid only")
        return self
