"""German."""

from memory.intents.language import THING, IntentLanguage, Meaning, words

_GREETING = r"(?:(?:hey|hi|hallo|ok|okay|also|und|ach|nein|ja|gut|du|so|bondhu)\b[,!.]?\s+)*"
_PLEASE = r"(?:(?:bitte|mal|einfach|doch|jetzt|sofort)\s+)*"
_DONE = r"(?:,?\s+(?:bitte|danke|wieder|ok|okay|endgültig|für\s+immer|ganz|komplett|jetzt|sofort))*\W{0,30}"
_CAN = rf"(?:kannst|könntest|würdest|magst|können|könnten)\s+(?:du|sie)\s+{_PLEASE}"
_WANT = rf"ich\s+(?:möchte|will|wünsche\s+mir|hätte\s+gern|brauche\s+es),?\s+dass\s+du\s+{_PLEASE}"
_SHALL = rf"du\s+(?:sollst|solltest|musst)\s+{_PLEASE}"
_FORGET = rf"{_PLEASE}verg(?:iss|iß|essen\s+sie)\s+{_PLEASE}"
_THAT = r",?\s*da(?:ss|ß)\s+"
_CLAUSE = rf"(?P<clause>\S.*?){_DONE}"
_ABOUT = r"(?:über|von|zu|bezüglich|rund\s+um|betreffend)"
_DELETE = rf"{_PLEASE}(?:lösche?|löschen\s+sie|entferne?|streiche?|tilge?|radiere?)\s+{_PLEASE}"
_DELETING = r"(?:löschen|entfernen|streichen|tilgen)"
_MEMORY = r"aus\s+(?:deine[mnr]|dem|ihre[mnr])\s+(?:gedächtnis|speicher|kopf|notizen|erinnerung(?:en)?|daten)"
_KNOW = r"(?:weißt|weisst|kennst|gespeichert\s+hast|gemerkt\s+hast|dir\s+gemerkt\s+hast|wissen)"
_SAID = r"(?:erzählt|gesagt|geschrieben|berichtet|anvertraut)(?:\s+hab(?:e|')?)?"
_WHEN = r"(?:(?:gerade|eben|vorhin|soeben|je|jemals|mal|zuletzt|dir)\s+)*"
_OWN_THING = r"(?P<about>(?:mein|unser)\w*\s+[^,;:]{1,60}?)"
_NEVER = r"(?:nie\s+(?:wieder|mehr)|niemals\s+(?:wieder|mehr)|nicht\s+(?:mehr|wieder)|nimmer)"

