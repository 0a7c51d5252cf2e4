"""Memories that contradict each other are both shown, marked as contested; what has ended is not."""

from datetime import UTC, datetime

import pytest

from memory.recall.contested import Claim, claim_of
from memory.service import MemoryService
from memory.unicode_text import without_accents
from serving.chat_memory.prompt import recalled_lines
from storage.memory.memories import NewMemory
from storage.memory.owner import Owner

ANN = Owner("app", "ann")
DAY = datetime(2026, 1, 1, tzinfo=UTC)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Lives in Porto", Claim("home", "porto")),
        ("I moved to the old town of Porto.", Claim("home", "old town porto")),
        ("Ich wohne jetzt in München", Claim("home", "munchen")),
        ("Vivo en Málaga", Claim("home", "malaga")),
        ("मैं दिल्ली में रहता हूँ", Claim("home", "दिल्ली")),
        ("আমি ঢাকায় থাকি", Claim("home", "ঢাকায়")),
        ("Works as a nurse", Claim("job", "nurse")),
        ("Sie arbeitet als Lehrerin", Claim("job", "lehrerin")),
        ("Is a vegan", Claim("diet", "vegan")),
        ("Soy vegetariana", Claim("diet", "vegetarian")),
        ("Is married to Tom", Claim("relation", "married")),
        ("Ist geschieden", Claim("relation", "divorced")),
        ("Does not live in Porto", None),
        ("Is no longer vegan", None),
        ("Ich bin nicht verheiratet", None),
        ("Likes Porto", None),
        ("My favourite single is by Adele", None),
    ],
)
def test_claims_are_read_in_five_languages(text: str, expected: Claim | None) -> None:
    """Home, job, diet and relation; what is denied claims nothing."""
    assert claim_of(text) == (None if expected is None else Claim(expected.slot, without_accents(expected.value)))


async def told(store: MemoryService, question: str, limit: int = 9) -> dict[str, tuple[str, ...]]:
    """Return what is recalled, each with what contests it."""
    found = await store.recall(ANN, question, limit=limit)
    return {each.record.id: each.ranked.contested_by for each in found}


async def test_both_are_shown_with_dates(store: MemoryService) -> None:
    """Even beyond the limit; not of somebody else, nor of what has ended, nor what says the same."""
    await store.add(ANN, NewMemory("Lives in Porto", event_at=DAY), id_="porto")
    await store.add(ANN, NewMemory("Lives in porto, by the way"), id_="same")
    await store.add(ANN, NewMemory("Lives in Faro", speaker="Bob"), id_="bob")
    await store.add(ANN, NewMemory("Likes tea"), id_="tea")
    assert not any((await told(store, "Who lives in Porto?")).values())
    await store.add(ANN, NewMemory("Moved to Oslo", speaker="user"), id_="oslo")
    found = await told(store, "Porto Lives in", limit=1)
    assert found == {"porto": ("oslo",), "oslo": ("porto",)} or found == {"same": ("oslo",), "oslo": ("same",)}
    assert (await told(store, "tea"))["bob"] == ()
    lines = recalled_lines(await store.recall(ANN, "Who lives in Porto?", limit=9))
    contested = [line for line in lines if "contested" in line]
    assert len(contested) == 3
    assert any(line.startswith("- 2026-01-01, remembered: Lives in Porto (contested") for line in contested)
    await store.edit(ANN, "oslo", {"valid_until": DAY})
    assert not any((await told(store, "Who lives in Porto?")).values())
    before = await told(store, "Did I live in Porto, or in Oslo before?")
    assert before["oslo"] == before["porto"] == (), "one of them has ended, so the other holds"
