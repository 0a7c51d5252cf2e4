// One reply: its words as they come, its cards, who gave it, whether anything left the house, and why it said that.

import { getJson, send } from "./api.js";
import { drawEvent } from "./cards.js";
import { announce, button, count, day, make } from "./dom.js";
import { markdown } from "./markdown.js";

const OUTSIDE = "external"; // as the quantisation of a model that is not here
const AGENT = "bondhu/"; // named instead of a model where none had a part

/** What the person said. */
export const spoken = (text) => make("li.mine", {}, make("span.unseen", {}, "You: "), make("p", {}, text));

const BY = { lexical: "its words", single: "its meaning", window: "what was said around it", reranker: "a second look" };

/** By what it was found, the surest first. */
function foundBy(rankers) {
  const names = Object.entries(rankers).sort(([, a], [, b]) => a.rank - b.rank).map(([name]) => BY[name] ?? name);
  return names.length ? `found by ${names.join(", ")}` : "always told";
}

export class Reply {
  /** `say` sends what a card's button says. */
  constructor(say) {
    this.say = say;
    this.text = "";
    this.id = null; // the completion's
    this.requestId = null;
    this.label = {};
    this.segments = null;
    this.steps = [];
    this.frame = 0;
    this.words = make("div.words", {}, make("span.waiting", {}, make("i"), make("i"), make("i")));
    this.cards = make("div.cards");
    this.about = make("div.about");
    this.element = make("li.theirs", { "aria-busy": "true" }, make("span.unseen", {}, "Bondhu: "), this.words, this.cards, this.about);
  }

  /** One of an earlier visit. */
  static past(turn) {
    const reply = new Reply(() => {});
    reply.text = turn.text;
    reply.id = turn.id;
    reply.element.removeAttribute("aria-busy");
    reply.draw();
    reply.about.append(make("span", {}, day(turn.said_at)), reply.whyButton());
    return reply;
  }

  begin(headers) {
    this.requestId = headers.get("x-request-id");
    this.memory = Object.fromEntries((headers.get("x-bondhu-memory") ?? "").split(", ").map((each) => each.split("=")));
    this.degraded = headers.get("x-bondhu-degraded");
    const [model, ...rest] = (headers.get("x-bondhu-model") ?? "").split("; ");
    this.label = { model, ...Object.fromEntries(rest.map((each) => each.split("="))) };
  }

  add(chunk) {
    this.id ??= chunk.id;
    if (chunk.bondhu?.segments) this.segments = chunk.bondhu.segments; // several had a part in it
    const choice = chunk.choices?.[0];
    for (const event of (choice?.delta ?? choice?.message)?.bondhu?.events ?? []) {
      if (event.type === "tool_step" || event.type === "tool") this.steps.push(event);
      else if (event.type === "notice") this.words.before(make("p.notice", { role: "note" }, event.text));
      else this.cards.append(...[drawEvent(event, this.say)].filter(Boolean));
    }
    const piece = choice?.delta?.content ?? choice?.message?.content;
    if (piece) {
      this.text += piece;
      this.frame ||= requestAnimationFrame(() => this.draw());
    }
  }

  draw() {
    cancelAnimationFrame(this.frame);
    this.frame = 0;
    this.words.replaceChildren(...markdown(this.text));
  }

  /** It is whole, or ends here for the reason that `note` tells. */
  end(note = "") {
    this.draw();
    this.element.removeAttribute("aria-busy");
    announce(this.text ? `Bondhu: ${this.text}` : note);
    if (note) this.about.append(make("span", {}, note));
    if (this.requestId) this.tell(!note);
  }

  fail(message, again) {
    this.draw();
    this.element.removeAttribute("aria-busy");
    this.about.append(make("p.problem", { role: "alert" }, message), button("Try again", again));
  }

