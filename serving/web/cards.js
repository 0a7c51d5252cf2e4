// What an agent shows beside its words: cards, sources, proposals (docs/page.md). A card of a kind that is not known
// here is shown as a plain list of what is in it. Pictures of others are never fetched.

import { button, count, link, make } from "./dom.js";

/** The element of an event; null: it is not for looking at. */
export function drawEvent(event, say) {
  if (event.type === "card") return drawCard(event, say);
  if (event.type === "source") {
    return make("p.source", {}, "From: ", event.url ? link(event.title, event.url) : event.title, event.why && ` (${event.why})`);
  }
  return event.type === "proposal" ? drawProposal(event, say) : null;
}

const sayButton = ({ label, says }, say, kind = "chip", of = "") =>
  button(label, () => say(says), kind, { "data-says": says, ...(of && { "aria-label": `${label}: ${of}` }) });

function drawCard({ kind, title, data = {}, actions = [] }, say) {
  const draw = BODIES[kind] ?? (data.add ? drawChange : Array.isArray(listed(data)) ? drawList : data.subtitle ? drawItem : drawPlain);
  const rest = kind === "game" && data.board ? actions.filter((each) => !/^[1-9]$/.test(each.says)) : actions;
  const of = draw === drawItem ? title : ""; // several are beside each other, with the same buttons
  return make("section.card", { "aria-label": title, "data-kind": kind },
    make("h3", {}, title), draw(data, say, title),
    rest.length ? make("div.chips", {}, rest.map((each) => sayButton(each, say, "chip", of))) : null);
}

const listed = (data) => data.items ?? data.tracks ?? data.videos;

function drawList(data, say) {
  const rows = listed(data).map((item) => {
    const title = item.title ?? item.name ?? "";
    const by = [item.artist ?? item.channel ?? item.by, item.year, minutes(item.length_s ?? item.duration_s)].filter(Boolean).join(" · ");
    return make("li", {},
      make("div", {},
        make("span.title", {}, item.url ? link(title, item.url) : title),
        by && make("span.by", {}, by),
        item.why && make("span.reason", {}, item.why)),
      (item.actions ?? []).length ? make("div.chips", {}, item.actions.map((each) => sayButton(each, say))) : null);
  });
  return make("ol.items", {}, rows);
}

/** What a change brings and takes. */
const drawChange = ({ add, remove = [] }) => make("div", {},
  drawList({ items: add }), remove.length ? make("p.by", {}, `In their place these leave: ${remove.map((each) => each.title).join(", ")}.`) : null);

/** One song or video: who and when, how long, why, and where it is. */
function drawItem({ subtitle, why, url, minutes: length, minutes_known: isKnown, stale }, say, title) {
  const facts = [
    subtitle !== title && subtitle,
    length > 0 && `${isKnown === false ? "about " : ""}${count(length, "minute")}`,
    stale && "not looked up lately",
  ].filter(Boolean);
  return make("div", {},
    facts.length ? make("p.by", {}, facts.join(" · ")) : null,
    why && make("p.reason", {}, why),
    url && make("p.by", {}, link(new URL(url).hostname, url, `${title} at ${new URL(url).hostname}`)));
}

/** A phrase of the questionnaire. */
const drawPhrase = ({ text }) => make("p.reason", {}, text);

/** What the answers come to, each with its interval. */
const drawScores = ({ scores }) => make("dl", {}, scores.flatMap(({ trait, estimate, low, high }) =>
  [make("dt", {}, trait.replaceAll("_", " ")), make("dd", {}, `${estimate} of 5 (between ${low} and ${high})`)]));

const minutes = (seconds) => seconds > 0 && `${Math.floor(seconds / 60)}:${String(Math.round(seconds % 60)).padStart(2, "0")}`;

function drawGame(data, say) {
  const parts = [];
  if (data.board) parts.push(drawBoard(data, say));
  if (data.word) parts.push(make("p.word", { "aria-label": [...data.word].filter((each) => each !== " ").map((each) => (each === "_" ? "blank" : each)).join(", ") }, data.word));
  if (data.max_wrong) parts.push(make("p.lives", { role: "img", "aria-label": `${data.max_wrong - data.wrong} of ${data.max_wrong} tries left` },
    "●".repeat(data.max_wrong - data.wrong), make("span", {}, "●".repeat(data.wrong))));
  if (data.chain) parts.push(make("p.chain", {}, data.chain.join(" → ")));
  if (data.room) parts.push(make("p.word.room", {}, data.room));
  const facts = [
    data.topic,
    data.round && data.rounds && !data.result && `round ${Math.min(data.round, data.rounds)} of ${data.rounds}`,
    data.right !== undefined && `${data.right} right`,
    data.points !== undefined && `${data.points} points`,
    data.left !== undefined && `${count(data.left, "question")} left`,
    data.tried?.length && `tried: ${data.tried.join(" ")}`,
    data.holds?.length && `you carry: ${data.holds.join(", ")}`,
    data.result && RESULTS[data.result],
  ].filter(Boolean);
  if (facts.length) parts.push(make("p.by", {}, facts.join(" · ")));
  if (data.asked?.length) {
    parts.push(make("details", {}, make("summary", {}, `${count(data.asked.length, "question")} so far`),
      make("ul", {}, data.asked.map((each) => make("li", {}, `${each.question} ${each.answer}`)))));
  }
  if (data.commitment) parts.push(make("p.by", { title: `SHA-256 of the secret, told before the game: ${data.commitment}` }, `sealed: ${data.commitment.slice(0, SEAL)}`));
  return make("div", {}, parts);
}

const SEAL = 16; // characters of it, as the message has
const RESULTS = { won: "you won", lost: "you lost", draw: "a draw", ended: "it ended" };

function drawBoard({ board, result }, say) {
  const fields = board.map((field, at) => {
    const number = String(at + 1);
    const free = field === " " && !result;
    return make("button", {
      type: "button", disabled: !free, "aria-label": `field ${number}${field === " " ? "" : `: ${field}`}`,
      ...(free && { "data-says": number, onclick: () => say(number) }),
    }, field.trim());
  });
  return make("div.board", { role: "group", "aria-label": "Board" }, fields);
}

function drawPlain(data) {
  const known = Object.entries(data).filter(([, value]) => value !== null && value !== "");
  const shown = (value) => (Array.isArray(value) ? value.map(shown).join(", ") : typeof value === "object" ? JSON.stringify(value) : String(value));
  return make("dl", {}, known.flatMap(([name, value]) => [make("dt", {}, name.replaceAll("_", " ")), make("dd", {}, shown(value))]));
}

const BODIES = { game: drawGame, games: () => null, questionnaire: drawPhrase, personality: drawScores };

const STATES = { applied: "Done.", undone: "Undone.", declined: "Declined." };

function drawProposal({ id, summary, state, can_undo: canUndo }, say) {
  const buttons = [];
  if (state === "pending") buttons.push(sayButton({ label: "Yes, do it", says: "yes" }, say, "primary"), sayButton({ label: "No", says: "no" }, say));
  if (canUndo) buttons.push(button("Undo", () => say("Undo that.", { undo: id }), "chip", { "data-says": "undo" }));
  return make("section.card", { "aria-label": "A proposal", "data-kind": "proposal" },
    make("h3", {}, state === "pending" ? "Shall I?" : STATES[state] ?? state), make("p", {}, summary), make("div.chips", {}, buttons));
}
