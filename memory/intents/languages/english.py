"""English."""

from memory.intents.language import THING, IntentLanguage, Meaning, words

# What may stand before the order, and after it.
_GREETING = r"(?:(?:hey|hi|hello|oh|ok|okay|so|and|also|but|now|no|yes|well|actually|sorry|bondhu)\b[,!.]?\s+)*"
_PLEASE = r"(?:(?:please|pls|kindly|just|maybe)\b,?\s+)*"
_POLITELY = r"(?:can|could|would|will)\s+you\s+please\b"
_ASKING = r"(?:(?:can|could|would)\s+you|will\s+you\s+please)\b"
_WANTING = r"i(?:'d|\s+would)?\s+(?:really\s+)?(?:like|want|need|wish)\s+(?:for\s+)?you\s+to\s+"
_BEGIN = rf"{_GREETING}(?:{_PLEASE}|{_POLITELY}\s+|{_WANTING}){_PLEASE}"
_BEGIN_FORGET = (
    rf"{_GREETING}(?:{_PLEASE}|{_ASKING}\s+|{_WANTING}|you\s+(?:should|must|have\s+to|need\s+to)\s+){_PLEASE}"
)
_THANK = r"please|pls|thanks|thank\s+you"
_THANKS = rf"(?:,?\s+(?:{_THANK})|,\s*ok(?:ay)?)*\W{{0,30}}"
_DONE = rf"(?:,?\s+(?:{_THANK}|ok|okay|now|for\s+good|forever|completely|for\s+me|for\s+later))*\W{{0,30}}"
_AGAIN = rf"(?:,?\s+(?:{_THANK}|ok|okay|again|any\s?more|ever|to\s+me|with\s+me))*\W{{0,30}}"
# With what a sentence begins that tells something: "that my cat ..."; "that cat" points at something.
_OWN = r"(?:i|i'\w+|my|we|we'\w+|our)\b"
_NAME = r"(?-i:[^\W\d_a-z])"
_OTHERS = r"(?:he|she|it|they)(?:'\w+)?\b|(?:his|her|their|its|the|an?|there|today|tomorrow|every|both|if|when|on|in)\b"
_SUBJECT = rf"(?:{_OWN}|{_OTHERS}|there's\b|{_NAME})"
_SAID = (
    r"i(?:'ve|\s+have)?(?:\s+(?:just|ever|once|already))?\s+(?:told|said|mentioned|wrote|asked)(?:\s+to)?(?:\s+you)?"
)
_BEFORE = rf"(?:that|this|(?:what|everything|anything)\s+(?:that\s+)?{_SAID}(?:\s+just\s+now)?)"
_LAST = r"(?:my\s+)?(?:last|previous)\s+(?:message|sentence|thing)"
_ONE_THING = r"\S[^,;:\u2013\u2014]*?"  # what follows a comma is most often: "..., let's talk of something else"
_DELETE = r"(?:delete|erase|remove|wipe|clear|drop|purge)(?:\s+out)?"
_MEMORY = r"(?:your|the)\s+(?:memory|memories|mind|head|records?|notes?|database|storage)"
_ALL = r"(?:everything|anything|all(?:\s+of\s+it)?|what(?:ever)?)"
_KNOWN = (
    rf"(?:\s+(?:that\s+)?(?:you(?:'ve|\s+have)?\s+(?:ever\s+)?(?:know|remember|learned|learnt|stored|saved|kept|noted|have"
    rf"(?:\s+(?:stored|saved))?|got)|there\s+is|{_SAID}))"
)
_FROM = rf"(?:\s+(?:from|in)\s+{_MEMORY})?"

