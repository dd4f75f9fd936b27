"""A stack's layers as a picture: which part of the program waits for which, as its resources do.

A box is a function of the program, with all resources that were made by what it calls; an arrow leads from it to what
waits for it. Which function made a resource, the engine keeps with the resource: the lines of the program on the way to
it. Arrows that others imply are left out.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any

from tools.bootstrap.paths import PROJECT

PUT_TOGETHER = (
    "__main__.py",
    "platform/cluster.py",
    "platform/platform.py",
    "workloads/deploy.py",
    "infra/kubeadm/kubeadm_cluster.py:Kubeadm.__init__",
    "infra/kubeadm/kubeadm_cluster.py:Kubeadm.cluster",
)
"""Files and functions that put parts together and are none themselves: the first function below them is a box."""
FOLDERS = {"infra": "#dbeafe", "platform": "#dcfce7", "workloads": "#fef3c7"}
"""The program's folders, and the colours of their boxes."""
LINE = re.compile(rf"(?:.*/)?(__main__\.py|(?:{'|'.join(FOLDERS)})/.+\.py)#(\d+)")
BLOCK = re.compile(r"```mermaid\n.*?^```\n", re.DOTALL | re.MULTILINE)

Arrows = set[tuple["Box", "Box"]]


@dataclass(frozen=True, order=True)
class Box:
    """A function of the program, or a class where that is called itself."""

    file: str
    function: str

    @property
    def name(self) -> str:
        """In words: `_control_plane` is "control plane", `PipelineRun.__init__` is "pipeline run"."""
        words = self.function.removesuffix(".__init__").rpartition(".")[2].strip("_").replace("_", " ")
        return re.sub(r"(?<=[a-z])(?=[A-Z])", " ", words).lower()

    @property
    def identifier(self) -> str:
        return re.sub(r"\W+", "_", f"{self.file.removesuffix('.py')}_{self.function}")


def picture(preview: Mapping[str, Any]) -> str:
    """A block of Markdown in Mermaid's language, drawn from the CLI's JSON of a preview."""
    resources = {step["urn"]: step["newState"] for step in preview["steps"] if step.get("newState")}
    boxes = {urn: box for urn, resource in resources.items() if (box := _box(resource))}
    arrows: Arrows = set()
    for urn, box in boxes.items():
        before = {boxes[each] for each in _waited_for(resources[urn], resources) if each in boxes}
        arrows |= {(each, box) for each in before - {box}}
    return "\n".join(["```mermaid", *_lines(sorted(set(boxes.values())), reduced(arrows)), "```", ""])


def reduced(arrows: Arrows) -> Arrows:
    """Without those that lead where others lead as well."""
    kept = set(arrows)
    for arrow in sorted(arrows):
        if _leads(kept - {arrow}, *arrow):
            kept.remove(arrow)
    return kept


def on_page(text: str, drawn: str) -> str:
    """A page of Markdown with that picture in place of the one that it has."""
    return BLOCK.sub(lambda _: drawn, text, count=1)


def _lines(boxes: Iterable[Box], arrows: Arrows) -> Iterator[str]:
    yield "flowchart TB"
    for box in boxes:
        yield f'    {box.identifier}["{box.name}<br/><small>{box.file}</small>"]:::{box.file.partition("/")[0]}'
    for before, after in sorted(arrows):
        yield f"    {before.identifier} --> {after.identifier}"
    for folder, colour in FOLDERS.items():
        yield f"    classDef {folder} fill:{colour},stroke:#64748b,color:#0f172a"


def _box(resource: Mapping[str, Any]) -> Box | None:
    """The part that a resource belongs to; none for those that only hold others, or lead to a cluster."""
    if not resource.get("custom") or resource["type"].startswith("pulumi:"):
        return None
    for frame in reversed(resource.get("stackTrace", [])):
        position = str(frame.get("sourcePosition", "")).removeprefix("project:///")
        if ".venv" not in position and (found := LINE.fullmatch(position)):
            box = Box(found[1], _function(found[1], int(found[2])))
            if not f"{box.file}:{box.function}".startswith(PUT_TOGETHER):
                return box
    return None


def _waited_for(resource: Mapping[str, Any], resources: Mapping[str, Mapping[str, Any]]) -> Iterator[str]:
    """What a resource depends on; of its provider, what that depends on."""
    provider = str(resource.get("provider", "")).rpartition("::")[0]
    yield from resource.get("dependencies", ())
    yield from resources.get(provider, {}).get("dependencies", ())


def _leads(arrows: Arrows, start: Box, end: Box) -> bool:
    reached, new = {start}, {start}
    while new:
        new = {after for before, after in arrows if before in new} - reached
        reached |= new
    return end in reached


def _function(file: str, line: int) -> str:
    """The innermost function that a line is in, with its classes."""
    around = [name for name, first, last in _functions(file) if first <= line <= last]
    return around[-1] if around else ""


@cache
def _functions(file: str) -> list[tuple[str, int, int]]:
    """Every function of a file with its lines, each after those that it is in."""
    found = []

    def look(node: ast.AST, inside: str) -> None:
        for child in ast.iter_child_nodes(node):
            name = inside
            if isinstance(child, ast.ClassDef | ast.FunctionDef):
                name = f"{inside}.{child.name}" if inside else child.name
            if isinstance(child, ast.FunctionDef):
                found.append((name, child.lineno, child.end_lineno or child.lineno))
            look(child, name)

    look(ast.parse((PROJECT / file).read_text()), "")
    return found
