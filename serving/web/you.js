// How the person is, as they say themselves, and what their friend left for them: shown, corrected, deleted here.

import { getJson, send } from "./api.js";
import { announce, ask, button, count, day, make } from "./dom.js";

const PERSONALITY = "/api/v1/personality";
const INBOX = "/api/v1/inbox";
const SOURCES = {
  own_word: "your own word",
  questionnaire: "your answers",
  questionnaire_and_language: "your answers, and a little of how you write",
  language: "a little of how you write",
};
const put = async (path, body, method = "PUT") => (await send(path, { method, body })).json();

export async function showYou(view) {
  const problem = make("p.problem", { role: "alert" });
  const inbox = make("section");
  const self = make("section");
  view.append(make("h1", {}, "You"), problem, inbox, self);

  /** Do it, and tell what is wrong where it fails. */
  const safely = (work) => async (...given) => {
    problem.textContent = "";
    try {
      await work(...given);
    } catch (failure) {
      problem.textContent = failure.message;
    }
  };
  await Promise.all([safely(() => drawInbox(inbox, safely))(), safely(() => drawSelf(self, safely))()]);
}

async function drawInbox(section, safely) {
  const [box, settings] = await Promise.all([getJson(INBOX), getJson(`${INBOX}/settings`)]);
  const again = () => drawInbox(section, safely);
  const change = (more) => safely(async () => {
    await put(`${INBOX}/settings`, { ...settings, ...more() });
    await again();
  });
  const wants = make("input", { type: "checkbox", role: "switch", id: "wants", checked: settings.enabled, "aria-describedby": "wants-hint" });
  wants.addEventListener("change", change(() => ({ enabled: wants.checked })));
  const clock = (id, label, name) => {
    const input = make("input", { type: "time", id, value: settings[name], required: true });
    input.addEventListener("change", change(() => ({ [name]: input.value })));
    return [make("label", { for: id }, label), input];
  };
  section.replaceChildren(
    make("h2", {}, `Left for you${box.unread ? ` (${box.unread})` : ""}`),
    make("div.switch", {}, wants, make("label", { for: "wants" }, "Your friend may write first"),
      make("p.hint", { id: "wants-hint" }, `Seldom, about what you planned: at most ${count(settings.max_per_week, "message")} a week. Off until you say so.`)),
    settings.enabled ? make("div.row", {}, ...clock("from", "Not from", "quiet_from"), ...clock("until", "until", "quiet_until")) : "",
    box.data.length
      ? make("ul.memories", {}, box.data.map((each) => make("li", {}, make("p.text", {}, each.text),
        make("p.by", {}, `${day(each.created_at)}, because of ${each.why}`),
        make("div.row", {},
          each.read_at ? "" : button("I have read it", safely(async () => { await put(`${INBOX}/${each.id}/read`, undefined, "POST"); await again(); })),
          button("Delete", safely(async () => { await put(`${INBOX}/${each.id}`, undefined, "DELETE"); await again(); }))))))
      : make("p.empty", {}, "Nothing yet."));
}

async function drawSelf(section, safely) {
  const [known, items] = await Promise.all([getJson(PERSONALITY), getJson(`${PERSONALITY}/items`)]);
  const again = () => drawSelf(section, safely);
  const reads = make("input", { type: "checkbox", role: "switch", id: "reads", checked: known.reads_language, "aria-describedby": "reads-hint" });
  reads.addEventListener("change", safely(async () => { await put(PERSONALITY, { reads_language: reads.checked }); await again(); }));
  section.replaceChildren(
    make("h2", {}, "How you are"),
    make("p", {}, `Twenty short phrases; ${known.answered} answered. What comes of them sets your friend's tone and how varied its suggestions are, and nothing else.`),
    known.scores.length ? table(known, safely, again) : make("p.empty", {}, "Nothing is made of it yet."),
    make("details", {}, make("summary", {}, "Answer the phrases"), ...items.data.map((item) => question(item, items.answers, safely, again))),
    make("div.switch", {}, reads, make("label", { for: "reads" }, "How I write may count a little"),
      make("p.hint", { id: "reads-hint" }, `Weak evidence, from ${known.messages_needed} messages on; your answers outrank it.`)),
    make("div.row", {}, button("Delete all of it", safely(async () => {
      if (!(await ask("Delete all of it?", "Your answers and corrections are deleted for good.", "Delete"))) return;
      await send(PERSONALITY, { method: "DELETE" });
      announce("Deleted.");
      await again();
    }))));
}

function question(item, answers, safely, again) {
  const id = `item-${item.number}`;
  const choice = make("select", { id }, make("option", { value: "" }, "not answered"),
    answers.map((label, index) => make("option", { value: index + 1, selected: item.answer === index + 1 }, label)));
  choice.addEventListener("change", safely(async () => {
    if (choice.value) await put(`${PERSONALITY}/answers`, { answers: { [item.number]: Number(choice.value) } }, "POST");
    announce(`${item.text} ${answers[choice.value - 1] ?? ""}`);
  }));
  return make("p.row", {}, make("label", { for: id }, `${item.number}. ${item.text}`), choice);
}

function table(known, safely, again) {
  const rows = known.scores.map((each) => {
    const own = make("input", { type: "number", min: 1, max: 5, step: 0.5, value: each.source === "own_word" ? each.estimate : null, "aria-label": `${each.trait}, as you see it, 1 to 5` });
    own.addEventListener("change", safely(async () => {
      await put(PERSONALITY, { scores: { [each.trait]: own.value ? Number(own.value) : null } });
      await again();
    }));
    return make("tr", {}, make("th", { scope: "row" }, each.trait), make("td", {}, `${each.estimate} (${each.low} to ${each.high})`),
      make("td", {}, SOURCES[each.source]), make("td", {}, own));
  });
  const head = ["Trait", "1 to 5, and how sure", "From", "As you see it"].map((each) => make("th", { scope: "col" }, each));
  return make("table", {}, make("thead", {}, make("tr", {}, head)), make("tbody", {}, rows));
}
