"""The rendered objects with another list of writers."""

import copy
from collections.abc import Sequence
from typing import Any

import yaml


def with_persisters(objects: Sequence[dict[str, Any]], count: int) -> list[dict[str, Any]]:
    """The same objects with so many event persisters, as they would be compiled."""
    names, changed = [f"event-persister-{ordinal}" for ordinal in range(count)], copy.deepcopy(list(objects))
    config_map = next(o for o in changed if "shards.yaml" in (o.get("data") or {}))
    shards = yaml.safe_load(config_map["data"]["shards.yaml"])
    gone = set(shards["stream_writers"]["events"]) - set(names)
    shards["stream_writers"]["events"] = names
    shards["instance_map"] = {name: place for name, place in shards["instance_map"].items() if name not in gone}
    config_map["data"]["shards.yaml"] = yaml.safe_dump(shards)
    # Kustomize names it by its content.
    old, config_map["metadata"]["name"] = config_map["metadata"]["name"], "synapse-shards-of-another-list"
    for o in changed:
        if o["kind"] == "StatefulSet" and o["metadata"]["name"] == "event-persister":
            o["spec"]["replicas"] = count
        if o["kind"] == "StatefulSet" and o["metadata"]["name"] == "synapse":
            for volume in o["spec"]["template"]["spec"]["volumes"]:
                if volume.get("configMap", {}).get("name") == old:
                    volume["configMap"]["name"] = config_map["metadata"]["name"]
    return changed
