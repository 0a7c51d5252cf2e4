"""Detects personal messages, which must not get the cached answer to a similar message.

People who write about themselves, people around them or feelings expect an answer of their own, and small differences
matter ("I am fine", "I am not fine"). So a message counts as impersonal only if it is in ASCII letters (the word lists
and the embedder are English) and none of its words is about a person. A false positive only costs a generation. Names
are not recognised: a name alone does not make a message personal.
"""

import re

_WORD = re.compile(r"[a-z]+(?:'[a-z]+)?")
_PEOPLE = """
i i'm i've i'd i'll im ive me my mine myself we we're we've we'd we'll us our ours ourselves he he's him his himself
she she's her hers herself they they're them their theirs themselves you're your yours yourself u ur mom mum mother
dad father parents brother sister son daughter baby wife husband girlfriend boyfriend partner ex friend friends
grandma grandpa grandmother grandfather uncle aunt cousin boss colleague roommate teacher therapist
"""
_FEELINGS = """
feel feels feeling feelings felt sad happy unhappy angry upset lonely alone afraid scared anxious anxiety worried
depressed depression stressed stress tired exhausted hurt hurts hurting cry crying cried love loved hate hated miss
missing lost grief guilty ashamed hopeless worthless empty numb overwhelmed panic suicide suicidal die dying dead
death kill harm cutting abuse abused goodbye sorry help
"""
_BODY = """
pain painful ache headache sick ill illness disease cancer diagnosis diagnosed symptom symptoms doctor hospital
medication medicine pills dose pregnant pregnancy period weight diet sleep insomnia therapy password address salary
rent debt birthday secret
"""
_PERSONAL = frozenset(" ".join((_PEOPLE, _FEELINGS, _BODY)).split())
_ANYBODY = re.compile(
    r"^(?:how|what|where|when|which \w+) (?:do|can|could|should|would) (?:i|we) "
)  # here "I" and "we" mean anybody


def is_personal(text: str) -> bool:
    """Whether the message is, or may be, about its author or people around them."""
    lower = _ANYBODY.sub("", text.replace("’", "'").lower())  # noqa: RUF001  # as phones write it
    return not lower.isascii() or not _PERSONAL.isdisjoint(_WORD.findall(lower))
