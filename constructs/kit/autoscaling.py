"""How many pods of a workload there are, where that follows from their work: by the processor time that they use, or by what Prometheus measures."""

from typing import Any

from attrs import frozen
from cdk8s_plus_34 import k8s

from kit.objects import CustomResource
from kit.pods import quantity
from kit.quantities import millicores

BUSY = 0.7
"""The share of one core that each pod is to use: a Python process cannot use more than one, whatever it requests."""
_PAUSE_SECONDS, _STEP_SECONDS = 600, 120
"""Pods go one at a time, after that long with less work: their users have to find others."""
TAKES_OVER = {"scaledobject.keda.sh/transfer-hpa-ownership": "true"}
"""KEDA takes the autoscaler over that was there before; it refuses to otherwise (keda, apis/keda/v1alpha1/scaledobject_webhook.go)."""


class ScaledObject(CustomResource):
    """The ScaledObject kind of KEDA, of which it makes a HorizontalPodAutoscaler: a few fields of many."""

    resource_version = "keda.sh/v1alpha1"
    resource_kind = "ScaledObject"


@frozen
class Measure:
    """Work that Prometheus measures: what `query` says of all pods together, in busy processes. `prometheus`: the URL by which KEDA asks it."""

    prometheus: str
    query: str


@frozen
class Autoscaled:
    """The least and the most pods. `measure`: how much work there is; without it, what the API of metrics says of their processor time."""

    least: int
    most: int
    measure: Measure | None = None


def by_processor(kind: str, name: str, scaled: Autoscaled) -> k8s.HorizontalPodAutoscalerSpecV2:
    """The spec of an autoscaler by the use of processors."""
    target = k8s.MetricTargetV2(type="AverageValue", average_value=quantity(millicores(int(BUSY * 1000))))
    shrink = k8s.HpaScalingRulesV2(
        stabilization_window_seconds=_PAUSE_SECONDS,
        policies=[k8s.HpaScalingPolicyV2(type="Pods", value=1, period_seconds=_STEP_SECONDS)],
    )
    return k8s.HorizontalPodAutoscalerSpecV2(
        scale_target_ref=k8s.CrossVersionObjectReferenceV2(api_version="apps/v1", kind=kind, name=name),
        min_replicas=scaled.least,
        max_replicas=scaled.most,
        metrics=[k8s.MetricSpecV2(type="Resource", resource=k8s.ResourceMetricSourceV2(name="cpu", target=target))],
        behavior=k8s.HorizontalPodAutoscalerBehaviorV2(scale_down=shrink),
    )


def by_measure(kind: str, name: str, scaled: Autoscaled, measure: Measure) -> dict[str, Any]:
    """The spec of a ScaledObject. While Prometheus does not answer, there are as many pods as there were."""
    policy = {"type": "Pods", "value": 1, "periodSeconds": _STEP_SECONDS}
    behavior = {"scaleDown": {"stabilizationWindowSeconds": _PAUSE_SECONDS, "policies": [policy]}}
    return {
        "scaleTargetRef": {"apiVersion": "apps/v1", "kind": kind, "name": name},
        "minReplicaCount": scaled.least,
        "maxReplicaCount": scaled.most,
        "pollingInterval": 30,
        "advanced": {"horizontalPodAutoscalerConfig": {"name": name, "behavior": behavior}},
        "triggers": [
            {
                "type": "prometheus",
                "metricType": "AverageValue",
                # Without series there is an error, and not no work (keda, pkg/scalers/prometheus_scaler.go).
                "metadata": {
                    "serverAddress": measure.prometheus,
                    "query": measure.query,
                    "threshold": str(BUSY),
                    "ignoreNullValues": "false",
                },
            }
        ],
    }
