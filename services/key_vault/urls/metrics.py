"""The listener that Prometheus and the kubelet reach."""

from django.urls import path

from services.key_vault import health

urlpatterns = (path("health/live", health.live), path("health/ready", health.ready), path("metrics", health.exposition))
