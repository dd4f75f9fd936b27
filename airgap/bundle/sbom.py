"""The bill of materials: every Go module and Debian package in the bundle, as CycloneDX."""

from __future__ import annotations

import json
import platform
import uuid
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from cyclonedx.model import HashAlgorithm, HashType, Property
from cyclonedx.model.bom import Bom
from cyclonedx.model.component import Component, ComponentType
from cyclonedx.output.json import JsonV1Dot6
from packageurl import PackageURL

from airgap.bundle.builders.go_program import GoToolchain
from airgap.bundle.source_table import ImageFile, SourceTable
from airgap.bundle.store import Artifact
from tools.bootstrap.process import capture


class BillOfMaterials:
    """The components of a bundle by package URL, and their dependencies."""

    def __init__(self, table: SourceTable, go: GoToolchain) -> None:
        self._table, self._go = table, go
        self._bom = Bom()
        self._known: dict[str, Component] = {}

    def add_binaries(self, entry: str, artifact: Artifact) -> None:
        """Add the binaries of an entry, each with the modules that the Go linker recorded in it."""
        record = artifact.record()
        distribution = platform.freedesktop_os_release()["ID"]
        for name, facts in record["binaries"].items():
            binary = self._component(
                PackageURL("generic", entry, name, record["version"]),
                ComponentType.APPLICATION,
                [HashType(alg=HashAlgorithm.SHA_256, content=facts["sha256"])],
            )
            libraries = [
                self._component(PackageURL("deb", distribution, package, version), ComponentType.LIBRARY)
                for package, version in record["libraries"].items()
            ]
            modules = self._modules(artifact.folder / name) if entry in self._table.go else []
            self._bom.register_dependency(binary, [*libraries, *modules])

    def add_image(self, name: str, image: Artifact, base: Artifact | None) -> None:
        """Add an image with its binaries and Debian packages; a copied image is added without contents."""
        record = image.record()
        repository, _, tag = record["upstream"].rpartition(":")
        host_and_path, _, last = repository.rpartition("/")
        url = PackageURL("oci", None, last, record["digest"], {"repository_url": f"{host_and_path}/{last}", "tag": tag})
        container = self._component(url, ComponentType.CONTAINER, properties={"origin": record["origin"]})
        contents: list[Component] = []
        if record["origin"] == "built":
            sources = map(ImageFile.parse, self._table.image[name].files.values())
            contents += [
                self._component(
                    PackageURL("generic", s.entry, s.binary, self._table.release(s.entry)), ComponentType.APPLICATION
                )
                for s in sources
                if s.binary
            ]
        if base is not None:
            facts = base.record()
            contents += [
                self._component(
                    PackageURL("deb", facts["distribution"], package, version, {"arch": facts["architecture"]}),
                    ComponentType.LIBRARY,
                )
                for package, version in facts["packages"].items()
            ]
        self._bom.register_dependency(container, contents)

    def write(self, file: Path) -> int:
        """Write the bill, reproducibly; return the number of components."""
        self._bom.components = self._known.values()
        self._bom.metadata.timestamp = self._table.build_date
        self._bom.metadata.component = Component(
            name="mlplatform-bundle", type=ComponentType.APPLICATION, bom_ref="bundle"
        )
        self._bom.register_dependency(self._bom.metadata.component, self._known.values())
        self._bom.serial_number = uuid.uuid5(uuid.NAMESPACE_OID, " ".join(sorted(self._known)))
        new = file.with_suffix(".new")
        new.write_text(JsonV1Dot6(self._bom).output_as_string(indent=1))
        new.replace(file)
        return len(self._known)

    def _modules(self, binary: Path) -> list[Component]:
        text = capture([self._go.program, "version", "-m", "-json", binary], env=self._go.environment)
        information = json.loads(text)
        main = information["Main"]
        # The main module is upstream, or ours where the main package is ours. Only upstream has a sum.
        upstream = [main] if main.get("Sum") else []
        return [self._module(module) for module in [*upstream, *(information.get("Deps") or [])]]

    def _module(self, module: Mapping[str, Any]) -> Component:
        used = module.get("Replace") or module
        properties = {"go.sum": used["Sum"]} if used.get("Sum") else {}
        if used["Path"].startswith("."):
            # Built from a patched copy of the module.
            used, properties = module, {"patched": "true"}
        namespace, _, name = used["Path"].rpartition("/")
        url = PackageURL("golang", namespace or None, name, used["Version"])
        return self._component(url, ComponentType.LIBRARY, properties=properties)

    def _component(
        self,
        url: PackageURL,
        kind: ComponentType,
        hashes: Iterable[HashType] = (),
        properties: Mapping[str, str] = {},
    ) -> Component:
        text = url.to_string()
        if text not in self._known:
            self._known[text] = Component(
                name=f"{url.namespace}/{url.name}" if url.namespace else url.name,
                version=url.version,
                type=kind,
                purl=url,
                bom_ref=text,
                hashes=hashes,
                properties=[Property(name=f"mlplatform:{key}", value=value) for key, value in properties.items()],
            )
        return self._known[text]
