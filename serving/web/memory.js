// What is remembered of the person: to see, add to, change, forget, take along; and what can be put back.

import { getJson, send } from "./api.js";
import { announce, ask, button, count, day, make, time } from "./dom.js";
import { session } from "./session.js";

const PAGE = 20;
const KINDS = { fact: "fact", preference: "preference", event: "event", feeling: "feeling", person: "person", goal: "goal", summary: "summary" };
const path = (id) => `/api/v1/memories/${encodeURIComponent(id)}`;

export async function showMemory(view) {
  const list = make("ul.memories", { "aria-label": "Memories" });
  const problem = make("p.problem", { role: "alert" });
  const more = button("Show more", () => load(list.lastElementChild?.dataset.id));
  const search = make("input", { type: "search", id: "search", placeholder: "Search…", "aria-label": "Search your memories" });
  const wishes = make("section", { "aria-label": "What you asked me to forget" });
  const receipt = make("p.receipt", { role: "status" });
  let timer;
  search.addEventListener("input", () => { clearTimeout(timer); timer = setTimeout(() => load(), 250); });

  async function load(after) {
    const params = new URLSearchParams({ limit: PAGE });
    if (search.value.trim()) params.set("search", search.value.trim());
    if (after) params.set("after", after);
    await trying(async () => {
      const { data, has_more: hasMore } = await getJson(`/api/v1/memories?${params}`);
      if (!after) list.replaceChildren();
      list.append(...data.map((each) => drawMemory(each, trying)));
      if (!list.children.length) list.append(make("li.empty", {}, search.value ? "Nothing found." : "Nothing yet. What you tell me will be listed here."));
      more.hidden = !hasMore;
    });
  }

  async function trying(act) {
    problem.textContent = "";
    try {
      await act();
    } catch (failure) {
      problem.textContent = failure.message;
    }
  }

  const kind = make("select", { "aria-label": "Kind" }, Object.keys(KINDS).filter((each) => each !== "summary").map((each) => make("option", {}, each)));
  const text = make("input", { "aria-label": "Something to remember", placeholder: "Something to remember…", maxlength: "2000", required: true });
  const add = make("form.add", {
    onsubmit: (event) => {
      event.preventDefault();
      trying(async () => {
        const added = await getJson("/api/v1/memories", { method: "POST", body: { text: text.value.trim(), kind: kind.value } });
        list.querySelector(".empty")?.remove();
        list.prepend(drawMemory(added, trying));
        text.value = "";
        announce("Remembered.");
      });
    },
  }, text, kind, make("button.primary", { type: "submit" }, "Remember"));

  view.append(
    make("h1", {}, "What I remember"),
    make("p.lead", {}, "All of it is yours: you can change or delete it."),
    add, search, problem, list, more, wishes,
    make("section.whole", { "aria-label": "All of it" },
      make("h2", {}, "All of it"),
      make("div.row", {},
        button("Download everything (JSON)", () => trying(takeAlong)),
        button("Forget everything about me", () => trying(async () => {
          const found = await forgetAll();
          if (!found) return;
          await Promise.all([load(), drawWishes(wishes, trying)]);
          receipt.textContent = found;
        }), "danger")),
      receipt));
  more.hidden = true;
  await Promise.all([load(), trying(() => drawWishes(wishes, trying))]);
}

