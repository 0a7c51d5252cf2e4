"""The autoscaling policy of engines: enough replicas that each has about `target_load` requests.

Ray Serve calls the policy with the last metrics of every replica (`Engine.record_autoscaling_stats`) and applies its
own bounds, look-back window and delays.
https://docs.ray.io/en/latest/serve/advanced-guides/advanced-autoscaling.html
"""

import math
from typing import Any

from ray.serve.config import AutoscalingContext

FULL_CACHE = 0.9  # above this KV cache usage the engine preempts: add a replica, whatever the number of requests


def engine_load(context: AutoscalingContext) -> tuple[int, dict[str, Any]]:
    """The target number of replicas, and an empty state.

    `target_ongoing_requests` in the deployment's configuration is the number of running plus waiting requests that one
    replica should have.
    """
    assert context.config is not None, "Serve passes a deployment's configuration to its policy"
    reported = context.aggregated_metrics or {}
    load = sum(reported.get("load", {}).values())
    fullest = max(reported.get("kv_cache_usage", {}).values(), default=0.0)
    target = math.ceil(load / context.config.target_ongoing_requests)
    if fullest > FULL_CACHE:
        target = max(target, context.current_num_replicas + 1)
    if sum(reported.get("ready", {}).values()) < context.current_num_replicas:
        # An engine is starting or restarting. Serve does not know which, so removing one could remove a ready one.
        target = max(target, context.current_num_replicas)
    awake = len(reported.get("idle", {})) - sum(reported.get("idle", {}).values())
    if awake or (context.current_num_replicas == 0 and context.total_num_requests):
        target = max(target, 1)  # requests came within `idle_s`, or one waits for the first replica
    bounded = max(context.capacity_adjusted_min_replicas, min(context.capacity_adjusted_max_replicas, target))
    return bounded, {}
