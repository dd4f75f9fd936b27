"""A folder in which the scripts of machines run, with fake programs instead of those that change a machine."""

from __future__ import annotations

import hashlib
import io
import json
import re
import shutil
import subprocess
import tarfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from infra.kubeadm.scripts import standard_input

OWNER = "acme/mlplatform/onprem 0123456789abcdef"
HARMLESS = (
    *("awk", "bash", "cat", "chmod", "cut", "env", "flock", "grep", "head", "install", "ls", "md5sum", "mkdir"),
    *("mktemp", "mv", "printf", "rm", "sed", "sha256sum", "sort", "tail", "tee", "test", "touch", "tr", "wc", "xargs"),
    *("base64", "echo", "gzip", "sync", "tar"),
)
"""Programs of this computer that the scripts may use. All others are missing unless a test defines them."""
FOLDERS = re.compile(r"""(?<![\w.}/-])/(etc|var|run|proc|sys|usr|opt|lib)/""")


@dataclass
class Sandbox:
    """A machine whose files are below `root`. `calls` are the fake programs that have run, with their arguments."""

    root: Path

    def __post_init__(self) -> None:
        self._programs = self.root / "fake-programs"
        for folder in ("etc/kubernetes/manifests", "etc/cni/net.d", "etc/mlplatform", "run", "proc", "var/lib"):
            (self.root / folder).mkdir(parents=True)
        self._programs.mkdir()
        for name in HARMLESS:
            self.link(name)
        self.write("etc/mlplatform/owner", OWNER)

    def write(self, path: str, content: str = "") -> Path:
        file = self.root / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(f"{content}\n")
        return file

    def program(self, name: str, body: str = "true") -> None:
        """Define a fake program: it records its arguments and runs `body` in bash."""
        file = self._programs / name
        log = self.root / "calls"
        file.write_text(f'#!{shutil.which("bash")}\necho "{name} $*" >>{log}\n{self._moved(body)}\n')
        file.chmod(0o755)

    def link(self, name: str, program: str = "") -> None:
        """Let scripts use a program of this computer, as `name`."""
        (self._programs / name).symlink_to(shutil.which(program or name) or f"/missing/{name}")

    def serve_layer(self, files: Mapping[str, str]) -> None:
        """Let curl download an image of one layer with these executable files, from any registry."""
        layer = io.BytesIO()
        with tarfile.open(fileobj=layer, mode="w:gz") as archive:
            for path, content in files.items():
                member = tarfile.TarInfo(path)
                member.size, member.mode = len(content), 0o755
                archive.addfile(member, io.BytesIO(content.encode()))
        (self.root / "layer").write_bytes(layer.getvalue())
        digest = f"sha256:{hashlib.sha256(layer.getvalue()).hexdigest()}"
        self.write("manifest", json.dumps({"layers": [{"digest": digest}]}))
        copy = f'while [ "$1" != --output ]; do shift; done; cat {self.root}/$source >"$2"'
        self.program("curl", f'source=layer; case "$*" in *manifests*) source=manifest ;; esac\n{copy}')

    @property
    def downloads(self) -> int:
        """Number of layers that were downloaded."""
        return len([call for call in self.calls if call.startswith("curl") and "blobs" in call])

    @property
    def calls(self) -> list[str]:
        log = self.root / "calls"
        return log.read_text().splitlines() if log.exists() else []

    def run(self, script: str, stdin: str = "", **environment: str) -> subprocess.CompletedProcess[str]:
        """Run a script of `infra/kubeadm/scripts` as `infra.kubeadm.step` does."""
        return subprocess.run(
            [shutil.which("bash") or "bash", "-s", script],
            input=self._moved(standard_input(script)) + stdin,
            env={"PATH": str(self._programs), "OWNER": OWNER, **environment},
            capture_output=True,
            text=True,
            timeout=60,
        )

    def _moved(self, text: str) -> str:
        return FOLDERS.sub(rf"{self.root}/\1/", text)
