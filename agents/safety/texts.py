"""The fixed texts of the safety step, in English, Bengali and Hindi: written, not generated.

They judge nothing, promise nothing, name no method. Helplines follow by country (`agents.safety.helplines`). The
Bengali and Hindi texts were written by the project and should be read by a native speaker who works in crisis care.
"""

from agents.safety.reply import crisis_reply
from agents.safety.risk import Category

SELF_HARM = {
    "en": "Thank you for telling me. What you feel matters, and so do you. I am a computer program and can't keep you "
    "safe, but people can. If you might act on it, or are in danger, please call your local emergency number now, or "
    "go to someone who can be with you. Please don't stay alone with this. You can go on talking to me, too.",
    "bn": "আমাকে বলার জন্য ধন্যবাদ। তোমার অনুভূতির মূল্য আছে, তোমারও। আমি একটা কম্পিউটার প্রোগ্রাম, তোমাকে নিরাপদ রাখতে "
    "পারি না, কিন্তু মানুষ পারে। যদি মনে হয় নিজের ক্ষতি করতে পারো, বা বিপদে আছ, এখনই জরুরি নম্বরে ফোন করো, অথবা এমন কারও "
    "কাছে যাও যে তোমার সঙ্গে থাকতে পারবে। একা থেকো না। আমার সঙ্গেও কথা বলতে পারো।",
    "hi": "मुझे बताने के लिए शुक्रिया। आप जो महसूस कर रहे हैं वह मायने रखता है, और आप भी। मैं एक कंप्यूटर प्रोग्राम हूं, आपको "
    "सुरक्षित नहीं रख सकता, पर लोग रख सकते हैं। अगर लगे कि आप खुद को नुकसान पहुंचा सकते हैं, या खतरे में हैं, तो अभी आपातकालीन "
    "नंबर पर फोन करें, या किसी ऐसे के पास जाएं जो आपके साथ रह सके। इसमें अकेले न रहें। आप मुझसे भी बात करते रह सकते हैं।",
}
ABUSE = {
    "en": "What happens to you is not your fault, and you don't have to bear it alone. If you are in danger now, "
    "please call your local emergency number, or go where you are safe.",
    "bn": "তোমার সঙ্গে যা হচ্ছে তা তোমার দোষ নয়, একা সহ্য করতে হবে না। এখন বিপদে থাকলে জরুরি নম্বরে ফোন করো, অথবা নিরাপদ "
    "কোনো জায়গায় যাও।",
    "hi": "आपके साथ जो हो रहा है उसमें आपकी गलती नहीं है, और इसे अकेले सहना ज़रूरी नहीं। अभी खतरा हो तो आपातकालीन नंबर पर फोन "
    "करें, या किसी सुरक्षित जगह जाएं।",
}
EATING_DISORDER = {
    "en": "What you describe is hard, and many people have found a way out of it with help. Please talk to a doctor or "
    "to somebody you trust about how you eat.",
    "bn": "তুমি যা বলছ তা কঠিন, আর সাহায্য নিয়ে অনেকে এর থেকে বেরিয়ে এসেছে। খাওয়া নিয়ে একজন ডাক্তার বা বিশ্বাসের কারও সঙ্গে কথা বলো।",
    "hi": "आप जो बता रहे हैं वह कठिन है, और मदद से बहुत लोग इससे निकले हैं। अपने खाने के बारे में किसी डॉक्टर या भरोसे के इंसान से बात करें।",
}
MINORS = {
    "en": "I don't talk about this in that way where somebody under 18 is part of it. If somebody has asked you for "
    "pictures, or touched you, it is not your fault: please tell an adult whom you trust.",
    "bn": "১৮ বছরের কম কেউ জড়িত থাকলে আমি এ নিয়ে এভাবে কথা বলি না। কেউ তোমার ছবি চাইলে বা তোমাকে ছুঁলে সেটা তোমার দোষ নয়: "
    "বিশ্বাসের কোনো বড় মানুষকে জানাও।",
    "hi": "जहां 18 से कम उम्र का कोई शामिल हो, मैं इस तरह बात नहीं करता। किसी ने तस्वीर मांगी हो या छुआ हो तो यह आपकी गलती नहीं: "
    "किसी भरोसे के बड़े को बताएं।",
}
REPLACED = {
    "en": "I'd rather not say that. Shall we talk about it differently?",
    "bn": "এটা আমি এভাবে বলতে চাই না। অন্যভাবে কথা বলি?",
    "hi": "मैं यह इस तरह नहीं कहना चाहता। क्या हम इस पर अलग तरह से बात करें?",
}
BESIDE = {  # after a model's answer to who may be thinking of it; the lines of their country follow
    "en": "If any of this is about hurting yourself: you don't have to carry it alone. If you are in danger, please "
    "call your local emergency number, or go to someone who can be with you.",
    "bn": "এর মধ্যে নিজের ক্ষতি করার কথা থাকলে: একা সইতে হবে না। বিপদে থাকলে জরুরি নম্বরে ফোন করো, অথবা এমন কারও কাছে যাও যে তোমার "
    "সঙ্গে থাকতে পারবে।",
    "hi": "अगर इसमें खुद को नुकसान पहुंचाने की बात है: इसे अकेले सहना ज़रूरी नहीं। खतरा हो तो आपातकालीन नंबर पर फोन करें, या किसी ऐसे के "
    "पास जाएं जो आपके साथ रह सके।",
}
GUIDANCE = {  # what a model is told, where it answers; never shown to anybody
    Category.SELF_HARM: "The person may be thinking of hurting themselves. Answer gently and briefly, take it "
    "seriously, do not judge, argue, joke or promise. Say that you are glad they told you, and ask one open question, "
    "such as whether they are safe now or who could be with them. Say nothing of any method. Name no phone number: "
    "helplines follow your answer.",
    Category.ABUSE: "Somebody may be hurting the person. Believe them, say that it is not their fault, and do not tell "
    "them what they have to do. Ask whether they are safe now. Name no phone number: help follows your answer.",
    Category.EATING_DISORDER: "The person may have an eating disorder. Be kind. Say nothing of weight, calories, diets "
    "or bodies, and praise nothing of the kind. Name no phone number: help follows your answer.",
    Category.MINORS: "Somebody may be asking a child for something sexual. Say that it is not their fault, that they "
    "need not do it, and that they should tell an adult whom they trust. Say nothing sexual.",
}
_BY_CATEGORY = {
    Category.SELF_HARM: SELF_HARM,
    Category.ABUSE: ABUSE,
    Category.EATING_DISORDER: EATING_DISORDER,
    Category.MINORS: MINORS,
}


def help_beside(category: Category, *, language: str = "en", country: str | None = None) -> str:
    """The text after a model's answer in a dangerous situation, with helplines; raises KeyError for NONE."""
    texts = BESIDE if category is Category.SELF_HARM else _BY_CATEGORY[category]
    return crisis_reply(country, text=texts.get(language, texts["en"]))


def help_text(category: Category, *, language: str = "en", country: str | None = None, text: str | None = None) -> str:
    """The text for a danger, with the helplines of a country and the directories; raises KeyError for NONE.

    `text` replaces our own wording.
    """
    texts = _BY_CATEGORY[category]
    return crisis_reply(country, text=text or texts.get(language, texts["en"]))
