"""What programs told Prometheus that do not run in the tests, or not with metrics. The head of each file says where it comes from."""

from collections.abc import Mapping
from pathlib import Path

RECORDED: Mapping[str, tuple[str, ...]] = {
    "postgresql-main": ("cloudnative-pg",),
    "redis": ("redis-primary", "redis-replica"),
    "redis-sentinel": ("redis-sentinel",),
    "minio-main": ("minio",),
    "livekit": ("livekit",),
    "coturn": ("coturn",),
    "sygnal": ("sygnal",),
    "kube-state-metrics": ("kube-state-metrics", "kubelet"),
    "node-exporter": ("node-exporter",),
}
"""The job of a scrape to the recordings that stand for its pods."""


def exposition(name: str) -> str:
    """One of the files."""
    return (Path(__file__).parent / f"{name}.txt").read_text()