  tell(isWhole) {
    const { model, quantization } = this.label;
    this.where = make("span.where", {}, quantization === OUTSIDE ? "left the house" : "stayed in the house");
    this.where.classList.toggle("out", quantization === OUTSIDE);
    this.about.append(make("span", { title: this.label.revision && `revision ${this.label.revision}, ${quantization}` },
      this.degraded ? "a ready answer, by no model" : model?.startsWith(AGENT) ? "no model was needed" : model || "unknown"), this.where);
    const { recalled, remembered, forgot, muted, undo } = this.memory;
    if ("away" in this.memory) this.about.append(make("span.problem", {}, "memory did not answer in time: nothing was recalled"));
    if (recalled > 0) this.about.append(make("span", {}, `recalled ${recalled}`));
    if (remembered > 0) this.about.append(make("span", {}, `remembered ${remembered}`));
    if (muted > 0) this.about.append(make("span", {}, `will not bring up ${muted}`));
    if (forgot > 0) this.about.append(make("span", {}, `forgot ${forgot}`), undo ? this.undoButton(undo) : "");
    if (this.steps.length) this.about.append(this.stepsTaken());
    if (isWhole && !(forgot >= 0)) this.about.append(this.whyButton());
    this.ledger();
  }

  /** The ledger knows everybody who had a part in it. */
  async ledger() {
    try {
      const used = await getJson(`/v1/usage/${encodeURIComponent(this.requestId)}`);
      const segments = used.segments?.length ? used.segments : this.segments ?? [];
      if (!segments.some((each) => each.quantization === OUTSIDE)) return;
      this.where.textContent = "left the house";
      this.where.classList.add("out");
    } catch {
      this.where.title = "as the answer itself says; the ledger could not be asked";
    }
  }

  stepsTaken() {
    const lines = this.steps.map((each) => make("li", {}, [each.name, each.state, each.detail].filter(Boolean).join(" · ")));
    return make("details", {}, make("summary", {}, count(this.steps.length, "step")), make("ul", {}, lines));
  }

  undoButton(id) {
    const undo = button("Undo", async () => {
      try {
        await send(`/api/v1/wishes/${encodeURIComponent(id)}/undo`, { method: "POST" });
        undo.replaceWith(make("span", {}, "and put back"));
        announce("Put back.");
      } catch (problem) {
        undo.replaceWith(make("span.problem", { role: "alert" }, problem.message));
      }
    });
    return undo;
  }

  whyButton() {
    const toggle = button("Why did you say that?", async () => {
      if (this.why) {
        this.why.hidden = !this.why.hidden;
      } else {
        this.why = make("div.why", {}, make("p", {}, "…"));
        this.element.append(this.why);
        this.why.replaceChildren(...(await this.reasons()));
        this.why.scrollIntoView({ block: "nearest" });
      }
      toggle.setAttribute("aria-expanded", String(!this.why.hidden));
      if (!this.why.hidden) announce(this.why.textContent);
    }, "quiet", { "aria-expanded": "false" });
    return toggle;
  }

  async reasons() {
    let given;
    try {
      ({ given } = await getJson(`/api/v1/messages/${encodeURIComponent(this.id)}/why`));
    } catch (problem) {
      return [make("p", {}, problem.status === 404 ? "This reply was not stored, so its context is not known." : problem.message)];
    }
    if (!given.length) return [make("p", {}, "Only from this conversation: no memories were used.")];
    const items = given.map(({ item, rankers }) => make("li", {},
      make("blockquote", {}, markdown(item.quote ?? item.text)),
      make("small", {}, [
        item.object === "message" ? `${item.speaker === "assistant" ? "I" : "you"} said it` : `${item.sources.length ? `a summary of ${count(item.sources.length, "message")}` : "a memory"}${item.pinned ? ", pinned" : ""}`,
        day(item.said_at ?? item.event_at ?? item.created_at),
        foundBy(rankers),
      ].filter(Boolean).join(" · "))));
    return [make("p", {}, `It used ${count(given.length, "memory item")}:`), make("ol", {}, items)];
  }
}
