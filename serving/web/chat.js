// The chat: what was said in this conversation, a box to say more, and with whom.

import { chunksOf, getJson, send } from "./api.js";
import { announce, button, icon, make } from "./dom.js";
import { Reply, spoken } from "./reply.js";
import { session } from "./session.js";

const MAX_SENT = 12; // messages that go along; what is older comes back by memory
const MAX_SHOWN = 40; // of an earlier visit
const RETRY_MS = 5000; // while nobody can answer
const FIRST = "page";

/** What the agents are called; a model keeps its id. */
const CALLED = {
  "bondhu/auto": "Bondhu, for anything",
  "bondhu/chat": "Bondhu, for talking",
  "bondhu/music": "Music",
  "bondhu/video": "Something to watch",
  "bondhu/games": "Games",
  "bondhu/personality": "About yourself",
};

/** A chat in `view`, which goes on while other places are shown. */
export const openChat = (view) => new Chat(view);

class Chat {
  constructor(view) {
    this.turns = []; // {role, content}
    this.conversation = session.recall("conversation") ?? FIRST;
    this.running = null; // an AbortController while an answer comes
    this.timer = null;
    this.log = make("ol.log", { "aria-label": "Conversation", "aria-busy": "true" });
    this.model = make("select", { id: "model", onchange: () => session.keep("model", this.model.value) });
    this.box = make("textarea", {
      id: "say", rows: "1", "aria-label": "Your message", placeholder: "Say something…", enterkeyhint: "send",
      oninput: () => this.grow(), onkeydown: (event) => this.key(event),
    });
    this.send = make("button.send", { type: "submit", "aria-label": "Send" }, icon("send"));
    const form = make("form.composer", { onsubmit: (event) => this.submit(event) },
      make("div.field", {}, this.box, this.send),
      make("div.row", {},
        make("label", { for: "model" }, "With"), this.model,
        button("New conversation", () => this.afresh(), "quiet", { class: "quiet end" })));
    this.scroll = make("div.scroll", {}, make("h1.unseen", {}, "Chat"), this.log);
    this.view = view;
    view.append(this.scroll, form);
  }

  async start() {
    this.ready = this.load(); // what is said meanwhile is sent after it
    await this.ready;
    this.focus();
  }

  async load() {
    await Promise.all([this.models(), this.past()]);
    if (!this.turns.length) this.greet();
    this.down();
    this.log.removeAttribute("aria-busy");
  }

  /** Show it again: its cards and an answer that still comes are as they were. */
  back() {
    this.down();
    this.focus();
  }

  leave() {
    clearTimeout(this.timer);
    this.running?.abort();
  }

  focus() {
    if (matchMedia("(pointer: fine)").matches) this.box.focus(); // elsewhere a keyboard would cover the words
  }

  async models() {
    clearTimeout(this.timer);
    let ids = [];
    try {
      const { data } = await getJson("/v1/models");
      ids = data.filter((each) => each.root || each.id.startsWith("bondhu/")).map((each) => each.id); // others embed
    } catch (problem) {
      announce(problem.message);
    }
    const agents = ids.filter((id) => CALLED[id]).sort((a, b) => Object.keys(CALLED).indexOf(a) - Object.keys(CALLED).indexOf(b));
    const others = ids.filter((id) => !CALLED[id]);
    const option = (id) => make("option", { value: id }, CALLED[id] ?? (id === "bondhu" ? "Bondhu" : id));
    this.model.replaceChildren(
      ...agents.map(option),
      ...(agents.length ? [make("optgroup", { label: "Models" }, others.reverse().map(option))] : others.reverse().map(option)));
    const chosen = session.recall("model");
    if (ids.includes(chosen)) this.model.value = chosen;
    this.model.disabled = !ids.length;
    if (!ids.length) {
      this.model.append(make("option", { value: "bondhu" }, "nobody is awake yet"));
      this.timer = setTimeout(() => this.models(), RETRY_MS);
    }
  }

