// Makes elements. Text only ever becomes a text node: nothing here, nor anywhere on the page, parses HTML.

/** An element: `make("button.primary", {type: "button", onclick}, "Send")`. Attributes that are null or false are left out. */
export function make(tag, attributes = {}, ...children) {
  const [name, ...classes] = tag.split(".");
  const element = document.createElement(name);
  if (classes.length) element.className = classes.join(" ");
  for (const [key, value] of Object.entries(attributes)) {
    if (value === null || value === undefined || value === false) continue;
    if (typeof value === "function") element.addEventListener(key.slice(2), value);
    else element.setAttribute(key, value === true ? "" : value);
  }
  element.append(...children.flat().filter((child) => child !== null && child !== undefined && child !== false));
  return element;
}

/** One of the page's own icons. */
export function icon(name) {
  const svg = document.createElementNS("http://www.w3.org/2000/svg", "svg");
  const use = document.createElementNS("http://www.w3.org/2000/svg", "use");
  use.setAttribute("href", `#i-${name}`);
  svg.setAttribute("aria-hidden", "true");
  svg.append(use);
  return svg;
}

/** A button that does something. */
export const button = (label, onclick, kind = "quiet", more = {}) =>
  make(`button.${kind}`, { type: "button", onclick, ...more }, label);

/** A link to elsewhere, if its address is one of the web; else its words. Followed by nobody but the person.
 * `name`: what a screen reader calls it, if its words alone do not tell. */
export function link(text, url, name = null) {
  let address;
  try {
    address = new URL(url);
  } catch {
    return make("span", {}, text);
  }
  if (!["https:", "http:"].includes(address.protocol)) return make("span", {}, text);
  return make("a", { href: address.href, target: "_blank", rel: "noopener noreferrer", "aria-label": name }, text);
}

/** Tell it to who listens instead of looking. */
export function announce(text) {
  document.getElementById("status").textContent = text;
}

/** Ask before something that cannot be taken back; resolves to whether the person said yes. */
export function ask(title, text, yes) {
  const dialog = document.getElementById("ask");
  dialog.querySelector("h2").textContent = title;
  dialog.querySelector("p").textContent = text;
  dialog.querySelector("[value=yes]").textContent = yes;
  dialog.returnValue = "no";
  dialog.showModal();
  return new Promise((resolve) =>
    dialog.addEventListener("close", () => resolve(dialog.returnValue === "yes"), { once: true }),
  );
}

const DAY = new Intl.DateTimeFormat(undefined, { dateStyle: "medium" });
const TIME = new Intl.DateTimeFormat(undefined, { dateStyle: "medium", timeStyle: "short" });

/** A date for people. */
export const day = (instant) => DAY.format(new Date(instant));

/** A date and time for people. */
export const time = (instant) => TIME.format(new Date(instant));

/** "1 memory", "3 memories". */
export const count = (number, one, many = `${one}s`) => `${number.toLocaleString()} ${number === 1 ? one : many}`;
