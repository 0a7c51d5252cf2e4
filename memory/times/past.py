"""Whether a question asks for what is no longer so, as in "Where did I live before?".

Then recall also looks at memories whose time has ended; otherwise it leaves them out. By words of several languages;
"before" counts at the end of a question only, because "before Monday" is about something else.
"""

import re

_ENDED = re.compile(
    r"\bbefore\W{0,9}$|\b(?:used\s{1,9}to|previously|formerly|back\s{1,9}then|in\s{1,9}the\s{1,9}past|no\s{1,9}longer)\b"
    r"|\b(?:früher|vorher|damals|ehemals|antes|anteriormente|antaño|autrefois|auparavant|раньше|прежде)\b"
    r"|पहले|আগে|以前|之前|من قبل|سابقا",
    re.IGNORECASE,
)


def asks_for_past(question: str) -> bool:
    """Whether what has ended is asked for."""
    return bool(_ENDED.search(question))
