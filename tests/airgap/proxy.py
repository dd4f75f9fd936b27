"""A Go module proxy in a folder, with one module that prints a word."""

from __future__ import annotations

import base64
import hashlib
import zipfile
from pathlib import Path

MODULE, VERSION = "greeting.test/greeting", "v1.2.3"
FILES = {
    "go.mod": f"module {MODULE}\n\ngo 1.20\n",
    "main.go": 'package main\n\nfunc main() { println("hello") }\n',
    "main_test.go": 'package main\n\nimport "testing"\n\nfunc TestMain(m *testing.M) { println("tested") }\n',
    "page.txt": "for an image\n",
}
TABLE = f"""
build_date = 2026-01-01T00:00:00Z

[go.greeting]
module = "{MODULE}"
version = "{VERSION}"
[go.greeting.binaries]
greeting = {{ package = "{MODULE}" }}

[image.page]
upstream = "registry.test/page:{{greeting.number}}"
base = "scratch"
files = {{ "/greeting" = "greeting/greeting", "/page.txt" = "greeting:page.txt" }}
"""


def serve(folder: Path) -> str:
    """Write the proxy to `folder`; return the value of GOPROXY."""
    versions = folder / MODULE / "@v"
    versions.mkdir(parents=True)
    (versions / "list").write_text(f"{VERSION}\n")
    (versions / f"{VERSION}.info").write_text(f'{{"Version": "{VERSION}", "Time": "2026-01-01T00:00:00Z"}}')
    (versions / f"{VERSION}.mod").write_text(FILES["go.mod"])
    with zipfile.ZipFile(versions / f"{VERSION}.zip", "w") as archive:
        for name, content in FILES.items():
            archive.writestr(f"{MODULE}@{VERSION}/{name}", content)
    return folder.as_uri()


def module(folder: Path) -> Path:
    """Write a module that requires the greeting, with its sums; return the folder of modules."""
    own_module = folder / "greeting"
    own_module.mkdir(parents=True)
    (own_module / "go.mod").write_text(f"module own\n\ngo 1.20\n\nrequire {MODULE} {VERSION}\n")
    (own_module / "go.sum").write_text(
        f"{MODULE} {VERSION} {_sum({f'{MODULE}@{VERSION}/{name}': text for name, text in FILES.items()})}\n"
        f"{MODULE} {VERSION}/go.mod {_sum({'go.mod': FILES['go.mod']})}\n"
    )
    return folder


def _sum(files: dict[str, str]) -> str:
    """Return a module's sum in the format of go.sum (golang.org/x/mod/sumdb/dirhash, Hash1)."""
    lines = [f"{hashlib.sha256(files[name].encode()).hexdigest()}  {name}\n" for name in sorted(files)]
    return "h1:" + base64.b64encode(hashlib.sha256("".join(lines).encode()).digest()).decode()
