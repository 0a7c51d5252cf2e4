"""What people say to the agents, and which agent it is for. Written by the author of the rules: expect less of people.

A quarter of them are without any of the words that the rules look for. The rules were mended by those of SEEN; those
of FRESH were written after that, and no rule was changed for them.
"""

from dataclasses import dataclass
from typing import Literal

AgentId = Literal["chat", "music", "video", "games"]


@dataclass(frozen=True, slots=True)
class Message:
    """A message, and the agent that it is for; `is_plain`: no word of it names its kind."""

    text: str
    agent: AgentId
    is_plain: bool = False


SEEN = (
    Message("Play something calm to study", "music"),
    Message("Happy Bengali songs, please", "music"),
    Message("I want some jazz songs from the 60s", "music"),
    Message("Songs for a run", "music"),
    Message("What should I listen to tonight?", "music"),
    Message("Sad Hindi songs", "music"),
    Message("Something with a slow beat for the evening", "music", is_plain=True),
    Message("Put on a bit of Nina Simone", "music", is_plain=True),
    Message("What should I watch? I have 15 minutes", "video"),
    Message("A science video", "video"),
    Message("A cooking video for half an hour", "video"),
    Message("Show me a documentary about the ocean", "video"),
    Message("A Bengali news video, 10 minutes", "video"),
    Message("A video about chess", "video"),
    Message("I have twenty minutes and like to learn about planets", "video", is_plain=True),
    Message("Show me how to fold a paper crane", "video", is_plain=True),
    Message("Let's play twenty questions", "games"),
    Message("Let's play hangman", "games"),
    Message("A round of trivia?", "games"),
    Message("I want to play tic-tac-toe", "games"),
    Message("Start the text adventure", "games"),
    Message("Let's play word chain", "games"),
    Message("I am bored, entertain me with a riddle", "games", is_plain=True),
    Message("Guess what I am thinking of", "games", is_plain=True),
    Message("Hello, how are you?", "chat"),
    Message("I had a long day at work", "chat"),
    Message("My sister is getting married in May", "chat"),
    Message("I am a bit nervous about tomorrow", "chat"),
    Message("What do you think of rainy days?", "chat"),
    Message("Tell me a story", "chat"),
    Message("I cooked dinner for my parents and they liked it", "chat", is_plain=True),
    Message("Thanks, that was kind of you", "chat", is_plain=True),
)
FRESH = (
    Message("Could you find me some reggae?", "music"),
    Message("Lullabies for my daughter", "music"),
    Message("Workout music with a lot of energy", "music"),
    Message("I feel like hearing old film songs", "music"),
    Message("Make a playlist for our road trip", "music"),
    Message("Is there a good clip on how bridges are built?", "video"),
    Message("Ten minutes of comedy", "video", is_plain=True),
    Message("I'd like to see something about volcanoes", "video", is_plain=True),
    Message("Yoga videos for beginners", "video"),
    Message("Find me a lecture on Roman history", "video", is_plain=True),
    Message("Quiz me", "games"),
    Message("Can we play a word game?", "games"),
    Message("Noughts and crosses, I begin", "games"),
    Message("Do you know any games for a train ride?", "games"),
    Message("Do you like music?", "chat"),
    Message("My brother watches too many videos", "chat"),
    Message("We sang old songs around the fire yesterday", "chat"),
    Message("I lost the game, but it was fun", "chat"),
    Message("Good night", "chat"),
    Message("What would you cook for two?", "chat"),
)
MESSAGES = (*SEEN, *FRESH)
