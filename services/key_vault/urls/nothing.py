"""No path at all: what a request gets that no listener was chosen for."""

from collections.abc import Sequence

from django.urls import URLPattern, URLResolver

urlpatterns: Sequence[URLPattern | URLResolver] = ()
