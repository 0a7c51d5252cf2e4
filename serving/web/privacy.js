// What the person allows: whether their words may leave the house, and the private ones among them.

import { getJson, send } from "./api.js";
import { button, make, time } from "./dom.js";
import { session } from "./session.js";

export async function showPrivacy(view) {
  const path = `/api/v1/users/${encodeURIComponent(session.name)}/consent`;
  const problem = make("p.problem", { role: "alert" });
  const holds = make("p.holds", { role: "status" });
  const answered = make("p.by");
  const external = drawSwitch("external", "Models outside may answer", "When no model here can, your message goes to one of a company (Gemini). Without this it never leaves this house.");
  const sensitive = drawSwitch("sensitive", "Private things may go along", "Memories, and what looks private: health, money, addresses. Without this such messages stay here, even if then nobody answers.");
  const unset = button("Take my answer back", () => change("DELETE"));

  function draw(consent) {
    external.input.checked = consent.allow_external;
    sensitive.input.checked = consent.allow_sensitive;
    sensitive.input.disabled = !consent.allow_external;
    const now = consent.holds;
    const isRefused = consent.allow_external && !now.allow_external;
    holds.textContent = now.allow_external
      ? `As it is now, your words may leave the house${now.allow_sensitive ? ", private ones too" : ", but not the private ones"}.`
      : `As it is now, nothing of yours leaves this house.${isRefused ? " The key by which you came in does not allow it." : ""}`;
    holds.classList.toggle("out", now.allow_external);
    answered.textContent = consent.asked ? `You said so on ${time(consent.changed_at)}.` : "You have not been asked yet; that counts as no.";
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
    make("h1", {}, "What may leave the house"),
    make("p.lead", {}, "Your friend runs on this machine. What you say is kept here, and you decide about the rest."),
    holds, problem, external.element, sensitive.element, answered, make("div.row", {}, unset),
    make("p", {}, "Under each reply stands who answered, and whether anything left. This page asks nobody but this house: no fonts, pictures or counters of others."));
  await load();
}

function drawSwitch(id, label, hint) {
  const input = make("input", { type: "checkbox", role: "switch", id, "aria-describedby": `${id}-hint` });
  const element = make("div.switch", {}, input, make("label", { for: id }, label), make("p.hint", { id: `${id}-hint` }, hint));
  return { input, element };
}
