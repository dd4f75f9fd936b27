"""Print the stacks that a change affects as JSON: `python3 -m tools.ci.changed_stacks BASE [STACK ...]`.

BASE is the commit or branch that the change starts from. With names of stacks, only those are considered. It needs only
the system's Python and its standard library.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterable, Sequence

from tools.bootstrap import stacks
from tools.bootstrap.paths import PROJECT

SHARED = (
    *("__main__.py", "settings", "versions.toml", "Pulumi.yaml", "pyproject.toml", "uv.lock"),
    *("infra/", "platform/", "workloads/", "model_server/", "policies/", "airgap/", "tools/"),
)


def affected(files: Iterable[str], candidates: Sequence[str]) -> list[str]:
    """Return the stacks of `candidates` that these files belong to; files of the program belong to all stacks."""
    changed = list(files)
    if any(file.startswith(SHARED) for file in changed):
        return sorted(candidates)
    return sorted(name for name in candidates if f"Pulumi.{name}.yaml" in changed)


def main(arguments: Sequence[str]) -> int:
    """Print the affected stacks as a JSON list and return the exit code."""
    base, *candidates = arguments
    try:
        for name in candidates:
            stacks.require_stack(name)
    except stacks.UnknownStack as error:
        print(f"Error: {error}", file=sys.stderr)
        return 1
    listed = subprocess.run(["git", "diff", "--name-only", f"{base}...HEAD"], cwd=PROJECT, stdout=subprocess.PIPE)
    if listed.returncode:
        return listed.returncode
    print(json.dumps(affected(listed.stdout.decode().splitlines(), candidates or stacks.stack_names())))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
