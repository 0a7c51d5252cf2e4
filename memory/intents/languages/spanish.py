"""Spanish."""

from memory.intents.language import THING, IntentLanguage, Meaning, words

_PLEASE = r"(?:(?:por\s+favor|porfa|ya|mejor|ahora),?\s+)*"
_BEGIN = rf"[¡¿]?(?:(?:oye|hola|ok|vale|y|pero|no|sí|bueno|bondhu)\b[,!.]?\s+)*{_PLEASE}"
_DONE = r"(?:,?\s+(?:por\s+favor|porfa|gracias|ya|ahora|para\s+siempre|del\s+todo|vale|ok))*\W{0,30}"
_CAN = rf"(?:puedes|podr[ií]as|puede|podr[ií]a|quieres|te\s+importar[ií]a)\s+{_PLEASE}"
_WANT = rf"(?:quiero|quisiera|necesito|me\s+gustar[ií]a|te\s+pido)\s+que\s+{_PLEASE}"
_FORGET = r"(?:olv[ií]da|olvide|olv[ií]date\s+de|olv[ií]dese\s+de)"
_FORGETTING = r"(?:olvidar|olvidarte\s+de|olvidarse\s+de)"
_FORGOTTEN = r"(?:olvides|te\s+olvides\s+de|olvide)"
_ANY_FORGET = rf"(?:{_FORGET}|{_CAN}{_FORGETTING}|{_WANT}{_FORGOTTEN}|(?:debes|tienes\s+que)\s+{_FORGETTING})"
_DELETE = (
    rf"(?:(?:borra|borre|elimina|elimine|quita|suprime|saca)|{_CAN}(?:borrar|eliminar|quitar|suprimir|sacar)"
    rf"|{_WANT}(?:borres|elimines|quites|saques))"
)
_ABOUT = r"(?:sobre|acerca\s+de|de|respecto\s+a|en\s+cuanto\s+a)"
_MEMORY = r"de\s+(?:tu|su|la)\s+(?:memoria|mente|cabeza|recuerdo|registro)"
_KNOW = r"(?:sabes|recuerdas|conoces|tienes(?:\s+guardado)?|has\s+guardado|sabe)"
_SAID = (
    r"(?:te\s+)?(?:cont[eé]|dije|he\s+(?:contado|dicho)|acabo\s+de\s+(?:contar|decir)(?:te)?|escrib[ií]"
    r"|mencion[eé]|hab[ií]a\s+(?:contado|dicho))"
)
_OWN_THING = r"(?P<about>(?:mis?|nuestr[oa]s?)\s+[^,;:]{1,60}?)"
_NAME = r"(?P<about>(?-i:\p{Lu})[^,;:]{1,40}?)"
_NEVER = r"(?:nunca(?:\s+m[aá]s)?|jam[aá]s|m[aá]s)"
_TALK = r"(?:mencionar|nombrar|hablar(?:me)?\s+(?:de|sobre)|sacar\s+el\s+tema\s+de)"
_TALKS = r"(?:menciones|nombres|(?:me\s+)?hables\s+(?:de|sobre)|saques\s+el\s+tema\s+de)"
_CLAUSE = rf"(?P<clause>\S.*?){_DONE}"

