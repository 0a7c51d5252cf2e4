"""Words that clearly mean an agent, and words that may mean one: then a model chooses.

A message without any of them is conversation, which needs no model to decide: most messages to a friend are. Other
languages are in `agents.auto.words`.
"""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from agents.auto.words import MAYBE, SURE

_GAME = (
    r"(?:hangman|trivia|quiz|text adventure|tic[- ]?tac[- ]?toe|noughts and crosses|word ?chain|"
    r"(?:twenty|20) questions|riddles?|brain ?teasers?|guessing game)"
)
_SONGS = (
    r"(?:song|songs|music|playlist|tunes?|track|tracks|album|albums|artist|band|singer|lullaby|lullabies|gaan|gana)"
)
_SHOWS = r"(?:video|videos|youtube|documentary|documentaries|vlog|channel|clip|clips|tutorial|tutorials)"
_LECTURES = r"(?:lecture|lectures|talk|interview|trailer)"  # as something to watch, only where one is to be found
_TIME = (
    r"(?:(?:\d{1,3}|five|ten|fifteen|twenty|thirty|forty|sixty) (?:minutes?|mins?)|(?:\d|an|one|two) hours?|"
    r"half an hour)"
)
# A request without a verb: "Sad Hindi songs, please", "A cooking video for half an hour". No more than a few words
# before the thing, none of which makes it somebody's, or one that was told of.
_NOT_A_REQUEST = (
    r"(?!(?:i|you|we|he|she|they|it|my|your|our|his|her|their|that|this|those|these|the|no|not|never|old|love|hate|like|"
    r"is|are|was|were|do|does|did|had|have|will|would|could|when|where|why|who|how|good|nice|great)\b)"
)
_BEFORE = rf"^\W*{_NOT_A_REQUEST}(?:[\w'-]+\s+){{0,4}}"
_AFTER = r"(?:\s+(?:for|from|of|about|to|with|by|in|on)\b[^.!?]{0,40}|,\s*[^.!?]{0,25})?\W*$"
_ASKS = (
    r"(?:play|find|recommend|suggest|make|give|want|need|show|put on|turn on|create|build|update|queue|line up|pull up|"
    r"look up|is there|are there|any|some|what)"
)
_MOOD = r"(?:sad|happy|calm|loud|soft|slow|mellow|gentle|quiet|relaxing|upbeat|romantic|soothing|cheerful|groovy)"
_MOMENT = (
    r"(?:fall asleep|sleep|study|work|run|work out|dance|relax|drive|cook|read|unwind|wake up|sleeping|studying|"
    r"working|running|dancing|driving|cooking|reading)"
)


@dataclass(frozen=True, slots=True)
class Rule:
    """For one agent: the words that clearly mean it, and those that may."""

    agent: str
    sure: Sequence[re.Pattern[str]]
    maybe: Sequence[re.Pattern[str]]


def _rule(agent: str, sure: str, maybe: str) -> Rule:
    english = re.compile(sure, re.IGNORECASE), re.compile(maybe, re.IGNORECASE)
    return Rule(agent, (english[0], *SURE.get(agent, ())), (english[1], *MAYBE.get(agent, ())))


RULES = (
    _rule(
        "games",
        rf"\b(?:play|start|let'?s|try|another|want|round of)\b.{{0,20}}\b{_GAME}\b|^\s*{_GAME}(?:[.!?\s]*$|,)|"
        r"\b(?:play|suggest|recommend|want|know|have)\b.{0,20}\bgames?\b|"
        rf"\b(?:ask|tell|give|challenge|test|entertain|quiz) (?:me|us)\b.{{0,30}}\b{_GAME}|\bquiz (?:me|us)\b|"
        rf"\b(?:any(?:one|body)? for|up for|fancy|how about|care for) (?:a|an|some) (?:\w{{1,20}} ){{0,3}}{_GAME}|"
        r"\bguess (?:what|who) i(?:'?m| am) thinking\b|"
        r"\blet'?s play\b(?! it\b)(?!.*\b(?:music|song|video))",
        rf"\b(?:games?|bored|{_GAME}|puzzle)\b",
    ),
    _rule(
        "music",
        rf"\b{_ASKS}\b.{{0,30}}\b{_SONGS}\b|\b{_SONGS}\b.{{0,20}}\b(?:for|like|to)\b.{{0,30}}\b(?:sleep|study|run|work|"
        r"relax|party|mood|today|dance)|\bsomething to listen to\b|"
        r"\b(?:feel like|want to|love to|like to|let me) (?:hear|hearing|listening to|listen to)\b.{0,30}"
        rf"\b{_SONGS}\b|"
        r"\bwhat (?:should|can|could) (?:i|we) listen to\b|"
        rf"{_BEFORE}(?:songs?|music|playlist|tunes?|lullaby|lullabies){_AFTER}|"
        rf"\b(?:play|put on|turn on|hear) (?:me |us )?something (?:\w{{1,12}} )?{_MOOD}\b|"
        rf"^\W*something (?:\w{{1,12}} )?{_MOOD} (?:to|for) {_MOMENT}\b|"
        r"\bsomething with an? (?:\w{1,12} )?(?:beat|groove|melody)\b",
        rf"\b(?:{_SONGS}|listen|listening|lyrics|spotify)\b",
    ),
    _rule(
        "video",
        rf"\b{_ASKS}\b.{{0,30}}\b{_SHOWS}\b|\bsomething to watch\b|\bwhat (?:should|can|could) (?:i|we) watch\b|"
        rf"\bwatch later\b|{_BEFORE}(?:videos?|documentary|documentaries|tutorials?|clips?){_AFTER}|"
        r"\b(?:find|show|recommend|suggest|pull up|look up)(?: me| us)? (?:an? |the |some )?(?:\w{1,20} ){0,2}"
        rf"{_LECTURES} (?:on|about|of|by|with)\b|"
        r"\b(?:like|love|want) to (?:see something (?:about|on|with)|watch (?:something|somebody|someone|people))\b|"
        r"\banything (?:good |worth watching )?(?:to watch|on youtube)\b|"
        r"\bworth watching\b.{0,10}\b(?:on|about|today|tonight)\b|\bshow (?:me|us) how (?:to|they|you|it|people)\b|"
        rf"\bhow (?:do|can|should) (?:i|you|we)\b.{{3,60}}\bshow me\b|"
        rf"\bi(?:'ve| have)(?: got)?(?: about| only)? {_TIME}\b.{{0,20}}\b(?:something|anything|(?:like|want|love) to "
        r"(?:learn|see|watch)|entertain|show)\b",
        rf"\b(?:{_SHOWS}|watch|watching)\b",
    ),
    _rule(
        "personality",
        r"\b(?:personality|big five|mini[- ]?ipip)\b.{0,20}\b(?:test|questionnaire|quiz|questions|profile)\b|"
        r"\b(?:test|find out|learn about|ask me about)\b.{0,20}\bmy personality\b",
        r"\bpersonality\b",
    ),
)