  /** What was said here before, from the person's own export. */
  async past() {
    try {
      const { conversations } = await getJson("/api/v1/export");
      const turns = conversations.find((each) => each.external_id === this.conversation)?.messages ?? [];
      for (const turn of turns.slice(-MAX_SHOWN)) {
        const isReply = turn.speaker === "assistant";
        this.turns.push({ role: isReply ? "assistant" : "user", content: turn.text });
        this.log.append(isReply ? Reply.past(turn).element : spoken(turn.text));
      }
    } catch (problem) {
      this.log.append(make("li.note", { role: "alert" }, `Earlier messages cannot be shown: ${problem.message}`));
    }
  }

  greet() {
    const has = (id) => [...this.model.options].some((each) => each.value === id);
    const starts = ["What do you know about me?", "I had a long day.", "Remember that I love the rain."];
    if (has("bondhu/games") || has("bondhu/auto")) starts.push("Let's play a game.");
    if (has("bondhu/music") || has("bondhu/auto")) starts.push("Some calm music for the evening?");
    this.log.append(make("li.greeting", {},
      make("p.hello", {}, `Hello, ${session.name}.`),
      make("p", {}, "I am here, and I remember what you tell me, until you say otherwise."),
      make("div.chips", {}, starts.map((text) => button(text, () => this.say(text), "chip")))));
  }

  afresh() {
    this.running?.abort();
    this.conversation = `${FIRST}-${Date.now().toString(36)}`;
    session.keep("conversation", this.conversation);
    this.turns = [];
    this.log.replaceChildren();
    this.greet();
    announce("A new conversation.");
    this.box.focus();
  }

  key(event) {
    if (event.key === "Enter" && !event.shiftKey && !event.isComposing) this.submit(event);
    if (event.key === "Escape" && this.running) this.running.abort();
  }

  submit(event) {
    event.preventDefault();
    if (this.running) {
      if (event.type === "submit") this.running.abort();
      return;
    }
    const text = this.box.value.trim();
    if (!text) return;
    this.box.value = "";
    this.grow();
    this.say(text);
  }

  /** Say it, and show the answer as it comes. `extra` goes along in the field `bondhu`. */
  async say(text, extra) {
    await this.ready;
    if (this.running) return;
    const isHere = this.log.contains(document.activeElement); // on a button that goes away
    this.log.querySelector(".greeting")?.remove();
    this.turns.push({ role: "user", content: text });
    const said = this.turns.slice(-MAX_SENT);
    const reply = new Reply((words, more) => this.say(words, more));
    for (const old of this.log.querySelectorAll("[data-says]")) old.disabled = true; // their moment is over
    if (isHere) this.focus();
    this.log.append(spoken(text), reply.element);
    this.down();
    this.busy(new AbortController());
    try {
      const response = await send("/v1/chat/completions", {
        method: "POST",
        headers: { "x-bondhu-memory": "on", "x-bondhu-conversation": this.conversation, "x-bondhu-notices": "event" },
        body: { model: this.model.value || "bondhu", messages: said, stream: true, ...(extra && { bondhu: extra }) },
        signal: this.running.signal,
      });
      reply.begin(response.headers);
      for await (const chunk of chunksOf(response)) {
        const isDown = this.isDown;
        reply.add(chunk);
        if (isDown) this.down();
      }
      reply.end();
    } catch (problem) {
      if (problem.name === "AbortError") reply.end("You stopped the answer here.");
      else reply.fail(problem.message, () => this.again(text, reply, extra));
      if (problem.status === 503) this.models();
    } finally {
      this.busy(null);
    }
    if (reply.text) this.turns.push({ role: "assistant", content: reply.text });
    else this.turns.pop();
    this.down();
  }

  again(text, reply, extra) {
    reply.element.previousElementSibling?.remove();
    reply.element.remove();
    if (this.turns.at(-1)?.role === "assistant") this.turns.splice(-2);
    this.say(text, extra);
  }

  busy(controller) {
    this.running = controller;
    this.send.replaceChildren(icon(controller ? "stop" : "send"));
    this.send.setAttribute("aria-label", controller ? "Stop" : "Send");
    if (controller) announce("Bondhu is answering.");
  }

  grow() {
    this.box.style.height = "auto";
    this.box.style.height = `${Math.min(this.box.scrollHeight, 200)}px`;
  }

  get isDown() {
    const { scrollTop, clientHeight, scrollHeight } = this.scroll;
    return scrollHeight - scrollTop - clientHeight < 120;
  }

  down() {
    this.scroll.scrollTop = this.scroll.scrollHeight;
  }
}
