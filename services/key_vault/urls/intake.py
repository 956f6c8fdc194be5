"""The listener that Synapse reaches."""

from django.urls import path

from services.key_vault import api, health

urlpatterns = (path("health/live", health.live), path("health/ready", health.ready), path("", api.INTAKE.urls))
