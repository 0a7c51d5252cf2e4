"""How many engine replicas: enough that each has about `target_load` requests in hand.

Ray Serve calls the policy with what every replica last reported (`Engine.record_autoscaling_stats`) and applies its own
bounds, look-back window and delays. https://docs.ray.io/en/latest/serve/advanced-guides/advanced-autoscaling.html
"""

import math
from typing import Any

from ray.serve.config import AutoscalingContext

FULL_CACHE = 0.9  # above this KV-cache share the engine preempts: one more replica, whatever the request count


def engine_load(context: AutoscalingContext) -> tuple[int, dict[str, Any]]:
    """The wanted number of replicas, and no state.

    The target is `target_ongoing_requests` of the deployment's configuration: running plus waiting requests that one
    replica should have.
    """
    assert context.config is not None, "Serve gives a deployment's own policy its configuration"
    reported = context.aggregated_metrics or {}
    load = sum(reported.get("load", {}).values())
    fullest = max(reported.get("kv_cache_usage", {}).values(), default=0.0)
    wanted = math.ceil(load / context.config.target_ongoing_requests)
    if fullest > FULL_CACHE:
        wanted = max(wanted, context.current_num_replicas + 1)
    if sum(reported.get("ready", {}).values()) < context.current_num_replicas:
        # An engine starts or restarts. Serve does not know which: to take one away now could take the one that answers.
        wanted = max(wanted, context.current_num_replicas)
    bounded = max(context.capacity_adjusted_min_replicas, min(context.capacity_adjusted_max_replicas, wanted))
    return bounded, {}
