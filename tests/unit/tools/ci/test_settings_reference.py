"""docs/settings.md: generated from the schema, complete, and described."""

from __future__ import annotations

from collections.abc import Iterator
from typing import get_args, get_origin

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from settings.paths import PROJECT
from settings.stack import StackSettings
from settings.workloads import PipelineSettings
from tools.ci.settings_reference import settings_page

COMMAND = "python -m tools.ci.settings_reference > docs/settings.md"


def test_settings_page_equals_the_generated_reference() -> None:
    assert (PROJECT / "docs/settings.md").read_text() == settings_page(), f"run: {COMMAND}"


def test_settings_page_names_every_setting() -> None:
    text = (PROJECT / "docs/settings.md").read_text()
    missing = [name for name in plain_settings() if f"`{name}`" not in text]
    assert missing == []
    for name in PipelineSettings.model_fields:
        assert f"| `{name}` |" in text, name


def test_every_setting_and_section_has_a_description() -> None:
    undescribed = [
        f"{section.__name__}.{name}"
        for section in all_sections(StackSettings)
        for name, field in section.model_fields.items()
        if not (field.description or "").rstrip().endswith(".")
    ]
    assert undescribed == []
    assert [section.__name__ for section in all_sections(StackSettings) if not section.__doc__] == []


def test_reference_shows_type_allowed_values_and_default_of_a_setting() -> None:
    rows = {row.split(" | ")[0]: row for row in settings_page().splitlines() if row.startswith("| `")}
    assert rows["| `infra:lab.size`"].startswith("| `infra:lab.size` | integer | 1 to 10 | `3` | Number of machines.")
    assert " | text | `weave`, `flannel` | `weave` | " in rows["| `platform:network`"]
    assert " | secret text |  | required | " in rows["| `platform:kubeflow.database.password`"]
    assert " | list of section |  | required | " in rows["| `infra:hosts.machines`"]
    assert " | number |  | unset | " in rows["| `gate`"]


def test_reference_shows_no_pipe_of_a_pattern_as_the_end_of_a_cell() -> None:
    (row,) = (row for row in settings_page().splitlines() if row.startswith("| `infra:hosts.machines.host_key`"))
    assert r"`^(ssh\|ecdsa)-" in row


def plain_settings() -> Iterator[str]:
    """Yield the full name of every setting that is no section, except those of each pipeline."""
    for namespace, section in StackSettings.model_fields.items():
        if namespace == "workloads":
            yield "workloads:pipelines"
            continue
        for name, field in nested_sections(section)[0].model_fields.items():
            yield from settings_below(f"{namespace}:{name}", field)


def settings_below(name: str, field: FieldInfo) -> Iterator[str]:
    sections, by_name = nested_sections(field), get_origin(field.annotation) is dict
    if by_name or not sections:
        yield name
    for section in sections:
        for key, deeper in section.model_fields.items():
            written = deeper.alias or key
            yield from settings_below(written if by_name else f"{name}.{written}", deeper)


def all_sections(section: type[BaseModel]) -> Iterator[type[BaseModel]]:
    yield section
    for field in section.model_fields.values():
        for deeper in nested_sections(field):
            yield from all_sections(deeper)


def nested_sections(field: FieldInfo) -> list[type[BaseModel]]:
    """Return the models that a setting's value may be, also in a list, in a mapping or beside None."""
    annotations = [field.annotation]
    for annotation in annotations:
        annotations += get_args(annotation)
    return [each for each in annotations if isinstance(each, type) and issubclass(each, BaseModel)]
