"""The list of parts that a bundle brings (SBOM), in CycloneDX 1.6: images, charts, wheels and npm packages, with licences and digests."""

import base64
import json
import zipfile
from collections.abc import Iterable, Iterator
from email.parser import HeaderParser
from hashlib import sha256
from pathlib import Path

from attrs import frozen
from cyclonedx.contrib.license.factories import LicenseFactory
from cyclonedx.model import ExternalReference, ExternalReferenceType, HashAlgorithm, HashType, XsUri
from cyclonedx.model.bom import Bom
from cyclonedx.model.component import Component, ComponentType
from cyclonedx.output import make_outputter
from cyclonedx.schema import OutputFormat, SchemaVersion
from packageurl import PackageURL


@frozen
class Part:
    """One part. `digest`: of SHA-256 or SHA-512, in hexadecimal; `source`: where it is had."""

    kind: ComponentType
    name: str
    version: str
    licence: str | None = None
    digest: str | None = None
    purl: PackageURL | None = None
    source: str | None = None

    @property
    def reference(self) -> str:
        """By what the document names it."""
        return str(self.purl) if self.purl else f"{self.name}@{self.version}"


def image_part(reference: str, digest: str, licence: str | None) -> Part:
    """An image, as its registry has it."""
    name, _, tag = reference.partition("@")[0].rpartition(":")
    # purl-spec, types/oci: the name is the last part of the repository, and the version is the digest.
    purl = PackageURL("oci", None, name.rpartition("/")[2], digest, {"repository_url": name, "tag": tag})
    return Part(ComponentType.CONTAINER, name, tag, licence, digest.partition(":")[2], purl)


def chart_part(name: str, version: str, repository: str, licence: str) -> Part:
    """An operator's chart, or the manifest of one that has none."""
    return Part(ComponentType.APPLICATION, name, version, licence, source=repository)


def wheel_parts(folder: Path) -> Iterator[Part]:
    """The wheels in a folder: name and version are in the names of the files, licences in their metadata."""
    for file in sorted(folder.glob("*.whl")):
        with zipfile.ZipFile(file) as wheel:
            (place,) = (name for name in wheel.namelist() if name.endswith(".dist-info/METADATA") and name.count("/") == 1)
            metadata = HeaderParser().parsestr(wheel.read(place).decode())
        name, version, _ = file.name.split("-", 2)
        name = name.lower().replace("_", "-")
        licence = metadata["License-Expression"] or metadata["License"] or ""
        purl = PackageURL("pypi", None, name, version)
        yield Part(ComponentType.LIBRARY, name, version, licence.strip() or None, sha256(file.read_bytes()).hexdigest(), purl)


def npm_parts(lock: str) -> Iterator[Part]:
    """The packages of a package-lock.json."""
    for path, entry in json.loads(lock)["packages"].items():
        if path:
            name = path.rpartition("node_modules/")[2]
            namespace, _, short = name.rpartition("/")
            # A package that comes inside another has no file of its own.
            digest = base64.b64decode(entry["integrity"].removeprefix("sha512-")).hex() if "integrity" in entry else None
            purl = PackageURL("npm", namespace or None, short, entry["version"])
            yield Part(ComponentType.LIBRARY, name, entry["version"], entry.get("license"), digest, purl)


def bill(parts: Iterable[Part], name: str, version: str) -> str:
    """The document about all of them."""
    licences, found = LicenseFactory(), Bom()
    found.metadata.component = Component(name=name, version=version, type=ComponentType.APPLICATION)
    # One that is there twice is told of once, with its digest.
    for part in {part.reference: part for part in sorted(parts, key=lambda part: part.digest or "")}.values():
        # A text in place of a name is no statement that a machine reads.
        told = part.licence if part.licence and len(part.licence) < 100 and "\n" not in part.licence else None
        algorithm = HashAlgorithm.SHA_512 if part.digest and len(part.digest) == 128 else HashAlgorithm.SHA_256
        component = Component(
            type=part.kind,
            name=part.name,
            version=part.version,
            bom_ref=part.reference,
            purl=part.purl,
            licenses=[licences.make_from_string(told)] if told else [],
            hashes=[HashType(alg=algorithm, content=part.digest)] if part.digest else [],
            external_references=[ExternalReference(type=ExternalReferenceType.DISTRIBUTION, url=XsUri(part.source))] if part.source else [],
        )
        found.components.add(component)
        found.register_dependency(found.metadata.component, [component])
    return make_outputter(found, OutputFormat.JSON, SchemaVersion.V1_6).output_as_string(indent=2) + "\n"
