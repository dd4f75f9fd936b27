"""The pages: every file, module, make target, setting and link that they name exists."""

from __future__ import annotations

import re
from collections.abc import Iterator
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path

import pytest

from settings.paths import PROJECT
from tools.ci.settings_reference import settings_page

PAGES = sorted(
    [*PROJECT.glob("*.md"), *PROJECT.glob("docs/*.md"), *PROJECT.glob("examples/*/README.md")],
    key=lambda path: path.as_posix(),
)
PACKAGES = ("airgap", "infra", "mlplatform", "model_server", "policies", "settings", "tools", "workloads")
MODULE = re.compile(rf"(?<![\w./-])(?:{'|'.join(PACKAGES)})(?:\.[A-Za-z_]\w*)++(?!/)")
FILE = re.compile(r"(?<![\w./~$-])(?:[\w.*<>-]+/)+(?:[\w.*-]+\.(?:py|sh|md|toml|ya?ml|csv|txt|json)\b)?")
EXAMPLES = {"workloads/pipelines/wine.py"}
"""Files that the reader creates with the page."""
SETTING = re.compile(r"^((?:infra|platform|serving|workloads):[a-z][\w.-]*)")
LINK = re.compile(r"\]\([^)\s]+\)|<?https?://\S+")
FENCE = re.compile(r"^ *```.*?^ *```", re.DOTALL | re.MULTILINE)


@pytest.fixture(params=PAGES, ids=lambda path: path.relative_to(PROJECT).as_posix())
def document(request: pytest.FixtureRequest) -> Path:
    return request.param


def code_spans(document: Path) -> list[str]:
    return re.findall(r"`([^`\n]+(?:\n[^`\n]+)?)`", FENCE.sub("", document.read_text()))


def test_page_names_only_files_that_exist(document: Path) -> None:
    folders = {path.name for path in PROJECT.iterdir() if path.is_dir()}
    named = {path for span in code_spans(document) for path in FILE.findall(span)} - EXAMPLES
    checked = {path for path in named if path.split("/")[0] in folders and not path.startswith(".venv/")}
    missing = [path for path in checked if not any(PROJECT.glob(re.sub("<[^>]*>", "*", path)))]
    assert sorted(missing) == []


def test_page_names_only_python_files_of_existing_folders(document: Path) -> None:
    named = {path for span in code_spans(document) for path in FILE.findall(span) if path.endswith(".py")} - EXAMPLES
    assert sorted(path for path in named if not any(PROJECT.glob(path))) == []


def test_page_names_only_modules_that_exist(document: Path) -> None:
    named = set(MODULE.findall(LINK.sub("", document.read_text())))
    assert sorted(name for name in named if not exists(name)) == []


def exists(name: str) -> bool:
    """Return True if a dotted name is a module, or an attribute of one."""
    module, attributes = name, list[str]()
    while find_spec_of(module) is None:
        module, _, attribute = module.rpartition(".")
        if not module:
            return False
        attributes.insert(0, attribute)
    found = import_module(module) if attributes else None
    for attribute in attributes:
        if not hasattr(found, attribute):
            return False
        found = getattr(found, attribute)
    return True


def find_spec_of(module: str) -> object:
    try:
        return find_spec(module)
    except ModuleNotFoundError:
        return None


def test_page_names_only_make_targets_that_exist(document: Path) -> None:
    targets = set(re.findall(r"^([a-z-]+):", (PROJECT / "Makefile").read_text(), re.MULTILINE))
    commands = re.findall(r"(?:^[#$] |`)make (?:-s )?([a-z-]+)", document.read_text(), re.MULTILINE)
    assert sorted(set(commands) - targets) == []


def test_page_names_only_settings_that_exist(document: Path) -> None:
    known = set(settings())
    named = {found[1] for span in code_spans(document) if (found := SETTING.match(span))}
    of_pipelines = {re.sub(r"^(workloads:pipelines)\.[^.]+", r"\1.<name>", name).rstrip(".") for name in named}
    assert sorted(of_pipelines - known) == []


def settings() -> Iterator[str]:
    """Yield the full names of all settings and sections."""
    for name in re.findall(r"^\| `([^`]+)`", settings_page(), re.MULTILINE):
        yield name if ":" in name else f"workloads:pipelines.<name>.{name}"
    yield "workloads:pipelines.<name>"


def test_page_links_only_to_pages_and_headings_that_exist(document: Path) -> None:
    prose = re.sub(r"`[^`\n]*`", "", FENCE.sub("", document.read_text()))
    links = re.findall(r"\]\(([^)\s]+)\)", prose)
    broken = [link for link in links if not re.match(r"https?:", link) and not leads_somewhere(document, link)]
    assert broken == []


def leads_somewhere(document: Path, link: str) -> bool:
    name, _, anchor = link.partition("#")
    target = document.parent / name if name else document
    return target.exists() and (not anchor or anchor in headings(target))


def headings(document: Path) -> set[str]:
    """Return the anchors of a page's headings, as code hosts derive them."""
    titles = re.findall(r"^#+ (.*)$", FENCE.sub("", document.read_text()), re.MULTILINE)
    return {re.sub(r"[^\w -]", "", title.lower()).replace(" ", "-") for title in titles}


def test_changelog_begins_with_the_version_of_the_project() -> None:
    (version,) = re.findall(r'^version = "([^"]+)"', (PROJECT / "pyproject.toml").read_text(), re.MULTILINE)
    assert (PROJECT / "CHANGELOG.md").read_text().split("\n## ")[1].startswith(version)
