"""Which version of each model serves which share, since when, and who changed it: a part of `bondhu status`.

It is read from the cluster's routing table, which Ray's dashboard shows as the `user_config` of the deployment
Directory; while the cluster is away, from what was last applied.
"""

from datetime import datetime
from typing import Any

from serving.cli.cluster.live import directory_api
from serving.cli.console import out
from serving.cluster.apply import last_applied
from serving.cluster.manifest import routes_of
from serving.cluster.serve_api import ClusterError
from serving.config.schema import Settings


def read_versions(settings: Settings) -> list[dict[str, Any]]:
    """The versions: model, fingerprint, share, since (epoch seconds), by."""
    versions: Any
    try:
        versions = directory_api(settings).read()["routing"].get("versions", [])
    except ClusterError:
        document = last_applied(settings)
        versions = [] if document is None else routes_of(document).get("versions", [])
    return list(versions)


def show_versions(versions: list[dict[str, Any]]) -> None:
    """Print a line for each."""
    for each in versions:
        since = datetime.fromtimestamp(each["since"]).astimezone()
        out.print(
            f"{each['model']:<20} {each['fingerprint']}  {each['share']:.0%} of its requests since "
            f"{since:%Y-%m-%d %H:%M:%S}, changed by {each['by']}",
            markup=False,
            soft_wrap=True,
        )