SPANISH = IntentLanguage(
    code="es",
    trigger=r"\b(?:olv[ií]d\w*|borr\w+|elimin\w+|quit\w+|suprim\w+|saca\w*|saques|recuerd\w*|acu[eé]rdate|ten|cuenta"
    r"|menci\w+|nombr\w+|habl\w+|deshac\w*|deshaz\w*|devuelve\w*|recupera\w*|anota)\b",
    patterns={
        "remember": tuple(
            _BEGIN + each
            for each in (
                r"(?:recuerda|anota)(?:\s+(?:esto|eso))?\s*(?P<rest>:)\s*(?P<about>\S.*)",
                rf"(?:recuerda|recuerde|acu[eé]rdate\s+de|ten\s+en\s+cuenta)\s+que\s+(?P<about>\S.*?){_DONE}",
                rf"no\s+(?:te\s+)?olvides\s+(?:de\s+)?que\s+(?P<about>\S.*?){_DONE}",
                rf"{_WANT}(?:recuerdes|tengas\s+en\s+cuenta|te\s+acuerdes\s+de)\s+que\s+(?P<about>\S.*?){_DONE}",
                rf"(?:recuerda|no\s+olvides)\s+(?:esto|eso){_DONE}",
            )
        ),
        "forget_all": tuple(
            _BEGIN + each
            for each in (
                rf"(?:{_ANY_FORGET}|{_DELETE})\s+todo(?:\s+lo\s+que\s+{_KNOW})?\s+{_ABOUT}\s+m[ií](?:\s+{_MEMORY})?{_DONE}",
                rf"(?:{_ANY_FORGET}|{_DELETE})\s+todos\s+(?:tus|los)\s+recuerdos\s+{_ABOUT}\s+m[ií]{_DONE}",
            )
        ),
        "forget": tuple(
            _BEGIN + each
            for each in (
                rf"{_ANY_FORGET}\s+(?:eso|esto){_DONE}",
                rf"{_ANY_FORGET}\s+lo\s+que\s+{_SAID}{_DONE}",
                rf"{_ANY_FORGET}\s+mi\s+[uú]ltim[oa]\s+(?:mensaje|frase){_DONE}",
                rf"{_ANY_FORGET}\s+que\s+{_CLAUSE}",
                rf"(?:{_ANY_FORGET}|{_DELETE})\s+(?:todo\s+)?lo\s+que\s+(?:{_KNOW}|{_SAID})\s+{_ABOUT}\s+{THING}(?:\s+{_MEMORY})?{_DONE}",
                rf"(?:{_ANY_FORGET}|{_DELETE})\s+todo\s+(?:sobre|acerca\s+de|lo\s+de|lo\s+relacionado\s+con)\s+{THING}{_DONE}",
                rf"{_DELETE}\s+(?:a\s+)?{THING}\s+{_MEMORY}{_DONE}",
                rf"{_ANY_FORGET}\s+(?:a\s+)?{_OWN_THING}{_DONE}",
                rf"olv[ií]date\s+de\s+{_NAME}{_DONE}",
                rf"{_WANT}(?:te\s+)?olvides\s+(?:de|a)\s+{_NAME}{_DONE}",
            )
        ),
        "mute": tuple(
            _BEGIN + each
            for each in (
                rf"no\s+(?:me\s+)?vuelvas?\s+(?:{_NEVER}\s+)?a\s+{_TALK}\s+(?:a\s+)?{THING}(?:\s+{_NEVER})?{_DONE}",
                rf"(?:nunca|jam[aá]s)(?:\s+m[aá]s)?\s+(?:{_TALKS}|vuelvas\s+a\s+{_TALK})\s+(?:a\s+)?{THING}{_DONE}",
                rf"deja\s+de\s+{_TALK}\s+(?:a\s+)?{THING}{_DONE}",
                rf"no\s+(?:me\s+)?{_TALKS}\s+(?:a\s+)?{THING}\s+(?:{_NEVER}|otra\s+vez){_DONE}",
                rf"no\s+quiero\s+(?:o[ií]r\s+|volver\s+a\s+)?(?:{_NEVER}\s+)?(?:o[ií]r\s+)?hablar\s+(?:{_NEVER}\s+)*(?:de|sobre)\s+{THING}{_DONE}",
            )
        ),
        "lift": tuple(
            _BEGIN + each
            for each in (
                rf"(?:ahora\s+|ya\s+)?puedes\s+volver\s+a\s+{_TALK}\s+(?:a\s+)?{THING}{_DONE}",
                rf"(?:ahora\s+|ya\s+)?puedes\s+{_TALK}\s+(?:a\s+)?{THING}\s+(?:otra\s+vez|de\s+nuevo){_DONE}",
            )
        ),
        "undo": tuple(
            _BEGIN + each
            for each in (
                rf"(?:deshaz|deshacer|recupera|devu[eé]lve(?:me)?)(?:lo|\s+eso|\s+esto)?{_DONE}",
                rf"{_CAN}deshacer(?:lo|\s+eso){_DONE}",
            )
        ),
        "unsure": tuple(
            _BEGIN + each
            for each in (
                rf"(?:{_ANY_FORGET}|{_DELETE})\s+todo{_DONE}",
                rf"{_ANY_FORGET}\s+(?:a\s+)?{_NAME}{_DONE}",
                rf"{_DELETE}\s+(?:eso|esto){_DONE}",
                rf"{_ANY_FORGET}\s+lo\s+de\s+{THING}{_DONE}",
            )
        ),
    },
    polite=rf"{_BEGIN}{_CAN}",
    pasted=(
        r"\b(?:traduc|resum|parafrase|reescrib|reformul|corrig|corrij)\w*"
        r"|\b(?:canci[oó]n|poema|verso|letra|estrofa|cita|correo|e-?mail|carta|gui[oó]n|di[aá]logo)\b"
        r"|\b(?:al|en)\s+(?:ingl[eé]s|espa[nñ]ol|franc[eé]s|alem[aá]n|bengal[ií]|hindi|italiano|portugu[eé]s)\b"
        r"|\b(?:sup[oó]n|supongamos|imagina|hipot[eé]ticamente|y\s+si)\b"
        r"|\b(?:dijo|dice|escribi[oó]|canta|pone|me\s+dijo)\W{0,9}$"
    ),
    pointing=r"(?:eso|esto|esa|ese|ella|[eé]l|ellos|m[ií]|ti|nosotros|todo|algo|nada)(?!\s+\p{Lu})\b",
    temporary=r"\b(?:hoy|ahora|esta\s+(?:noche|semana|tarde)|por\s+el\s+momento|hasta)\b",
    hint=r"\b(?:olvid\w*|olv[ií]d\w*|borr\w+|elimin\w+)\b.*\b(?:memoria|recuerdos?|sobre\s+m[ií]|sabes|recuerdas)\b",
    meaning=Meaning(
        is_gendered=True,
        own=words("yo me mí nosotros nos nosotras"),
        addressed=words("tú te ti usted"),
        third=words("él ella ellos ellas le les"),
        others=words(
            """
            alguien nadie todos gente madre padre mamá papá hermana hermano hijo hija esposa esposo marido mujer novia
            novio pareja amiga amigo amigos tía tío prima primo abuela abuelo jefe jefa compañero compañera vecino
            vecina profesor profesora niños padres ex perro gato
            """
        ),
        possessive=words("mi mis nuestro nuestra nuestros nuestras mío mía"),
        foreign=words("su sus tu tus vuestro vuestra"),
        negations=words(
            """
            no nunca jamás nada nadie ni tampoco sin ningún ninguna dejé
            """
        ),
        breaks=words("pero aunque sino mientras porque"),
        namesakes=words(
            """
            sol luz rosa mar paz cruz luna estrella blanca clara rey ángel esperanza consuelo dolores alba cielo perla
            rubí iris violeta margarita leo victoria gloria socorro pilar
            """
        ),
        openers=words(
            """
            hoy ayer ahora siempre también a veces el la los las un una cuando porque sí aquí allí todo
            """
        ),
    ),
)
