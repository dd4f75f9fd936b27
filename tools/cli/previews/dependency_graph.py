"""A Mermaid diagram of a stack's layers: which function of the program waits for which.

A box is a function, with all resources that it creates; an arrow leads from a function to one that depends on it. The
engine records the source line of each resource, which names the function. The diagram shows the transitive reduction.
"""

from __future__ import annotations

import argparse
import ast
import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from tools.bootstrap.paths import PROJECT
from tools.cli.kubernetes_plugin import require_kubernetes_plugin
from tools.cli.pulumi_command import Pulumi

COMPOSERS = (
    r"__main__\.py:.*",
    r"platform/cluster_provisioning\.py:.*",
    r"platform/platform\.py:.*",
    r"workloads/deploy\.py:.*",
    r"infra/kubeadm/__init__\.py:.*",
)
"""Functions that only combine others and so are no box, as regular expressions of FILE:FUNCTION."""
FOLDERS = {"infra": "#dbeafe", "platform": "#dcfce7", "workloads": "#fef3c7"}
"""The program's folders, and the colors of their boxes."""
LINE = re.compile(rf"(?:.*/)?(__main__\.py|(?:{'|'.join(FOLDERS)})/.+\.py)#(\d+)")
DIAGRAM = re.compile(r"```mermaid\n.*?^```\n", re.DOTALL | re.MULTILINE)

Arrows = set[tuple["Box", "Box"]]


@dataclass(frozen=True, order=True)
class Box:
    """A function of the program, with the class that contains it."""

    file: str
    function: str

    @property
    def name(self) -> str:
        """The function in words: `_control_plane` is "control plane", `PipelineRun.__init__` is "pipeline run"."""
        words = self.function.removesuffix(".__init__").rpartition(".")[2].strip("_").replace("_", " ")
        return re.sub(r"(?<=[a-z])(?=[A-Z])", " ", words).lower()

    @property
    def identifier(self) -> str:
        """The name of the box in Mermaid's language."""
        return re.sub(r"\W+", "_", f"{self.file.removesuffix('.py')}_{self.function}")

    @property
    def is_composer(self) -> bool:
        """True if the function only combines others."""
        return any(re.fullmatch(pattern, f"{self.file}:{self.function}") for pattern in COMPOSERS)


def mermaid(preview: Mapping[str, Any]) -> str:
    """Return the diagram of a preview as a block of Markdown.

    Args:
        preview: the CLI's JSON of a preview.
    """
    resources = {step["urn"]: step["newState"] for step in preview["steps"] if step.get("newState")}
    boxes = {urn: box for urn, resource in resources.items() if (box := _box(resource))}
    arrows: Arrows = set()
    for urn, box in boxes.items():
        before = {boxes[each] for each in _dependencies(resources[urn], resources) if each in boxes}
        arrows |= {(each, box) for each in before - {box}}
    return "\n".join(["```mermaid", *_lines(sorted(set(boxes.values())), transitive_reduction(arrows)), "```", ""])


def transitive_reduction(arrows: Arrows) -> Arrows:
    """Return the arrows without those that a longer path implies."""
    kept = set(arrows)
    for arrow in sorted(arrows):
        if _is_reachable(kept - {arrow}, *arrow):
            kept.remove(arrow)
    return kept


def picture(pulumi: Pulumi, arguments: Sequence[str]) -> int:
    """Print the diagram of a stack, or write it into a Markdown page, and return the exit code.

    Raises:
        PulumiError: The preview failed.
    """
    parser = argparse.ArgumentParser(prog="make picture", allow_abbrev=False)
    parser.add_argument("--page", type=Path, help="replace the diagram of a Markdown page instead of printing one")
    options, more = parser.parse_known_args(arguments)
    if options.page and not (options.page.is_file() and DIAGRAM.search(options.page.read_text())):
        parser.error(f"--page {options.page} is no Markdown page with a Mermaid diagram")
    require_kubernetes_plugin(pulumi)
    pulumi.output("stack", "select", "--create")
    diagram = mermaid(json.loads(pulumi.output("preview", "--json", *more)))
    if options.page:
        options.page.write_text(replace_diagram(options.page.read_text(), diagram))
    else:
        print(diagram, end="")
    return 0


def replace_diagram(page: str, diagram: str) -> str:
    """Return a Markdown page with its first Mermaid block replaced."""
    return DIAGRAM.sub(lambda _: diagram, page, count=1)


def _lines(boxes: Iterable[Box], arrows: Arrows) -> Iterator[str]:
    yield "flowchart TB"
    for box in boxes:
        yield f'    {box.identifier}["{box.name}<br/><small>{box.file}</small>"]:::{box.file.partition("/")[0]}'
    for before, after in sorted(arrows):
        yield f"    {before.identifier} --> {after.identifier}"
    for folder, color in FOLDERS.items():
        yield f"    classDef {folder} fill:{color},stroke:#64748b,color:#0f172a"


def _box(resource: Mapping[str, Any]) -> Box | None:
    """Return the innermost function that created a resource, None for components and providers."""
    if not resource.get("custom") or resource["type"].startswith("pulumi:"):
        return None
    for frame in reversed(resource.get("stackTrace", [])):
        position = str(frame.get("sourcePosition", "")).removeprefix("project:///")
        if ".venv" not in position and (match := LINE.fullmatch(position)):
            box = Box(match[1], _function_at(match[1], int(match[2])))
            if not box.is_composer:
                return box
    return None


def _dependencies(resource: Mapping[str, Any], resources: Mapping[str, Mapping[str, Any]]) -> Iterator[str]:
    """Yield the dependencies of a resource and of its provider."""
    provider = str(resource.get("provider", "")).rpartition("::")[0]
    yield from resource.get("dependencies", ())
    yield from resources.get(provider, {}).get("dependencies", ())


def _is_reachable(arrows: Arrows, start: Box, end: Box) -> bool:
    reached, new = {start}, {start}
    while new:
        new = {after for before, after in arrows if before in new} - reached
        reached |= new
    return end in reached


def _function_at(file: str, line: int) -> str:
    """Return the innermost function that contains a line, with its classes, "" for a line of the module."""
    enclosing = [name for name, first, last in _functions(file) if first <= line <= last]
    return enclosing[-1] if enclosing else ""


@cache
def _functions(file: str) -> list[tuple[str, int, int]]:
    """Return the name and the first and last line of every function of a file, outer functions first."""
    functions = []

    def visit(node: ast.AST, parent: str) -> None:
        for child in ast.iter_child_nodes(node):
            name = parent
            if isinstance(child, ast.ClassDef | ast.FunctionDef):
                name = f"{parent}.{child.name}" if parent else child.name
            if isinstance(child, ast.FunctionDef):
                functions.append((name, child.lineno, child.end_lineno or child.lineno))
            visit(child, name)

    visit(ast.parse((PROJECT / file).read_text()), "")
    return functions
