"""English."""

from memory.times.grammar import TimeLanguage

_THE = r"(?:the )?"
_ORDINAL = r"(?:st|nd|rd|th)?"

ENGLISH = TimeLanguage(
    months=(
        *("january|jan[.]?", "february|feb[.]?", "march|mar[.]?", "april|apr[.]?", "may", "june|jun[.]?"),
        *("july|jul[.]?", "august|aug[.]?", "september|sept?[.]?", "october|oct[.]?", "november|nov[.]?"),
        "december|dec[.]?",
    ),
    weekdays=(
        *("monday|mon[.]?", "tuesday|tues?[.]?", "wednesday|wed[.]?", "thursday|thu(?:rs?)?[.]?", "friday|fri[.]?"),
        *("saturday", "sunday"),
    ),
    numbers={
        "an?|one": 1,
        "two|a couple(?: of)?|couple(?: of)?": 2,
        "three|a few|few": 3,
        "four": 4,
        "five": 5,
        "six": 6,
        "seven": 7,
        "eight": 8,
        "nine": 9,
        "ten": 10,
        "eleven": 11,
        "twelve": 12,
    },
    units={
        "day": "days?",
        "weekend": "weekends?",
        "week": "weeks?",
        "month": "months?",
        "year": "years?",
    },
    days={
        "the day before yesterday": -2,
        "yesterday": -1,
        "today": 0,
        "tomorrow": 1,
        "the day after tomorrow": 2,
    },
    parts={
        "morning": "morning",
        "noon": "noon|midday",
        "afternoon": "afternoon",
        "evening": "evening",
        "night": "night",
    },
    seasons=("spring", "summer", "autumn|fall", "winter"),
    holidays={
        "christmas(?: eve| day)?|xmas": (12, 24, 3),
        "new year's eve": (12, 31, 1),
        "new year's(?: day)?": (1, 1, 1),
        "halloween": (10, 31, 1),
        "valentine's day": (2, 14, 1),
    },
    which={"last": "last|previous|past", "this": "this", "next": "next|coming|upcoming"},
    days_between=(
        rf"from {_THE}{{day}}{_ORDINAL} to {_THE}{{day2}}{_ORDINAL}(?: of)? {{month}}(?:,? {{year}})?",
        rf"(?:from |between )?{{month}} {{day}}{_ORDINAL} (?:to|and|-) {{day2}}{_ORDINAL}(?:,? {{year}})?",
    ),
    months_between=(r"(?:between|from) {month} (?:and|to|until) {month2}(?:,? (?:of )?{year})?",),
    dates=(
        rf"{{day}}{_ORDINAL}(?: of)? {{month}}(?:,? {{year}})?",
        rf"{{month}} {{day}}{_ORDINAL}(?:,? {{year}})?",
    ),
    month_of_year=(r"{month},? (?:of )?{year}",),
    decade=(r"the (?:19|20)?(?P<decade>[1-9]0)'?s", r"the (?P<decade>(?:19|20)\d0)'?s"),
    ago=(r"{n} {unit} (?:ago|earlier)",),
    lately=(r"(?:the )?(?:last|past) {n} {unit}",),
    ahead=(r"in {n} {unit}", r"{n} {unit} from now"),
    last_night=("last night",),
    tonight=("tonight",),
    day_with_part=("{name_of_day} {part}", "{part} of {name_of_day}"),
    this_part=(r"this {part}",),
    relative=(r"{which} {unit}",),
    on_weekday=(r"(?:on|since|until|{which}|by) {weekday}(?: {part})?", "{weekday} {part}"),
    in_season=(r"{which} {season}", r"(?:in )?(?:the )?{season} (?:of )?{year}"),
    on_holiday=(r"{which} {holiday}", r"{holiday}(?: (?:of |in )?{year})?"),
    month=(r"(?:in|during|since|until|{which}) {month}",),
    year=(r"(?:in|during|since|back in|until) {year}",),
    since=r"\bsince (?:the )?\u25cf|\u25cfsince\b",
    future=r"\b(?:will|shall|won't|going to|gonna|plan(?:s|ned|ning)?|upcoming|coming)\b|'ll\b",
)
