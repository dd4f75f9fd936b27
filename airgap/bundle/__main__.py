"""The bundle's commands."""

from __future__ import annotations

import argparse
import os
import shutil
import sys
from pathlib import Path
from typing import get_args

from airgap.bundle import index, preflight
from airgap.bundle.artifacts import Items
from airgap.bundle.build import make, prepare, prune
from airgap.bundle.builders.go_program import Go
from airgap.bundle.builders.upstream_image import reachable
from airgap.bundle.errors import BundleError
from airgap.bundle.progress import Progress
from airgap.bundle.registry import bundle_registry
from airgap.bundle.registry.push import push
from airgap.bundle.sbom import BillOfMaterials
from airgap.bundle.selection import Images, choose
from airgap.bundle.sources import load
from airgap.bundle.store import Store
from tools.bootstrap.console import BootstrapError, log_message


def main() -> int:
    """Run one command; returns the exit code."""
    arguments = _parser().parse_args()
    store = Store.default()
    try:
        match arguments.command:
            case "build":
                _build(store, arguments)
            case "prune":
                table = load()
                with store.locked():
                    log_message(
                        f"{prune(store, Items.of(table, store, Go.find(store, 1)))} folders of other versions removed."
                    )
            case "check":
                if names := index.lacking(load(), store):
                    raise BundleError(f"The bundle lacks {', '.join(names)}: run `make bundle`.")
            case "import":
                _import(store, arguments.image, arguments.source)
            case "push":
                push(store, arguments.registry, arguments.authfile, arguments.certificates)
            case "registry":
                _registry(store, arguments)
    except (BundleError, BootstrapError) as error:
        log_message(f"Error: {error}")
        return 1
    except KeyboardInterrupt:
        log_message("Interrupted; the next run goes on from the last item that was finished.")
        return 130
    return 0


def _build(store: Store, arguments: argparse.Namespace) -> None:
    table = load()
    choice = choose(table, arguments.images, frozenset(arguments.entries), reachable)
    prepare(table, choice)
    with store.locked():
        go = Go.find(store, arguments.jobs)
        items = Items.of(table, store, go)
        try:
            make(table, store, items, choice)
        finally:
            count = index.write(table, store, items, BillOfMaterials(table, go), prefer_copies=bool(choice.copied))
    content = index.read(store)
    log_message(f"{len(content['binaries'])} binaries and {len(content['images'])} images are in {store.root}")
    log_message(f"What is in them, {count} components: {store.root / index.SBOM}")


def _import(store: Store, image: str, source: str) -> None:
    preflight.require(preflight.MOVES_IMAGES)
    table = load()
    if image not in table.upstream.images:
        known = "\n  ".join(table.upstream.images)
        raise BundleError(f"{image} is not under [upstream] in airgap/sources.toml. There are:\n  {known}")
    with store.locked():
        go = Go.find(store, 1)
        items = Items.of(table, store, go)
        shutil.rmtree(items.copies_at[image].folder, ignore_errors=True)
        progress = Progress(f"images {image}")
        items.copies[image].fetch(items.copies_at[image], progress, source)
        progress.done("imported")
        index.write(table, store, items, BillOfMaterials(table, go), prefer_copies=False)


def _registry(store: Store, arguments: argparse.Namespace) -> None:
    if arguments.action == "stop":
        bundle_registry.stop(bundle_registry.home(store))
        return
    if arguments.action == "start":
        # Where others reach it, its login is theirs, too.
        read_only = arguments.address != bundle_registry.LOOPBACK
        bundle_registry.start(store, arguments.address, arguments.port, arguments.name, read_only=read_only)
        with bundle_registry.writable(store) as own:
            push(store, own.host, own.authfile, own.certificates)
    # On standard output, for programs: no password is in it, only the file that has it.
    print(bundle_registry.running(bundle_registry.home(store)).as_json())


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="airgap.bundle", description=__doc__)
    parser.set_defaults(command="build", entries=[], images="auto", jobs=os.cpu_count() or 1)
    commands = parser.add_subparsers()

    build = commands.add_parser("build", help="build or copy what is missing (the default)")
    build.add_argument("entries", nargs="*", metavar="ENTRY", help="entries of the table; all where none is named")
    build.add_argument("--jobs", type=int, default=os.cpu_count() or 1, help="compilers at a time (the cores)")
    build.add_argument("--images", choices=get_args(Images), default="auto", help="copied if upstream is in reach")
    build.set_defaults(command="build")

    commands.add_parser("check", help="whether it has what the table lists").set_defaults(command="check")

    from_file = commands.add_parser("import", help="add an image of [upstream] that was brought here as a file")
    from_file.add_argument("image", help="its name there, host/repository:tag")
    from_file.add_argument("source", help="as skopeo names it: oci:FOLDER:TAG, docker-archive:FILE")
    from_file.set_defaults(command="import")

    commands.add_parser("prune", help="remove what other versions left").set_defaults(command="prune")

    to_own = commands.add_parser("push", help="fill a registry of your own")
    to_own.add_argument("registry", help="host[:port][/project]")
    to_own.add_argument("--authfile", type=Path, required=True, help="as `skopeo login --authfile` writes it")
    to_own.add_argument("--certificates", type=Path, help="folder with the registry's CA as ca.crt")
    to_own.set_defaults(command="push")

    own = commands.add_parser("registry", help="the bundle's own registry")
    own.add_argument("action", choices=["start", "status", "stop"])
    own.add_argument("--address", default=bundle_registry.LOOPBACK, help="where it listens; read-only elsewhere")
    own.add_argument("--port", type=int, default=5443)
    own.add_argument("--name", action="append", default=[], help="a further host name or address for its certificate")
    own.set_defaults(command="registry")
    return parser


if __name__ == "__main__":
    sys.exit(main())