_DONT = r"(?:don't|do\s+not|dont)"
_KEEP = rf"(?:remember|{_DONT}\s+forget|keep\s+in\s+mind|make\s+a\s+note)"
_REMEMBER = (
    rf"{_KEEP}(?:\s+(?:this|that))?\s*(?P<rest>:)\s*(?P<about>\S.*)",
    rf"{_KEEP}\s+(?:this|that)\s*[,;\u2013\u2014-]\s*(?P<about>{_SUBJECT}.*?){_THANKS}",
    rf"{_KEEP}\s+that,?\s+(?P<about>{_SUBJECT}.*?){_THANKS}",
    rf"remember,\s+(?P<about>{_SUBJECT}.*?){_THANKS}",
    rf"{_DONT}\s+forget\s+(?P<about>{_OWN}\s.*?){_THANKS}",
    rf"remember\s+(?P<about>my\s+\S.*?\s(?:is|are|isn't|aren't)\s.*?){_THANKS}",
    rf"remember\s+(?P<about>i(?:'m|\s+(?:am|have|can't|never|always|don't|hate|love|like))\s.*?){_THANKS}",
    rf"(?:remember|{_DONT}\s+forget)\s+{_BEFORE}{_DONE}",
    rf"(?:keep|make\s+a\s+note\s+of)\s+(?:that|this)(?:\s+in\s+mind)?{_DONE}",
)
_FORGET_ALL = (
    rf"(?:forget|{_DELETE})\s+{_ALL}{_KNOWN}?\s+(?:about|on|of)\s+(?:me|myself){_FROM}{_DONE}",
    rf"(?:forget|{_DELETE})\s+(?:all\s+(?:of\s+)?)?(?:your|the)\s+memor(?:y|ies)\s+(?:of|about)\s+(?:me|myself){_DONE}",
)
_FORGET = (
    rf"forget\s+(?:{_BEFORE}|{_LAST}|(?:that\s+)?{_SAID}(?:\s+(?:that|this|anything|it|so))?){_DONE}",
    rf"(?:delete|erase)\s+(?:what\s+{_SAID}|{_LAST}){_DONE}",
    rf"{_DELETE}\s+(?:that|this|it)\s+from\s+{_MEMORY}{_DONE}",
    rf"(?:forget|{_DELETE})\s+{_ALL}{_KNOWN}?\s+(?:about|on|of|to\s+do\s+with|concerning)\s+{THING}{_FROM}{_DONE}",
    rf"{_DELETE}\s+(?:the|your|that|any|all)\s+(?:\w+\s+)?memor(?:y|ies)\s+(?:of|about)\s+{THING}{_DONE}",
    rf"{_DELETE}\s+{THING}\s+from\s+{_MEMORY}{_DONE}",
    rf"forget\s+(?:that\s+)?{_SAID}\s+that\s+(?P<clause>\S.*?){_THANKS}",
    rf"forget\s+(?:that\s+)?{_SAID}\s+about\s+{THING}{_THANKS}",
    rf"forget\s+that\s+(?P<clause>{_SUBJECT}.*?){_THANKS}",
    rf"forget\s+(?P<clause>(?:i|i'm|i've|we)\s.*?){_THANKS}",
    rf"forget\s+(?:all\s+|everything\s+)?about\s+(?P<about>(?:(?:my|our)\s+|{_NAME}){_ONE_THING}){_DONE}",
    rf"forget\s+(?P<about>(?:my|our)\s+{_ONE_THING}){_DONE}",
)
_NEVER = rf"(?:{_DONT}|never)(?:\s+ever)?"
_TALK = r"(?:talk|speak|ask)(?:\s+(?:to\s+)?me)?\s+about"
_NO_MORE = rf"\s+(?:any\s?more|again|ever){_AGAIN}"
_MUTE = (
    rf"{_NEVER}\s+(?:bring|dig)\s+{THING}\s+up{_AGAIN}",
    rf"{_NEVER}\s+(?:bring\s+up|dig\s+up|mention|{_TALK}|remind\s+me\s+(?:of|about))\s+{THING}{_AGAIN}",
    rf"stop\s+bringing\s+{THING}\s+up{_AGAIN}",
    rf"stop\s+(?:mentioning|bringing\s+up|talking\s+about|asking(?:\s+me)?\s+about)\s+{THING}{_AGAIN}",
    rf"stop\s+reminding\s+me\s+(?:of|about)\s+{THING}{_AGAIN}",
    rf"i\s+(?:{_DONT}|never)\s+(?:ever\s+)?want\s+to\s+(?:talk|hear|speak)\s+about\s+{THING}{_NO_MORE}",
    rf"let's\s+(?:not|never)\s+talk\s+about\s+{THING}{_NO_MORE}",
)
_MAY = r"(?:you\s+(?:can|may|could)|it(?:'s|\s+is)\s+(?:ok|okay|fine|all\s*right)\s+to|feel\s+free\s+to)\s+(?:now\s+)?"
_ANEW = rf"\s+(?:again|any\s?time|now){_DONE}"
_LIFT = (
    rf"{_MAY}(?:bring\s+up|mention|talk\s+about|speak\s+about|ask(?:\s+me)?\s+about)\s+{THING}{_ANEW}",
    rf"{_MAY}bring\s+{THING}\s+up{_ANEW}",
)
_UNDO = (
    rf"undo(?:\s+(?:that|it|this))?{_DONE}",
    rf"(?:bring|put|get|give)\s+(?:me\s+)?(?:that|it|them|those)\s+back{_DONE}",
    rf"(?:restore|un-?forget)\s+(?:that|it|them|those){_DONE}",
)
_UNSURE = (
    rf"forget\s+(?:everything|it\s+all|all\s+of\s+(?:it|that)){_DONE}",
    rf"forget\s+(?P<about>{_NAME}{_ONE_THING}){_DONE}",
    rf"{_DELETE}\s+(?:that|this|it\s+all|everything){_DONE}",
    rf"(?:you\s+(?:can|may)|will\s+you)\s+(?:now\s+)?(?:forget|{_DELETE})\s+(?:about\s+)?{THING}{_DONE}",
)


