"""The size of an erasure set is what MinIO would choose, or a profile would allow a parity with which MinIO does not start."""

import pytest

from kit.quantities import gib, millicores
from overlays.profile import ErasureSize

# Nodes, drives of each, and the set size that MinIO itself chose: GetAllSets(0, "http://t-{0...N}.svc/export{0...M}") of
# github.com/minio/minio/cmd at 7aac2a2c5b7c, with the endpoints as the operator writes them (no ellipsis for one drive). 0: it refuses.
CHOSEN = [
    (4, 1, 4), (4, 2, 8), (4, 3, 12), (4, 4, 16), (4, 5, 4), (4, 8, 16),
    (5, 1, 5), (5, 2, 10), (5, 3, 15), (5, 4, 10),
    (6, 1, 6), (6, 2, 12), (6, 3, 6), (6, 4, 12),
    (7, 2, 14), (7, 3, 7), (8, 1, 8), (8, 2, 16), (8, 3, 8), (9, 2, 9),
    (10, 4, 10), (11, 2, 11), (12, 2, 12), (13, 1, 13), (16, 1, 16), (17, 1, 0), (17, 16, 0),
    (18, 2, 9), (20, 2, 10), (24, 4, 12), (32, 4, 16), (34, 3, 2), (40, 4, 10),
]  # fmt: skip


@pytest.mark.parametrize(("nodes", "drives", "chosen"), CHOSEN)
def test_the_set_size_is_the_one_that_minio_chooses(nodes: int, drives: int, chosen: int) -> None:
    assert ErasureSize(nodes=nodes, drives=drives, drive=gib(1), cpu=millicores(1), memory=gib(1)).erasure_set == chosen