_FELT = (
    r"(?:sad|down|lonely|alone|awful|terrible|miserable|exhausted|overwhelmed|anxious|stressed|scared|afraid|upset|"
    r"heartbroken|depressed|hopeless|worried|ashamed|worthless|empty|numb|broken|hurt|low|so tired)"
)
_NEAR = (
    r"(?:mother|father|mom|mum|dad|brother|sister|grand(?:ma|pa|mother|father)|wife|husband|boyfriend|girlfriend|"
    r"friend|dog|cat|baby|son|daughter)"
)
_LOST = r"(?:died|passed away|left me|is dying|is (?:very )?(?:sick|ill)|hates me|in (?:the )?hospital)"
_HOW = r"(?: (?:feeling|just|so|really|very|pretty|kind of|a bit|such|too)){0,3}"
_CONFIDES = re.compile(
    r"\b(?:hard|bad|rough|tough|long|terrible|awful|horrible|worst) (?:day|week|night|time|year)\b|"
    rf"\bi(?:'?m| am| feel| felt| have been|'?ve been){_HOW} {_FELT}\b|"
    rf"\bmy {_NEAR}\b.{{0,20}}\b{_LOST}\b|"
    r"\b(?:broke up|breaking up|dumped me|got fired|lost my job|failed (?:my|the) exam|got divorced|diagnosed)\b|"
    r"\bi (?:can'?t stop crying|cried|have been crying|miss (?:him|her|them|my))\b|"
    r"\b(?:nobody|no one) (?:likes|loves|cares|understands)\b|"
    r"\bi need (?:somebody|someone) to talk\b|\bcan we (?:just )?talk\b|"
    r"(?:মন খারাপ|খুব কষ্ট|ভালো লাগছে না|কান্না|একা লাগে|একা লাগছে|দিনটা খারাপ|মারা গেছে)|"
    r"(?:मन उदास|बुरा दिन|दुखी|अकेला महसूस|रो रहा|रो रही|अच्छा नहीं लग|गुज़र गए|गुजर गए|मुश्किल दिन)|"
    r"\b(?:mon kharap|bhalo lagche na|dukhi|udaas|akela|akeli)\b",
    re.IGNORECASE,
)
_RESUMES = re.compile(
    r"^\W*(?:(?:ok(?:ay)?|anyway|so|well|now|please|let'?s|shall we|can we|thanks|thank you)[\s,.!]+){0,5}"
    r"(?:back to|go on|continue|carry on|keep playing|play on|resume|where were we|your turn|my turn|next question|"
    r"(?:finish|go on with|get back to) (?:the|our) (?:game|quiz)|the game)\b",
    re.IGNORECASE,
)


def confides(text: str) -> bool:
    """Whether the person says how they are or what troubles them, which is no move in a game."""
    return _CONFIDES.search(text) is not None


def resumes(text: str) -> bool:
    """Whether the person wants to continue an unfinished activity."""
    return _RESUMES.search(text) is not None


def surely(text: str, among: Iterable[str]) -> str | None:
    """The one available agent that is clearly meant; None if there is none, or several."""
    there = set(among)
    found = [rule.agent for rule in RULES if rule.agent in there and _any(rule.sure, text)]
    return found[0] if len(found) == 1 else None


def possibly(text: str, among: Iterable[str]) -> list[str]:
    """The available agents that may be meant."""
    there = set(among)
    return [rule.agent for rule in RULES if rule.agent in there and (_any(rule.maybe, text) or _any(rule.sure, text))]


def _any(patterns: Sequence[re.Pattern[str]], text: str) -> bool:
    return any(pattern.search(text) for pattern in patterns)