function drawMemory(memory, trying) {
  const row = make("li", { "data-id": memory.id });
  const change = (changes) => trying(async () => {
    memory = await getJson(path(memory.id), { method: "PATCH", body: { ...changes, changed_in: memory.changed_in } });
    draw();
    announce("Changed.");
    row.querySelector("button")?.focus();
  });
  const forget = () => trying(async () => {
    if (!(await ask("Forget this?", `“${memory.text}” will be deleted at once, for good.`, "Forget it"))) return;
    await send(path(memory.id), { method: "DELETE" });
    const next = row.nextElementSibling ?? row.previousElementSibling;
    row.remove();
    announce("Forgotten.");
    next?.querySelector("button")?.focus();
  });
  function draw() {
    const marks = [KINDS[memory.kind], memory.pinned && "pinned", memory.muted && "never brought up", memory.sensitivity === "sensitive" && "private"];
    row.replaceChildren(
      make("p.text", {}, memory.text),
      memory.quote && memory.quote !== memory.text ? make("blockquote", {}, memory.quote) : "",
      make("p.by", {}, marks.filter(Boolean).map((each) => make("span.tag", {}, each)), day(memory.event_at ?? memory.created_at)),
      make("div.row", {},
        button("Edit", edit, "quiet", { "aria-label": `Edit: ${memory.text}` }),
        button(memory.pinned ? "Unpin" : "Pin", () => change({ pinned: !memory.pinned })),
        button(memory.muted ? "Mention it again" : "Do not mention it", () => change({ muted: !memory.muted })),
        memory.sources.length ? button(`From ${count(memory.sources.length, "message")}`, showSources) : "",
        button("Forget", forget, "quiet", { class: "quiet warn", "aria-label": `Forget: ${memory.text}` })));
  }
  const showSources = () => trying(async () => {
    const shown = row.querySelector(".sources");
    if (shown) return shown.remove();
    const { data } = await getJson(`${path(memory.id)}/sources`);
    row.append(make("div.sources", { role: "group", "aria-label": "The messages that it was made from" },
      data.map((turn) => make("p.by", {}, `${day(turn.said_at)}, ${turn.speaker}: ${turn.text}`))));
    announce(`${count(data.length, "message")} shown.`);
  });
  function edit() {
    const text = make("textarea", { "aria-label": "The memory", rows: "3" });
    text.value = memory.text;
    row.replaceChildren(make("form", { onsubmit: (event) => { event.preventDefault(); change({ text: text.value.trim() }); } },
      text, make("div.row", {}, make("button.primary", { type: "submit" }, "Save"), button("Cancel", () => { draw(); row.querySelector("button").focus(); }))));
    text.focus();
  }
  draw();
  return row;
}

async function drawWishes(section, trying) {
  const { data } = await getJson("/api/v1/wishes");
  if (!data.length) return section.replaceChildren();
  const rows = data.map((wish) => {
    const row = make("li", {},
      make("p", {}, `${time(wish.created_at)}: ${count(wish.turns, "message")}, ${count(wish.memories, "memory", "memories")}`),
      make("p.by", {}, `Deleted for good at ${time(wish.expires_at)}, unless you want it back.`),
      make("div.row", {},
        button("Put back", () => trying(async () => {
          await send(`/api/v1/wishes/${encodeURIComponent(wish.id)}/undo`, { method: "POST" });
          row.replaceChildren("Put back.");
          announce("Put back.");
        })),
        button("Delete now", () => trying(async () => {
          if (!(await ask("Delete now?", "This cannot be undone.", "Delete it"))) return;
          await send(`/api/v1/wishes/${encodeURIComponent(wish.id)}`, { method: "DELETE" });
          row.remove();
        }), "quiet", { class: "quiet warn" })));
    return row;
  });
  section.replaceChildren(make("h2", {}, "What you asked me to forget"), make("ul.memories", {}, rows));
}

async function takeAlong() {
  const blob = await (await send("/api/v1/export")).blob();
  const anchor = make("a", { href: URL.createObjectURL(blob), download: "bondhu-export.json" });
  anchor.click();
  setTimeout(() => URL.revokeObjectURL(anchor.href), 60000);
}

/** What a second look at every place found; null: the person thought better of it. */
async function forgetAll() {
  const text = "Every conversation, every memory and your profile are deleted at once. This cannot be undone.";
  if (!(await ask("Forget everything about you?", text, "Forget everything"))) return null;
  const receipt = await getJson("/api/v1/forget", { method: "POST", body: { user: session.name } });
  dispatchEvent(new Event("forgotten"));
  const left = Object.values(receipt.remaining).reduce((sum, each) => sum + each, 0);
  return receipt.complete ? "Everything about you was deleted." : `${left} items could not be deleted; try again.`;
}
