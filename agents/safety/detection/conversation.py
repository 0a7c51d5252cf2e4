"""What a conversation says: the latest message, seen with those before it.

Earlier messages strengthen a hint: distress and then a question about a bridge, a clear wish that is taken back, a
question for a friend, distress in turn after turn. Their weight fades by a third each turn. It uses rules only; the
classifier's result (`agents.safety.detection.classifier`) is a level of the latest message. It is no diagnosis.
"""

from collections.abc import Sequence

from agents.safety.detection.rules import CATEGORIES, Signals
from agents.safety.risk import Action, Category, Level, Risk

MAX_TURNS = 12  # of the person, the latest
CARRIED_TURNS = 4  # for which plain words are remembered
FADES = 2 / 3
BUILT_UP = 2.0  # distress in three turns of four, about
WEIGHTS = {Level.NONE: 0.0, Level.DISTRESS: 1.0, Level.VEILED: 1.5, Level.EXPLICIT: 2.0}


def judge(turns: Sequence[Signals], *, language: str = "en", is_minor: bool = False) -> Risk:
    """The risk of the latest of the person's turns (oldest first); `is_minor` from other sources."""
    turns = turns[-MAX_TURNS:]
    if not turns:
        return Risk(language=language, is_minor=is_minor)
    minor = is_minor or any(turn.age is not None for turn in turns)
    latest, before = turns[-1], turns[:-1]
    best, category = Level.NONE, Category.NONE
    reasons: tuple[str, ...] = ()
    for each in CATEGORIES:
        level, why = _self_harm(latest, before) if each is Category.SELF_HARM else _plain(latest, each)
        if each is Category.MINORS and minor and latest.sexual:
            level, why = Level.EXPLICIT, ("minor_and_sexual",)
        if level > best:
            best, category, reasons = level, each, why
    return Risk(best, category, _action(best, category), reasons, language, minor)


def _plain(latest: Signals, category: Category) -> tuple[Level, tuple[str, ...]]:
    level = latest.level(category)
    return level, (f"rule:{category}.{level.name.lower()}",) if level else ()


def _self_harm(latest: Signals, before: Sequence[Signals]) -> tuple[Level, tuple[str, ...]]:
    level, reasons = _plain(latest, Category.SELF_HARM)
    recent = max((turn.level(Category.SELF_HARM) for turn in before[-CARRIED_TURNS:]), default=Level.NONE)
    unwell = level >= Level.DISTRESS or recent >= Level.DISTRESS
    if latest.means and unwell:
        plain = max(level, recent) >= Level.VEILED
        return (Level.EXPLICIT if plain else max(level, Level.VEILED)), (*reasons, "means_after_distress")
    raised = level
    if latest.for_friend and unwell:
        raised, reasons = max(raised, Level.VEILED), (*reasons, "for_a_friend")
    if latest.retracts and recent >= Level.VEILED:
        raised, reasons = max(raised, Level.VEILED), (*reasons, "retraction")
    if level == Level.DISTRESS and recent >= Level.VEILED:
        raised, reasons = max(raised, Level.VEILED), (*reasons, "earlier_turn")
    weight = sum(
        WEIGHTS[turn.level(Category.SELF_HARM)] * FADES**age for age, turn in enumerate(reversed([*before, latest]))
    )
    if level and raised < Level.VEILED and weight >= BUILT_UP:
        raised, reasons = Level.VEILED, (*reasons, "builds_up")
    if not raised and recent >= Level.VEILED:
        raised, reasons = Level.DISTRESS, ("earlier_turn",)
    return raised, reasons


def _action(level: Level, category: Category) -> Action:
    if level <= Level.DISTRESS:
        return Action.CONTINUE
    if level is Level.EXPLICIT and category is Category.SELF_HARM:
        return Action.FIXED_REPLY
    if level is Level.EXPLICIT and category is Category.MINORS:
        return Action.REFUSE
    return Action.ADD_HELP
