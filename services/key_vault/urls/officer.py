"""The listener that officers reach through the authenticating proxy."""

from django.urls import path

from services.key_vault import api, health, pages

handler404 = pages.not_found
handler500 = pages.failed

urlpatterns = (
    path("health/live", health.live),
    path("health/ready", health.ready),
    path("api/v1/", api.CASES.urls),
    path("style.css", pages.style),
    path("", pages.cases, name="cases"),
    path("cases/new", pages.new_case, name="new-case"),
    path("cases/<uuid:case_id>", pages.case, name="case"),
    path("cases/<uuid:case_id>/log", pages.log, name="log"),
    path("cases/<uuid:case_id>/export", pages.export, name="export"),
    path("cases/<uuid:case_id>/release", pages.release, name="release"),
    path("cases/<uuid:case_id>/<str:step>", pages.step, name="step"),
)
