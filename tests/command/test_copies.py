"""Copies of files to a real SSH server: target paths, and when a copy is repeated."""

from __future__ import annotations

import hashlib
import os
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from airgap.stand_ins.protocol.property_values import ARCHIVE, ASSET, UNKNOWN, Asset, Properties, Secret

from .plugin import COPY_FILE, COPY_TO_REMOTE, Plugin, Refused
from .sshd import Sshd


@dataclass
class Case:
    """A copy of `source` (a path in the folder of sources, or a text) to `target`, with files before and after."""

    behaviour: str
    source: str
    target: str
    after: dict[str, str] = field(default_factory=dict)
    before: dict[str, str | None] = field(default_factory=dict)
    """Content by path; None for a folder."""
    text: bool = False
    error: str = ""


TREE = {"file1": "1", "one/file2": "2", "one/two/file3": "3"}
"""The sources."""


def under(folder: str, files: dict[str, str]) -> dict[str, str]:
    return {f"{folder}/{path}": content for path, content in files.items()}


CASES = [
    Case("a file to a new name", "src/file1", "new", {"new": "1"}),
    Case("a file into a folder", "src/file1", "dir", {"dir/file1": "1"}, {"dir": None}),
    Case("a file over a file", "src/file1", "old", {"old": "1"}, {"old": "longer than before"}),
    Case("a file makes the folders above it", "src/file1", "a/b/c/new", {"a/b/c/new": "1"}),
    Case("a folder to a new name becomes a folder in it", "src", "new", under("new/src", TREE)),
    Case("a folder into a folder", "src", "dir", under("dir/src", TREE), {"dir": None}),
    Case("a folder makes the folders above it", "src", "a/b", under("a/b/src", TREE)),
    Case("the content of a folder to a new name", "src/", "new", under("new", TREE)),
    Case(
        "the content of a folder into a folder", "src/", "dir", {**under("dir", TREE), "dir/own": "o"}, {"dir/own": "o"}
    ),
    Case("the content of a folder makes the folders above it", "src/", "a/b", under("a/b", TREE)),
    Case("a folder over an earlier copy of it", "src", "dir", under("dir/src", TREE), {"dir/src/one/file2": "old"}),
    Case(
        "a folder over a file",
        "src",
        "dir",
        before={"dir/src/one": "a file"},
        error="remote path dir/src/one exists but is not a directory",
    ),
    Case(
        "a folder into a file",
        "src/",
        "old",
        before={"old": "x"},
        error="remote path old exists but is not a directory",
    ),
    Case("a missing file", "src/file*", "new", error="open {}/src/file*: no such file or directory"),
    Case("a text", "hello", "new", {"new": "hello"}, text=True),
    Case("an empty text", "", "new", {"new": ""}, text=True),
    Case("a text over a file", "hello", "old", {"old": "hello"}, {"old": "longer than before"}, text=True),
    Case("a text makes the folders above it", "hello", "a/b/new", {"a/b/new": "hello"}, text=True),
    Case(
        "a text into a folder",
        "hello",
        "dir",
        before={"dir": None},
        text=True,
        error="remote path dir is a directory; when using a text asset, remotePath must be a file path",
    ),
    Case("a file below a file", "src/file1", "old/new", before={"old": "x"}, error="old"),
]


@pytest.fixture
def sources(tmp_path: Path) -> Path:
    for path, content in TREE.items():
        (tmp_path / "src" / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "src" / path).write_text(content)
    return tmp_path


@pytest.fixture
def home(sshd: Sshd, request: pytest.FixtureRequest) -> Path:
    """Return a new folder on the server for this test."""
    folder: Path = sshd.home / request.node.name.replace("/", "-")
    folder.mkdir()
    return folder


def asset(path: str) -> Asset:
    """Return a file or a folder as the engine sends it, with any hash."""
    return Asset(ARCHIVE if os.path.isdir(path) else ASSET, {"path": path, "hash": path})  # noqa: PTH112


def text_asset(text: str) -> Asset:
    content: Properties = {"text": text} if text else {}
    return Asset(ASSET, content | {"hash": hashlib.sha256(text.encode()).hexdigest()})


def files(folder: Path) -> dict[str, str]:
    return {str(path.relative_to(folder)): path.read_text() for path in folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.behaviour)
