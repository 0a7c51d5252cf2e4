// What the person's requests of the last 30 days used, by day and by who answered.

import { getJson } from "./api.js";
import { day, make } from "./dom.js";
import { session } from "./session.js";

const DAYS = 30;

export async function showUsage(view) {
  view.append(make("h1", {}, "Usage"), make("p.lead", {}, `Your requests of the last ${DAYS} days.`));
  const from = new Date(Date.now() - DAYS * 86400e3).toISOString();
  const of = (groupBy) => getJson(`/api/v1/usage?${new URLSearchParams({ group_by: groupBy, user: session.name, from })}`);
  try {
    const [days, models] = await Promise.all([of("day"), of("model")]);
    const newest = days.data.toSorted((a, b) => b.day.localeCompare(a.day));
    view.append(
      table("By day", "Day", newest.map((each) => [day(`${each.day}T12:00`), each])),
      table("By model", "Model", models.data.map((each) => [each.model ?? "no model", each])));
  } catch (problem) {
    view.append(make("p.problem", { role: "alert" }, problem.message));
  }
}

function table(title, first, rows) {
  if (!rows.length) return make("p.empty", {}, "Nothing yet.");
  const tokens = (each) => each.prompt_tokens + each.completion_tokens;
  const most = Math.max(1, ...rows.map(([, each]) => tokens(each)));
  const hasCost = rows.some(([, each]) => each.cost_microusd > 0);
  const body = rows.map(([name, each]) => {
    const bar = make("span.bar");
    bar.style.width = `${(100 * tokens(each)) / most}%`;
    return make("tr", {},
      make("th", { scope: "row" }, name),
      make("td", {}, each.requests.toLocaleString()),
      make("td.wide", {}, make("span.number", {}, tokens(each).toLocaleString()), make("span.track", { "aria-hidden": "true" }, bar)),
      hasCost && make("td", {}, `$${(each.cost_microusd / 1e6).toFixed(4)}`));
  });
  const head = [first, "Requests", "Tokens", hasCost && "Cost"].filter(Boolean).map((each) => make("th", { scope: "col" }, each));
  return make("table", {}, make("caption", {}, title), make("thead", {}, make("tr", {}, head)), make("tbody", {}, body));
}