GERMAN = IntentLanguage(
    code="de",
    trigger=r"\b(?:verg(?:iss|iß|esse[nt]?|isst|aß)|lösch\w*|entfern\w*|streich\w*|tilg\w*|merk\w*|denke?|behalte?|"
    r"sprich|sprech\w*|rede\w*|erwähn\w*|hör\w*|rückgängig|wiederherstell\w*|stell|hol|erinner\w*)\b",
    patterns={
        "remember": tuple(
            _GREETING + each
            for each in (
                rf"{_PLEASE}merke?\s+dir\s*{_PLEASE}(?P<rest>:)\s*(?P<about>\S.*)",
                rf"{_PLEASE}merke?\s+dir\s*{_PLEASE}{_THAT}(?P<about>\S.*?){_DONE}",
                rf"{_FORGET}nicht{_THAT}(?P<about>\S.*?){_DONE}",
                rf"{_PLEASE}denke?\s+{_PLEASE}(?:daran|dran){_THAT}(?P<about>\S.*?){_DONE}",
                rf"{_PLEASE}behalte?\s+{_PLEASE}(?:im\s+(?:kopf|gedächtnis)){_THAT}(?P<about>\S.*?){_DONE}",
                rf"ich\s+(?:möchte|will),?\s+dass\s+du\s+dir\s+{_PLEASE}merkst{_THAT}(?P<about>\S.*?){_DONE}",
                rf"{_PLEASE}merke?\s+dir\s+{_PLEASE}das{_DONE}",
                rf"{_PLEASE}vergiss\s+das\s+{_PLEASE}nicht{_DONE}",
            )
        ),
        "forget_all": tuple(
            _GREETING + each
            for each in (
                rf"(?:{_FORGET}|{_DELETE})alles(?:,?\s+was\s+du)?\s+{_ABOUT}\s+mi(?:ch|r)(?:\s+{_KNOW})?{_DONE}",
                rf"(?:{_WANT}|{_CAN}|{_SHALL})alles(?:,?\s+was\s+du)?\s+{_ABOUT}\s+mi(?:ch|r)(?:\s+{_KNOW})?,?\s+"
                rf"(?:vergisst|löschst|vergessen|{_DELETING}){_DONE}",
                rf"(?:{_DELETE}|{_FORGET})alle(?:\s+deine)?\s+erinnerungen\s+an\s+mich{_DONE}",
            )
        ),
        "forget": tuple(
            _GREETING + each
            for each in (
                rf"{_FORGET}(?:das|dies)(?:\s+wieder)?{_DONE}",
                rf"{_PLEASE}verg(?:iss|iß|essen\s+sie)(?:\s+bitte)?,?\s+was\s+ich\s+{_WHEN}{_SAID}{_DONE}",
                rf"{_FORGET}meine\s+(?:letzte|vorige)\s+(?:nachricht|bemerkung){_DONE}",
                rf"(?:{_CAN}|{_SHALL})(?:das|dies)\s+{_PLEASE}(?:vergessen|{_MEMORY}\s+{_DELETING}){_DONE}",
                rf"{_PLEASE}verg(?:iss|iß|essen\s+sie)(?:\s+bitte)?{_THAT}{_CLAUSE}",
                rf"(?:{_CAN}|{_SHALL})vergessen{_THAT}{_CLAUSE}",
                rf"{_WANT}vergisst{_THAT}{_CLAUSE}",
                rf"{_FORGET}alles,?\s+was\s+(?:ich|du)\s+{_WHEN}{_ABOUT}\s+{THING}\s+(?:{_SAID}|{_KNOW}){_DONE}",
                rf"{_DELETE}alles,?\s+was\s+(?:ich|du)\s+{_WHEN}{_ABOUT}\s+{THING}\s+(?:{_SAID}|{_KNOW}){_DONE}",
                rf"(?:{_FORGET}|{_DELETE})alles\s+{_ABOUT}\s+{THING}{_DONE}",
                rf"(?:{_DELETE}|{_FORGET}){THING}\s+(?:bitte\s+)?{_MEMORY}{_DONE}",
                rf"{_CAN}{THING}\s+(?:bitte\s+)?{_MEMORY}\s+{_DELETING}{_DONE}",
                rf"(?:{_WANT})(?:alles\s+{_ABOUT}\s+)?{THING}\s+vergisst{_DONE}",
                rf"{_WANT}{THING}\s+{_MEMORY}\s+(?:löschst|entfernst|streichst){_DONE}",
                rf"{_FORGET}{_OWN_THING}{_DONE}",
            )
        ),
        "mute": tuple(
            _GREETING + each
            for each in (
                rf"{_PLEASE}(?:sprich|rede?)\s+{_PLEASE}(?:mit\s+mir\s+)?{_NEVER}\s+(?:mit\s+mir\s+)?(?:über|von)\s+{THING}{_DONE}",
                rf"{_PLEASE}(?:sprich|rede?)\s+{_PLEASE}(?:über|von)\s+{THING}\s+{_NEVER}{_DONE}",
                rf"{_PLEASE}erwähne?\s+{THING}\s+{_PLEASE}{_NEVER}{_DONE}",
                rf"{_PLEASE}erwähne?\s+{_PLEASE}{_NEVER}\s+{THING}{_DONE}",
                rf"{_PLEASE}hör\s+{_PLEASE}auf,?\s+(?:über|von)\s+{THING}\s+zu\s+(?:reden|sprechen){_DONE}",
                rf"{_PLEASE}hör\s+{_PLEASE}auf,?\s+{THING}\s+zu\s+erwähnen{_DONE}",
                rf"ich\s+(?:will|möchte)\s+{_NEVER}\s+(?:etwas\s+)?(?:über|von)\s+{THING}\s+(?:hören|reden|sprechen){_DONE}",
                rf"{_PLEASE}erinner[e]?\s+mich\s+{_PLEASE}{_NEVER}\s+an\s+{THING}{_DONE}",
            )
        ),
        "lift": tuple(
            _GREETING + each
            for each in (
                rf"du\s+(?:darfst|kannst)\s+(?:jetzt\s+)?wieder\s+(?:über|von)\s+{THING}\s+(?:sprechen|reden){_DONE}",
                rf"du\s+(?:darfst|kannst)\s+(?:jetzt\s+)?(?:über|von)\s+{THING}\s+wieder\s+(?:sprechen|reden){_DONE}",
                rf"du\s+(?:darfst|kannst)\s+(?:jetzt\s+)?{THING}\s+wieder\s+erwähnen{_DONE}",
            )
        ),
        "undo": tuple(
            _GREETING + each
            for each in (
                rf"{_PLEASE}mach(?:e)?\s+(?:das|es)\s+{_PLEASE}(?:wieder\s+)?rückgängig{_DONE}",
                rf"{_PLEASE}(?:hol|stell)e?\s+(?:das|es)\s+{_PLEASE}(?:zurück|wieder\s+her){_DONE}",
                rf"rückgängig(?:\s+machen)?{_DONE}",
            )
        ),
        "unsure": tuple(
            _GREETING + each
            for each in (
                rf"(?:{_FORGET}|{_DELETE})alles{_DONE}",
                rf"{_CAN}{THING}\s+vergessen{_DONE}",
                rf"{_DELETE}(?:das|dies){_DONE}",
                rf"{_FORGET}(?P<about>(?-i:\p{{Lu}})[^,;:]{{1,40}}?){_DONE}",
                rf"du\s+kannst\s+{THING}\s+vergessen{_DONE}",
            )
        ),
    },
    polite=rf"{_GREETING}{_CAN}",
    pasted=(
        r"\b(?:übersetz|zusammenfass|umformulier|korrigier|lektorier)\w*|\bfass\b.*\bzusammen\b"
        r"|\b(?:gedicht|lied(?:text)?|strophe|zitat|e-?mail|brief|drehbuch|dialog)\w*\b"
        r"|\b(?:auf|ins)\s+(?:englisch|deutsch|französisch|spanisch|bengalisch|hindi|italienisch|türkisch|arabisch)\w*\b"
        r"|\b(?:angenommen|stell\s+dir\s+vor|was\s+wäre|wenn\s+ich)\b"
        r"|\b(?:sagte?|schrieb|singt|sang|heißt\s+es|meinte?)\W{0,9}$"
    ),
    pointing=r"(?:das|dies|es|ihn|sie|ihm|ihr|mich|uns|dich|alles|etwas|nichts|jemanden?|bitte|nicht)\b",
    temporary=r"\b(?:heute|jetzt|gerade|im\s+moment|diese\s+woche|bis)\b",
    hint=r"\b(?:vergiss|vergessen|lösch\w*)\b.*\b(?:gedächtnis|erinner\w*|über\s+mich|du\s+weißt|gemerkt|gespeichert)\b",
    meaning=Meaning(
        own=words("ich mir mich wir uns"),
        addressed=words("du dir dich ihnen"),
        third=words("er sie es"),
        others=words(
            """
            man jeder jemand niemand alle leute mutter vater mama papa schwester bruder sohn tochter frau mann partner
            partnerin freund freundin freunde tante onkel cousin oma opa großmutter großvater chef chefin kollege
            kollegin nachbar nachbarin lehrer lehrerin kinder eltern ex hund katze
            """
        ),
        possessive=words(
            """
            mein meine meinen meinem meiner meines unser unsere unseren unserem unserer
            """
        ),
        foreign=words(
            """
            sein seine seinen seinem seiner ihr ihre ihren ihrem ihrer dein deine deinen deinem deiner
            """
        ),
        negations=words(
            """
            nicht kein keine keinen keinem keiner nie niemals nichts ohne kaum nimmer
            """
        ),
        breaks=words("aber sondern doch während weil"),
        namesakes=words(
            """
            rose mark ernst frank wolf engel christian viola linde heide rot kurt lang klein sonne stern stella
            """
        ),
        openers=words(
            """
            ja nein heute gestern morgen jetzt manchmal oft immer auch eigentlich der die das ein eine wenn weil dann
            hier da
            """
        ),
    ),
)
