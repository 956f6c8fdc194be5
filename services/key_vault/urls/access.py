"""The listener that the proxy of synapse-li asks."""

from django.urls import path

from services.key_vault import api, health

urlpatterns = (path("health/live", health.live), path("health/ready", health.ready), path("", api.ACCESS.urls))