def _after(begin: str, *patterns: str) -> tuple[str, ...]:
    return tuple(begin + each for each in patterns)


_WORKED_ON = (
    r"\b(?:translat|summari[sz]|paraphras|rephras|rewrit|reword|proofread|transcri|lyric)\w*"
    r"|\b(?:summary|song|poem|verse|chorus|quote[ds]?|quotation|e-?mail|letter|script|dialogue|sincerely|regards)\b"
    r"|\bin\s+(?:other|plain|simple)\s+words\b|\bdear\s+\w+,"
    r"|\b(?:write|compose|draft|continue|complete|finish|correct|check)\s+(?:a|an|the|this|my|me)\b"
    r"|\b(?:in|into|to)\s+(?:english|bengali|bangla|hindi|urdu|french|german|spanish|italian|portuguese|arabic|chinese"
    r"|japanese|korean|russian|turkish|dutch|polish|tamil|latin)\b"
    r"|\b(?:suppose|imagine|pretend|hypothetically|what\s+if|role-?play)\b"
    r"|\b(?:wrote|write|says?|said|sings?|sang|goes|reads?|texted|sent)(?:\s+(?:me|this|that|it))?\W{0,9}$"
)
ENGLISH = IntentLanguage(
    code="en",
    trigger=r"\b(?:forget|remember|mind|note|delete|erase|remove|wipe|clear|drop|purge|bring\w*|dig|mention\w*|talk\w*|speak"
    r"|ask\w*|remind\w*|hear|undo|restore|un-?forget|put|get|give)\b",
    patterns={
        "remember": _after(_BEGIN, *_REMEMBER),
        "forget_all": _after(_BEGIN_FORGET, *_FORGET_ALL),
        "forget": (
            *_after(_BEGIN_FORGET, *_FORGET),
            rf"{_GREETING}you\s+(?:can|may)\s+(?:now\s+)?(?:forget|{_DELETE})\s+(?:everything|all)(?:{_KNOWN})?"
            rf"\s+about\s+{THING}{_DONE}",
        ),
        "mute": _after(_BEGIN_FORGET, *_MUTE),
        "lift": _after(_GREETING, *_LIFT),
        "undo": _after(_BEGIN_FORGET, *_UNDO),
        "unsure": _after(_BEGIN_FORGET, *_UNSURE),
    },
    polite=_GREETING + rf"(?:{_POLITELY}|{_ASKING}\s+{_PLEASE}(?:forget|{_DELETE}|stop|not\s+mention|undo)\b)",
    pasted=_WORKED_ON,
    pointing=r"(?:that|this|it|them|those|these|him|her|me|us|you|yourself|everything|anything|all)\b",
    temporary=r"\b(?:today|tonight|now|yet|at\s+the\s+moment|for\s+a\s+while|this\s+(?:week|month|morning|evening)|until|unless)\b"
    r"|\b(?:to|with|in\s+front\s+of)\s+(?:him|her|them|my|the|anyone|anybody)\b",
    hint=rf"\b(?:forget|{_DELETE}|get\s+rid\s+of)\b.*\b(?:memor(?:y|ies)|you\s+(?:know|remember|have)|about\s+me|told\s+you)\b",
    meaning=Meaning(
        own=words("i im i'm i've i'd i'll we we're we've"),
        addressed=words("you you're you've you'd"),
        third=words("he she they he's she's they're it's"),
        others=words(
            """
            who everyone everybody someone somebody nobody people mother father mum mom dad sister brother son
            daughter wife husband partner girlfriend boyfriend friend friends aunt uncle cousin grandmother
            grandfather grandma grandpa niece nephew boss colleague colleagues neighbour neighbor neighbours neighbors
            roommate flatmate teacher kids children parents ex baby cat dog
            """
        ),
        possessive=words("my our mine"),
        foreign=words("his her their your its"),
        negations=words(
            """
            not no never nothing none neither nor without cannot hardly stopped quit nt used longer anymore
            """
        ),
        breaks=words("but although though while whereas because"),
        namesakes=words(
            """
            will may can mark rose hope faith grace joy june april august bill sue pat art drew jack frank rich guy
            gene dawn summer autumn sky sunny rob don van grant chase miles max penny ruby pearl amber ivy lily daisy
            iris olive ginger basil wade heath cliff glen dean earl duke king prince christian victor hunter mason
            cooper page paige ray jay robin angel star misty stormy crystal jade opal gem an so
            """
        ),
        before_month=words(
            """
            in since until by during last next this early late mid of from every
            """
        ),
        openers=words(
            """
            yes no well so and then now today yesterday tomorrow sometimes often usually always also actually honestly
            since when because if while after before there here the a an this that these those some all only just even
            still what
            """
        ),
    ),
)
