"""The dashboards, in the order in which one looks at them."""

from monitoring.grafana.board import Board
from monitoring.grafana.dashboards import (
    federation_health,
    livekit_health,
    minio_health,
    postgresql_health,
    redis_health,
    synapse_performance,
    system_overview,
)

BOARDS: tuple[Board, ...] = (
    system_overview.BOARD,
    synapse_performance.BOARD,
    federation_health.BOARD,
    postgresql_health.BOARD,
    redis_health.BOARD,
    minio_health.BOARD,
    livekit_health.BOARD,
)
