"""The Mini-IPIP: twenty phrases, four a trait, each answered from 1 (very inaccurate) to 5 (very accurate).

Items and key are in the public domain: https://ipip.ori.org/MiniIPIPKey.htm (M. B. Donnellan and others, "The Mini-IPIP
scales", Psychological Assessment 18, 2006). Two items of a trait are keyed the other way, three of openness, which that
page calls intellect or imagination; the alphas are that page's.
"""

from dataclasses import dataclass
from typing import Literal, get_args

Trait = Literal["extraversion", "agreeableness", "conscientiousness", "neuroticism", "openness"]
TRAITS: tuple[Trait, ...] = get_args(Trait)
ALPHA: dict[Trait, float] = {
    "extraversion": 0.77,
    "agreeableness": 0.70,
    "conscientiousness": 0.69,
    "neuroticism": 0.68,
    "openness": 0.65,
}
ANSWERS = (
    "very inaccurate",
    "moderately inaccurate",
    "neither accurate nor inaccurate",
    "moderately accurate",
    "very accurate",
)
LOWEST, HIGHEST = 1, len(ANSWERS)


@dataclass(frozen=True, slots=True)
class Item:
    """One phrase; `reversed_`: agreeing with it means less of the trait."""

    number: int
    text: str
    trait: Trait
    reversed_: bool = False

    def value(self, answer: int) -> int:
        """What an answer says of the trait, from 1 to 5."""
        return LOWEST + HIGHEST - answer if self.reversed_ else answer


ITEMS: tuple[Item, ...] = (
    Item(1, "Am the life of the party.", "extraversion"),
    Item(2, "Sympathize with others' feelings.", "agreeableness"),
    Item(3, "Get chores done right away.", "conscientiousness"),
    Item(4, "Have frequent mood swings.", "neuroticism"),
    Item(5, "Have a vivid imagination.", "openness"),
    Item(6, "Don't talk a lot.", "extraversion", reversed_=True),
    Item(7, "Am not interested in other people's problems.", "agreeableness", reversed_=True),
    Item(8, "Often forget to put things back in their proper place.", "conscientiousness", reversed_=True),
    Item(9, "Am relaxed most of the time.", "neuroticism", reversed_=True),
    Item(10, "Am not interested in abstract ideas.", "openness", reversed_=True),
    Item(11, "Talk to a lot of different people at parties.", "extraversion"),
    Item(12, "Feel others' emotions.", "agreeableness"),
    Item(13, "Like order.", "conscientiousness"),
    Item(14, "Get upset easily.", "neuroticism"),
    Item(15, "Have difficulty understanding abstract ideas.", "openness", reversed_=True),
    Item(16, "Keep in the background.", "extraversion", reversed_=True),
    Item(17, "Am not really interested in others.", "agreeableness", reversed_=True),
    Item(18, "Make a mess of things.", "conscientiousness", reversed_=True),
    Item(19, "Seldom feel blue.", "neuroticism", reversed_=True),
    Item(20, "Do not have a good imagination.", "openness", reversed_=True),
)
