"""A site is told what its backups do not survive, until they survive it."""

import pytest

from app.cautions import cautions
from app.settings import parse_site

BASE = "server_name: example.com\nimages: {registry: registry.example.com/matrix}\n"
ELSEWHERE = "backups: {object_storage: {backend: external, external: {endpoint: 'https://backups.example.com'}}}\n"
S3 = "object_storage: {backend: external, external: {endpoint: 'https://s3.example.com'}}\n"


@pytest.mark.parametrize(
    ("choices", "said"),
    [
        ("", "are in the MinIO that keeps media, and do not survive its loss, nor of the cluster"),
        (S3, "are in the S3 at https://s3.example.com that keeps media, and do not survive its loss;"),
        ("backups: {object_storage: {backend: minio}}\n", "are in the cluster, and do not survive its loss"),
    ],
)
def test_what_backups_do_not_survive_is_said_with_what_to_do(choices: str, said: str) -> None:
    (line,) = cautions(parse_site(BASE + choices))
    assert said in line
    assert "docs/05-BACKUP-RESTORE.md" in line


@pytest.mark.parametrize("choices", [ELSEWHERE, S3 + ELSEWHERE])
def test_backups_that_share_nobodys_fate_are_no_matter(choices: str) -> None:
    assert list(cautions(parse_site(BASE + choices))) == []
