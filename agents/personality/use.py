"""The effects of a personality: the friend's tone, and the variety of recommendations. Both are shown to the person.

Only a trait whose interval is on one side of the middle has an effect, and a person's own choice takes precedence. It
never affects safety.
"""

from collections.abc import Mapping, Sequence

from agents.base import RunContext
from agents.personality.profile import load_personality
from agents.personality.scores import Score, scores_of
from agents.ranking.rank import LAMBDA

MORE, LESS = -0.1, 0.1  # of MMR's lambda: a lower one takes more that is unlike


def tone_of(scores: Sequence[Score]) -> dict[str, str]:
    """Changes to a persona's tone."""
    by_trait = {score.trait: score for score in scores}
    changes: dict[str, str] = {}
    if (score := by_trait.get("extraversion")) is not None:
        changes |= {"warmth": "cheerful"} if score.is_high else {"warmth": "calm"} if score.is_low else {}
    if (score := by_trait.get("openness")) is not None and score.is_high:
        changes["length"] = "medium"
    if (score := by_trait.get("conscientiousness")) is not None and score.is_high:
        changes["formality"] = "neutral"
    if (score := by_trait.get("neuroticism")) is not None and score.is_high:
        changes |= {"warmth": "calm", "humour": "none"}
    return changes


def lambda_of(scores: Sequence[Score]) -> float:
    """The weight of fit against variety (`agents.ranking.rank`): people who are more open get more variety."""
    openness = next((score for score in scores if score.trait == "openness"), None)
    if openness is None:
        return LAMBDA
    return LAMBDA + (MORE if openness.is_high else LESS if openness.is_low else 0.0)


async def tone_for(context: RunContext) -> Mapping[str, str]:
    """Changes to the tone for the person of a run; none without a person."""
    return tone_of(await _scores(context))


async def lambda_for(context: RunContext) -> float:
    """The weight of fit for the person of a run."""
    return lambda_of(await _scores(context))


async def _scores(context: RunContext) -> Sequence[Score]:
    if context.state is None or context.owner is None:
        return ()
    known = await load_personality(context.state, context.owner)
    return scores_of(known.answers, corrected=known.corrected, language=known.language)