def test_copy_writes_the_expected_files(case: Case, plugin: Plugin, sshd: Sshd, sources: Path, home: Path) -> None:
    for path, content in case.before.items():
        if content is None:
            (home / path).mkdir(parents=True)
        else:
            (home / path).parent.mkdir(parents=True, exist_ok=True)
            (home / path).write_text(content)
    source = text_asset(case.source) if case.text else asset(f"{sources}/{case.source}")
    # A relative path starts in the user's home.
    inputs: Properties = {
        "connection": Secret(sshd.connection()),
        "source": source,
        "remotePath": f"{home.name}/{case.target}",
    }
    checked, failures = plugin.check(COPY_TO_REMOTE, inputs)
    assert not failures
    if case.error:
        with pytest.raises(Refused) as caught:
            plugin.create(COPY_TO_REMOTE, checked)
        assert case.error.format(sources) in str(caught.value).replace(f"{home.name}/", "")
        assert str(caught.value).startswith("UNKNOWN: ")
    else:
        outputs = plugin.create(COPY_TO_REMOTE, checked)
        assert len(str(outputs.pop("id"))) == 8
        assert outputs == checked
        assert files(home) == case.after


def test_copy_large_file_is_complete(plugin: Plugin, sshd: Sshd, home: Path, tmp_path: Path) -> None:
    content = os.urandom(5_000_001)
    (tmp_path / "large").write_bytes(content)
    inputs: Properties = {
        "connection": sshd.connection(),
        "source": asset(f"{tmp_path}/large"),
        "remotePath": f"{home}/large",
    }
    plugin.create(COPY_TO_REMOTE, inputs)
    assert (home / "large").read_bytes() == content


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="no /dev/full on this system")  # noqa: PTH110
def test_copy_to_full_disk_fails(plugin: Plugin, sshd: Sshd, sources: Path) -> None:
    inputs: Properties = {
        "connection": sshd.connection(),
        "source": asset(f"{sources}/src/file1"),
        "remotePath": "/dev/full",
    }
    with pytest.raises(Refused, match=r"failed to copy file .*/src/file1 to remote path /dev/full: Failure"):
        plugin.create(COPY_TO_REMOTE, inputs)


def test_update_copies_only_changed_sources_and_paths(plugin: Plugin, sshd: Sshd, home: Path) -> None:
    inputs: Properties = {"connection": sshd.connection(), "source": text_asset("one"), "remotePath": f"{home}/a"}
    (home / "a").write_text("changed by hand")
    # The engine omits the content of an old asset.
    state = {**inputs, "source": Asset(ASSET, {"hash": text_asset("one").hash})}
    assert plugin.update(COPY_TO_REMOTE, state, {**inputs, "triggers": ["t"]})["triggers"] == ["t"]
    assert files(home) == {"a": "changed by hand"}
    plugin.update(COPY_TO_REMOTE, state, {**inputs, "source": text_asset("two")})
    assert files(home) == {"a": "two"}
    plugin.update(COPY_TO_REMOTE, state, {**inputs, "remotePath": f"{home}/b"})
    assert files(home) == {"a": "two", "b": "one"}


def test_preview_copies_nothing(plugin: Plugin, home: Path) -> None:
    inputs: Properties = {"connection": UNKNOWN, "source": text_asset("one"), "remotePath": f"{home}/a"}
    assert plugin.create(COPY_TO_REMOTE, inputs, preview=True) == {**inputs, "id": ""}
    assert plugin.update(COPY_TO_REMOTE, {**inputs, "remotePath": "b"}, inputs, preview=True) == inputs
    assert files(home) == {}


def test_delete_leaves_copied_files(plugin: Plugin, home: Path) -> None:
    (home / "a").write_text("x")
    for token in (COPY_TO_REMOTE, COPY_FILE):
        plugin.delete(token, {"connection": {"host": "no.such.host.invalid"}, "remotePath": f"{home}/a"})
    assert files(home) == {"a": "x"}


def test_copy_file_writes_exactly_the_remote_path(plugin: Plugin, sshd: Sshd, sources: Path, home: Path) -> None:
    inputs: Properties = {
        "connection": sshd.connection(),
        "localPath": f"{sources}/src/file1",
        "remotePath": f"{home}/a",
    }
    outputs = plugin.create(COPY_FILE, inputs)
    assert len(str(outputs.pop("id"))) == 8
    assert outputs == inputs
    assert files(home) == {"a": "1"}
    with pytest.raises(Refused, match=r"failed to create remote file .*/no/folder/a: no such file"):
        plugin.create(COPY_FILE, {**inputs, "remotePath": f"{home}/no/folder/a"})
