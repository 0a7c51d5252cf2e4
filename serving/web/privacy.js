// The person's consent: whether their messages, and private content in them, may be sent to an external model.

import { getJson, send } from "./api.js";
import { button, make, time } from "./dom.js";
import { session } from "./session.js";

export async function showPrivacy(view) {
  const path = `/api/v1/users/${encodeURIComponent(session.name)}/consent`;
  const problem = make("p.problem", { role: "alert" });
  const holds = make("p.holds", { role: "status" });
  const answered = make("p.by");
  const external = drawSwitch("external", "Allow external models", "When no model here can answer, your message is sent to Google's Gemini. Without this it never leaves this server.");
  const sensitive = drawSwitch("sensitive", "Also send private content", "Memories, and anything that looks private: health, money, addresses. Without this, such messages stay here, even if nothing can answer them.");
  const unset = button("Withdraw my answer", () => change("DELETE"));

  function draw(consent) {
    external.input.checked = consent.allow_external;
    sensitive.input.checked = consent.allow_sensitive;
    sensitive.input.disabled = !consent.allow_external;
    const now = consent.holds;
    const isRefused = consent.allow_external && !now.allow_external;
    holds.textContent = now.allow_external
      ? `Your messages may be sent to an external model, ${now.allow_sensitive ? "with" : "without"} private content.`
      : `Your messages are never sent to an external model.${isRefused ? " The key that you signed in with does not allow it." : ""}`;
    holds.classList.toggle("out", now.allow_external);
    answered.textContent = consent.asked ? `You chose this on ${time(consent.changed_at)}.` : "You have not chosen yet; that counts as no.";
    unset.hidden = !consent.asked;
  }

  async function change(method, body) {
    problem.textContent = "";
    try {
      draw(await (await send(path, { method, body })).json());
    } catch (failure) {
      problem.textContent = failure.message;
      await load();
    }
  }

  async function load() {
    try {
      draw(await getJson(path));
    } catch (failure) {
      problem.textContent = failure.message;
    }
  }

  const set = () => change("PUT", {
    allow_external: external.input.checked,
    allow_sensitive: external.input.checked && sensitive.input.checked,
  });
  external.input.addEventListener("change", set);
  sensitive.input.addEventListener("change", set);
  view.append(
    make("h1", {}, "Privacy"),
    make("p.lead", {}, "Your friend runs on this server. What you say is stored here, and you decide whether anything is sent elsewhere."),
    holds, problem, external.element, sensitive.element, answered, make("div.row", {}, unset),
    make("p", {}, "Each reply shows which model answered, and whether anything was sent to an external one. This page only connects to this server: no external fonts, pictures or analytics."));
  await load();
}

function drawSwitch(id, label, hint) {
  const input = make("input", { type: "checkbox", role: "switch", id, "aria-describedby": `${id}-hint` });
  const element = make("div.switch", {}, input, make("label", { for: id }, label), make("p.hint", { id: `${id}-hint` }, hint));
  return { input, element };
}
