"""By which name a bundle asks a registry for an image."""

from collections.abc import Sequence
from pathlib import Path

import pytest

from app import bundle

DIGEST = f"sha256:{'0' * 64}"


@pytest.mark.parametrize(
    ("source", "name", "asked"),
    [
        ("docker.io/library/traefik:v3.7.11", "docker.io/library/traefik", "docker.io/library/traefik:v3.7.11"),
        (f"ghcr.io/a/b:1.0@{DIGEST}", "ghcr.io/a/b", f"ghcr.io/a/b@{DIGEST}"),
        ("127.0.0.1:5000/a/b:1.0", "127.0.0.1:5000/a/b", "127.0.0.1:5000/a/b:1.0"),
        (f"127.0.0.1:5000/a/b@{DIGEST}", "127.0.0.1:5000/a/b", f"127.0.0.1:5000/a/b@{DIGEST}"),
        ("127.0.0.1:5000/a/b", "127.0.0.1:5000/a/b", "127.0.0.1:5000/a/b"),
    ],
)
def test_an_image_is_copied_by_the_digest_that_its_registry_has(
    source: str, name: str, asked: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    commands: list[Sequence[str]] = []

    def run(command: Sequence[str]) -> bytes:
        commands.append(command)
        return b"an index"

    monkeypatch.setattr(bundle, "_run", run)
    (image,) = bundle.copy_images([(source, "registry.example.com/b:1.0")], tmp_path, ())
    inspected, copied = commands
    assert inspected[-1] == f"docker://{asked}"
    assert copied[-2] == f"docker://{name}@{image.digest}"
