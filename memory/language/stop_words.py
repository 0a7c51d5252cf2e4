"""Stop words by language: search ignores them, and language detection counts them.

Recall was measured with this English list (docs/recall.md). Words are in lower case, with their accents.
"""

# ruff: noqa: RUF001 - letters of other scripts that look like Latin ones are meant

from types import MappingProxyType

_WORDS = {
    "en": """
a about above after again against all am an and any are as at be because been before being below between both but
by can could d did do does doing down during each few for from further had has have having he her here hers herself
him himself his how i if in into is it its itself just ll m may me might more most must my myself no nor not now of
off on once only or other our ours ourselves out over own re s same shall she should so some such t than that the
their theirs them themselves then there these they this those through to too under until up ve very was we were
what when where which while who whom whose why will with would you your yours yourself yourselves
""",
    "de": """
ab aber alle allem allen aller alles als also am an andere anderen ans auch auf aus bei beim bin bis bist da damit
dann das dass dein deine deinem deinen deiner dem den denn der des dich die dies diese diesem diesen dieser dieses dir
doch dort du durch ein eine einem einen einer eines er es etwas euch euer eure für gegen habe haben hat hatte hatten
hier hin hinter ich ihm ihn ihnen ihr ihre ihrem ihren ihrer im in ins ist ja jede jedem jeden jeder jedes jetzt kann
kein keine keinem keinen keiner können man mein meine meinem meinen meiner mich mir mit muss nach nicht nichts noch
nun nur ob oder ohne schon sehr sein seine seinem seinen seiner seit sich sie sind so soll über um und uns unser
unsere unter vom von vor war waren warum was wegen weil welche welcher wenn wer werde werden wie wieder will wir wird
wirst wo wurde wurden zu zum zur zwischen
""",
    "es": """
a al algo algunas algunos ante antes aquí así aunque bien cada como cómo con contra cual cuál cuando cuándo de del
desde donde dónde dos durante e el él ella ellas ellos en entre era eran es esa esas ese eso esos esta está estaba
están estas este esto estos estoy fue fueron ha hace hacia han has hasta hay haya he la las le les lo los más me mi
mí mis mucho muchos muy nada ni no nos nosotros nuestra nuestro o os otra otras otro otros para pero poco por porque
qué que quien quién se sea según ser si sí sido siempre sin sobre somos son soy su sus también tan tanto te tengo ti
tiene todo todos tu tú tus un una unas uno unos usted y ya yo
""",
    "fr": """
ai as au aux avec avoir c ce ces cet cette d dans de des du elle elles en est et étais était étaient étant été êtes
être eu il ils j je l la le les leur leurs lui m ma mais me même mes moi mon n ne nos notre nous on ont où ou par pas
plus pour qu quand que quel quelle qui quoi s sa sans se ses si son sont suis sur t ta te tes toi ton très tu un une
vos votre vous y à ça
""",
    "it": """
a ad al alla alle anche c che chi ci come con cosa cui da dal dalla dei del della delle dello di dove e è ed era gli
ha hai hanno ho i il in io l la le lei li lo loro lui ma mi mia mie miei mio ne nei nel nella noi non nostra nostro o
per perché più quale quando quanto quella quello questa questo se sei si sia siamo sono su sua suo sul tra tu tua tuo
un una uno vi voi
""",
    "pt": """
a ao aos as até com como da das de dela dele do dos e é ela elas ele eles em entre era essa esse esta está este eu
foi foram há isso isto já lhe mais mas me mesmo meu meus minha minhas muito na não nas nem no nos nós nossa nosso num
numa o os ou para pela pelo por qual quando que quem se sem ser seu seus só sou sua suas também te tem tenho teu tua
tu um uma você vocês
""",
    "nl": """
aan al alles als altijd ben bij dan dat de der deze die dit doch doen door dus een en er ge geen haar had heb hebben
heeft hem het hier hij hoe hun iets ik in is ja je kan kon maar me meer men met mij mijn moet na naar niet niets nog
nu of om omdat ons ook op over reeds te tegen toch toen tot u uit uw van veel voor want waren was wat wel werd wie
wij wil worden zal ze zelf zich zij zijn zo zonder zou
""",
    "ru": """
а без более бы был была были было быть в вам вас весь во вот все всё всего всех вы где да для до его ее её ей если
есть еще ещё же за здесь и из или им их к как ко когда кто ли либо меня мне мной мой моя моё мое мои мы на над надо
наш не него нее неё нет ни них но ну о об однако он она они оно от очень по под при с со сейчас так также такой там
те тем то того тоже той только том ты тебя тебе твой твоя у уж уже хотя чего чей чем что чтобы эта эти это этого этой
этом этот я
""",
    "ar": """
أنا انا أنت انت هو هي نحن هم في من على إلى الى عن مع هذا هذه ذلك تلك التي الذي الذين أن ان إن لا لم لن ما ماذا متى
أين اين كيف هل لماذا كان كانت يكون قد كل بعض و أو او ثم لكن لي لك له لها لنا لهم عند عندي بين بعد قبل حتى إذا اذا هنا
هناك أي اي كما غير منذ جدا الآن
""",
    "hi": """
अपना अपनी अपने अब अभी आप आपका आपकी आपके इन इस इसका इसकी इसके इसे उन उनका उनकी उनके उस उसका उसकी उसके उसे एक और कब कभी
कर करता करती करते करना करने कहाँ कहां का कि किस किसी की कुछ के को कोई कौन क्या क्यों गई गए गया जब जहाँ जो तक तब तुम
तुम्हारा तुम्हारी तुम्हारे तुम्हें तू तो था थी थे दिया दो न नहीं ने पर फिर बहुत भी मगर मुझे मुझको मेरा मेरी मेरे मैं
मैंने में मत यह यहाँ या ये रहा रही रहे लिए लेकिन वह वहाँ वाला वाली वाले वे वो सब साथ से हम हमारा हमारी हमारे हमें ही
हुआ हुई हुए हूँ हूं है हैं हो होता होती होते
""",
    "bn": """
অথবা অনেক আছে আছি আপনার আপনি আবার আমরা আমাকে আমাদের আমার আমি আর আরও ইনি এ এই এখন এখানে এটা এটি এবং এর এরা ও ওই ওকে
ওটা ওর ওরা কখন কবে কি কী কিছু কিন্তু কে কেউ কেন কোথায় কোন খুব ছিল ছিলাম ছিলেন জন্য তখন তবে তা তাই তাকে তার তারা তাদের
তিনি তুমি তোমার তোমাকে থেকে দিয়ে না নিয়ে নেই নয় পর পর্যন্ত বা বেশি মধ্যে মতো যখন যা যায় যে যেন সঙ্গে সাথে সব সে সেই
সেটা হচ্ছে হবে হয় হয়ে হয়েছে হলো
""",
}
STOP_WORDS = MappingProxyType({language: frozenset(words.split()) for language, words in _WORDS.items()})
