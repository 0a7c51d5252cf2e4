"""Recognises questions about the past, such as "Where did I live before?".

For these, recall includes memories that are no longer valid. It uses words of several languages; "before" counts only
at the end of a question, because "before Monday" means something else.
"""

import re

_ENDED = re.compile(
    r"\bbefore\W{0,9}$|\b(?:used\s{1,9}to|previously|formerly|back\s{1,9}then|in\s{1,9}the\s{1,9}past|no\s{1,9}longer)\b"
    r"|\b(?:früher|vorher|damals|ehemals|antes|anteriormente|antaño|autrefois|auparavant|раньше|прежде)\b"
    r"|पहले|আগে|以前|之前|من قبل|سابقا",
    re.IGNORECASE,
)


def asks_for_past(question: str) -> bool:
    """Whether a question asks for what is no longer valid."""
    return bool(_ENDED.search(question))
