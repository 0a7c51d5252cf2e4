"""What people say to the agents, and which agent it is for. Written by the author of the rules: expect less of people.

A quarter of them are without any of the words that the rules look for. The rules were mended by those of SEEN; those
of FRESH were written after that, and no rule was changed for them.
"""

from dataclasses import dataclass
from typing import Literal

AgentId = Literal["chat", "music", "video", "games"]


@dataclass(frozen=True, slots=True)
class Said:
    """A message, and the agent that it is for; `is_plain`: no word of it names its kind."""

    text: str
    agent: AgentId
    is_plain: bool = False


SEEN = (
    Said("Play something calm to study", "music"),
    Said("Happy Bengali songs, please", "music"),
    Said("I want some jazz songs from the 60s", "music"),
    Said("Songs for a run", "music"),
    Said("What should I listen to tonight?", "music"),
    Said("Sad Hindi songs", "music"),
    Said("Something with a slow beat for the evening", "music", is_plain=True),
    Said("Put on a bit of Nina Simone", "music", is_plain=True),
    Said("What should I watch? I have 15 minutes", "video"),
    Said("A science video", "video"),
    Said("A cooking video for half an hour", "video"),
    Said("Show me a documentary about the ocean", "video"),
    Said("A Bengali news video, 10 minutes", "video"),
    Said("A video about chess", "video"),
    Said("I have twenty minutes and like to learn about planets", "video", is_plain=True),
    Said("Show me how to fold a paper crane", "video", is_plain=True),
    Said("Let's play twenty questions", "games"),
    Said("Let's play hangman", "games"),
    Said("A round of trivia?", "games"),
    Said("I want to play tic-tac-toe", "games"),
    Said("Start the text adventure", "games"),
    Said("Let's play word chain", "games"),
    Said("I am bored, entertain me with a riddle", "games", is_plain=True),
    Said("Guess what I am thinking of", "games", is_plain=True),
    Said("Hello, how are you?", "chat"),
    Said("I had a long day at work", "chat"),
    Said("My sister is getting married in May", "chat"),
    Said("I am a bit nervous about tomorrow", "chat"),
    Said("What do you think of rainy days?", "chat"),
    Said("Tell me a story", "chat"),
    Said("I cooked dinner for my parents and they liked it", "chat", is_plain=True),
    Said("Thanks, that was kind of you", "chat", is_plain=True),
)
FRESH = (
    Said("Could you find me some reggae?", "music"),
    Said("Lullabies for my daughter", "music"),
    Said("Workout music with a lot of energy", "music"),
    Said("I feel like hearing old film songs", "music"),
    Said("Make a playlist for our road trip", "music"),
    Said("Is there a good clip on how bridges are built?", "video"),
    Said("Ten minutes of comedy", "video", is_plain=True),
    Said("I'd like to see something about volcanoes", "video", is_plain=True),
    Said("Yoga videos for beginners", "video"),
    Said("Find me a lecture on Roman history", "video", is_plain=True),
    Said("Quiz me", "games"),
    Said("Can we play a word game?", "games"),
    Said("Noughts and crosses, I begin", "games"),
    Said("Do you know any games for a train ride?", "games"),
    Said("Do you like music?", "chat"),
    Said("My brother watches too many videos", "chat"),
    Said("We sang old songs around the fire yesterday", "chat"),
    Said("I lost the game, but it was fun", "chat"),
    Said("Good night", "chat"),
    Said("What would you cook for two?", "chat"),
)
MESSAGES = (*SEEN, *FRESH)
