"""The commands of the bundle."""

from __future__ import annotations

import argparse
import os
import shutil
import sys
from pathlib import Path
from typing import get_args

from airgap.bundle import build_requirements, index
from airgap.bundle.artifacts import Artifacts
from airgap.bundle.build import build_selection, check_requirements
from airgap.bundle.build_requirements import require_programs
from airgap.bundle.builders.go_program import GoToolchain
from airgap.bundle.builders.upstream_image import is_reachable
from airgap.bundle.index import read_index, write_index
from airgap.bundle.progress import Progress
from airgap.bundle.pruning.image_layers import prune_image_layers
from airgap.bundle.pruning.old_artifacts import prune_artifacts
from airgap.bundle.pruning.removed_checkouts import prune_environments
from airgap.bundle.pruning.replaced_images import prune_built_images
from airgap.bundle.registry import bundle_registry
from airgap.bundle.registry.push import push
from airgap.bundle.sbom import BillOfMaterials
from airgap.bundle.selection import Images, select_artifacts
from airgap.bundle.source_table import load_sources
from airgap.bundle.store import Store, StoreRule
from tools.bootstrap import paths
from tools.bootstrap.console import SetupError, log_message


def main() -> int:
    """Run a command; return the exit code."""
    arguments = _parser().parse_args()
    store = Store.default()
    try:
        match arguments.command:
            case "build":
                _build(store, arguments)
            case "prune":
                rule = StoreRule(arguments.days, arguments.newest)
                with store.locked():
                    artifacts = Artifacts.of(load_sources(), store, GoToolchain.find(store, 1))
                    prune_artifacts(store, artifacts, rule, dry_run=arguments.dry_run)
                prune_image_layers(paths.cache_directory() / "images", arguments.days, dry_run=arguments.dry_run)
                prune_environments(dry_run=arguments.dry_run)
                prune_built_images(store, rule, dry_run=arguments.dry_run)
            case "check":
                if names := index.missing_images(load_sources(), store):
                    raise SetupError(f"The bundle lacks {', '.join(names)}. Run `make bundle`.")
            case "import":
                _import(store, arguments.image, arguments.source)
            case "push":
                push(store, arguments.registry, arguments.authfile, arguments.certificates)
            case "registry":
                _registry(store, arguments)
    except SetupError as error:
        log_message(f"Error: {error}")
        return 1
    except KeyboardInterrupt:
        log_message("Interrupted. The next run continues after the last finished artifact.")
        return 130
    return 0


def _build(store: Store, arguments: argparse.Namespace) -> None:
    table = load_sources()
    selection = select_artifacts(table, arguments.images, frozenset(arguments.entries), is_reachable)
    check_requirements(table, selection)
    with store.locked():
        go = GoToolchain.find(store, arguments.jobs)
        artifacts = Artifacts.of(table, store, go)
        try:
            build_selection(table, store, artifacts, selection)
        finally:
            count = write_index(
                table, store, artifacts, BillOfMaterials(table, go), prefer_copies=bool(selection.copied)
            )
    content = read_index(store)
    log_message(f"{len(content['binaries'])} binaries and {len(content['images'])} images are in {store.root}")
    log_message(f"Bill of materials, {count} components: {store.root / index.SBOM}")
    if skipped := [upstream for upstream in selection.unavailable if upstream not in content["images"]]:
        log_message(
            f"Skipped, because they are only upstream and not copied from here: {', '.join(skipped)}. "
            "To import them from files, see docs/air-gap.md."
        )


def _import(store: Store, image: str, source: str) -> None:
    require_programs(build_requirements.MOVES_IMAGES)
    table = load_sources()
    if image not in table.upstream.images:
        known = "\n  ".join(table.upstream.images)
        raise SetupError(f"{image} is not under [upstream] in airgap/sources.toml. Known images:\n  {known}")
    with store.locked():
        go = GoToolchain.find(store, 1)
        artifacts = Artifacts.of(table, store, go)
        shutil.rmtree(artifacts.copy_artifacts[image].folder, ignore_errors=True)
        with Progress(f"images {image}", f"import {image}") as progress:
            artifacts.image_copies[image].fetch(artifacts.copy_artifacts[image], progress, source)
            progress.done("imported")
        write_index(table, store, artifacts, BillOfMaterials(table, go), prefer_copies=False)


def _registry(store: Store, arguments: argparse.Namespace) -> None:
    if arguments.action == "stop":
        bundle_registry.stop(bundle_registry.home(store))
        return
    if arguments.action == "start":
        # Machines know the login of a registry that they reach -> it is read-only.
        read_only = arguments.address != bundle_registry.LOOPBACK
        bundle_registry.start(store, arguments.address, arguments.port, arguments.name, read_only=read_only)
        with bundle_registry.writable(store) as own:
            push(store, own.host, own.authfile, own.certificates)
    # Programs read this from standard output. It names the file with the password, not the password.
    print(bundle_registry.running(bundle_registry.home(store)).as_json())


def _natural(text: str) -> int:
    if not text.isdecimal():
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of 0 or more")
    return int(text)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="airgap.bundle", description=__doc__)
    parser.set_defaults(command="build", entries=[], images="auto", jobs=os.cpu_count() or 1)
    commands = parser.add_subparsers()

    build = commands.add_parser("build", help="build or copy missing artifacts (the default)")
    build.add_argument("entries", nargs="*", metavar="ENTRY", help="entries of airgap/sources.toml (default: all)")
    build.add_argument(
        "--jobs", type=int, default=os.cpu_count() or 1, help="parallel compilers (default: the number of cores)"
    )
    build.add_argument(
        "--images",
        choices=get_args(Images),
        default="auto",
        help="origin of images; auto copies them if upstream is reachable",
    )
    build.set_defaults(command="build")

    commands.add_parser("check", help="fail if the bundle lacks an image of airgap/sources.toml").set_defaults(
        command="check"
    )

    from_file = commands.add_parser("import", help="add an image of [upstream] from a file")
    from_file.add_argument("image", help="the name under [upstream], host/repository:tag")
    from_file.add_argument("source", help="in skopeo's notation: oci:FOLDER:TAG, docker-archive:FILE")
    from_file.set_defaults(command="import")

    prune = commands.add_parser("prune", help="remove what no version and no stack needs")
    prune.add_argument(
        "--days", type=_natural, default=30, help="days after its last build or use in which a version stays (30)"
    )
    prune.add_argument("--newest", type=_natural, default=1, help="other versions of an item that stay at any age (1)")
    prune.add_argument("--dry-run", action="store_true", help="list the items, and remove none")
    prune.set_defaults(command="prune")

    to_registry = commands.add_parser("push", help="copy the images to another registry")
    to_registry.add_argument("registry", help="host[:port][/project]")
    to_registry.add_argument(
        "--authfile", type=Path, required=True, help="credentials, as `skopeo login --authfile` writes them"
    )
    to_registry.add_argument("--certificates", type=Path, help="folder with the registry's CA certificate, ca.crt")
    to_registry.set_defaults(command="push")

    registry = commands.add_parser("registry", help="the registry of this computer")
    registry.add_argument("action", choices=["start", "status", "stop"])
    registry.add_argument(
        "--address",
        default=bundle_registry.LOOPBACK,
        help="the address to listen on; read-only unless it is the default",
    )
    registry.add_argument("--port", type=int, default=5443)
    registry.add_argument(
        "--name", action="append", default=[], help="a further host name or address for the certificate"
    )
    registry.set_defaults(command="registry")
    return parser


if __name__ == "__main__":
    sys.exit(main())
