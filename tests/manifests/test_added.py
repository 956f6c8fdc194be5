"""No object is for ever different from what is rendered: in lists, nothing is left for the API server to add.

Kubernetes' own kinds are asked of a real API server (tests/live/test_control_plane.py).
"""

import json
from functools import partial
from typing import Any

import pytest

from tests.kustomize import expected
from tests.manifests.rules.added import default_problems, differences
from tests.manifests.rules.mutation import assert_noticed, without
from tests.manifests.rules.objects import Objects, Rule, assert_kept
from tests.manifests.rules.schemas import Definitions
from tests.manifests.test_sites import SITES, installation


@pytest.fixture(scope="module")
def complete() -> Rule:
    return partial(default_problems, definitions=Definitions.at_hand())


def test_no_default_of_a_definition_is_left_to_the_api_server(trees: dict[str, Objects], complete: Rule) -> None:
    assert_kept(complete, trees)


def test_nor_for_any_choice_of_a_site(complete: Rule) -> None:
    built = {name: list(expected(installation(name).rendering()).values()) for name in SITES}
    assert_kept(complete, json.loads(json.dumps(built)))


def test_a_default_that_is_left_out_is_noticed(trees: dict[str, Objects], complete: Rule) -> None:
    change = without("HTTPRoute/matrix", "spec.rules[0].backendRefs[0].weight")
    assert_noticed(complete, trees["other site"], change, "spec.rules[0].backendRefs[0].weight is left to the API server")
    change = without("PodMonitor/haproxy", "spec.podMetricsEndpoints[0].relabelings[0].action")
    assert_noticed(complete, trees["other site"], change, "which adds 'replace'")


SERVICE: dict[str, Any] = {"kind": "Service", "metadata": {"name": "a"}, "spec": {"ports": [{"port": 1, "name": "x"}]}}
POLICY: dict[str, Any] = {"kind": "NetworkPolicy", "metadata": {"name": "a"}, "spec": {"egress": [{"ports": [{"port": 1}]}]}}


def test_what_is_added_beside_what_is_rendered_disturbs_nobody() -> None:
    there = {**SERVICE, "status": {}, "spec": {"ports": [{"port": 1, "name": "x", "protocol": "TCP"}], "type": "ClusterIP"}}
    assert differences(SERVICE, there) == []


def test_what_is_added_to_a_list_that_is_one_value_is_a_difference_for_ever() -> None:
    there = {**POLICY, "spec": {"egress": [{"ports": [{"port": 1, "protocol": "TCP"}]}]}}
    assert differences(POLICY, there) == [
        "NetworkPolicy a: spec.egress is [{'ports': [{'port': 1, 'protocol': 'TCP'}]}], not [{'ports': [{'port': 1}]}]"
    ]


def test_what_the_api_server_drops_is_a_difference_for_ever() -> None:
    assert differences({**SERVICE, "spec": {"internal": False}}, {**SERVICE, "spec": {}}) == ["Service a: spec.internal is None, not False"]
