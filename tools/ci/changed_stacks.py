"""The stacks that a change touches, as JSON: `python3 tools/ci/changed_stacks.py BASE [STACK ...]`.

BASE is the commit or branch that the change starts from. With names of stacks, only those are looked at. Runs with the
system's Python and its standard library alone.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path

# A script finds its own folder first; the checkout is what its imports start from.
sys.path[0] = str(Path(__file__).resolve().parents[2])

from tools.bootstrap import stacks  # noqa: E402
from tools.bootstrap.paths import PROJECT  # noqa: E402

OF_EVERY_STACK = (
    *("__main__.py", "settings", "versions.toml", "Pulumi.yaml", "pyproject.toml", "uv.lock"),
    *("infra/", "platform/", "workloads/", "model_server/", "policies/", "airgap/", "tools/"),
)


def touched(files: Iterable[str], among: Sequence[str]) -> list[str]:
    """The stacks of `among` that these files belong to."""
    changed = list(files)
    if any(file.startswith(OF_EVERY_STACK) for file in changed):
        return sorted(among)
    return sorted(name for name in among if f"Pulumi.{name}.yaml" in changed)


def main(arguments: Sequence[str]) -> int:
    base, *among = arguments
    try:
        for name in among:
            stacks.require(name)
    except stacks.UnknownStack as error:
        print(f"Error: {error}", file=sys.stderr)
        return 1
    listed = subprocess.run(["git", "diff", "--name-only", f"{base}...HEAD"], cwd=PROJECT, stdout=subprocess.PIPE)
    if listed.returncode:
        return listed.returncode
    print(json.dumps(touched(listed.stdout.decode().splitlines(), among or stacks.names())))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
