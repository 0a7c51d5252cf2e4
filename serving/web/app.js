// The start: who is here, and which place of the page is shown.

import { ApiError, getJson, send } from "./api.js";
import { openChat } from "./chat.js";
import { announce } from "./dom.js";
import { showMemory } from "./memory.js";
import { showPrivacy } from "./privacy.js";
import { applyTheme, changeTheme, session, takeFromAddress } from "./session.js";
import { showUsage } from "./usage.js";
import { showYou } from "./you.js";

const PLACES = {
  chat: ["Chat", showChat],
  memory: ["Memory", showMemory],
  privacy: ["Privacy", showPrivacy],
  you: ["You", showYou],
  usage: ["Usage", showUsage],
};
const main = document.getElementById("main");
const home = document.getElementById("home");
const door = document.getElementById("sign-in");
const form = door.querySelector("form");
let chat = null; // kept while other places are shown: its cards have buttons that nothing else has

async function show(isFirst = false) {
  if (!session.isOpen) return showDoor();
  const place = location.hash.replace("#/", "");
  const [title, render] = PLACES[place] ?? PLACES.chat;
  document.title = `${title} · Bondhu`;
  for (const anchor of document.querySelectorAll("nav a")) {
    if (anchor.hash === `#/${PLACES[place] ? place : "chat"}`) anchor.setAttribute("aria-current", "page");
    else anchor.removeAttribute("aria-current");
  }
  if (render === showChat && chat) {
    main.replaceChildren(chat.view);
    main.focus();
    return chat.back();
  }
  const view = document.createElement("div");
  view.className = `place ${title.toLowerCase()}`;
  main.replaceChildren(view);
  if (!isFirst) main.focus();
  return render(view);
}

function showChat(view) {
  chat = openChat(view);
  return chat.start();
}

function dropChat() {
  chat?.leave();
  chat = null;
}

function showHome() {
  door.hidden = true;
  home.hidden = false;
  document.getElementById("who").textContent = session.name;
  return show(true);
}

function showDoor(problem = "") {
  home.hidden = true;
  door.hidden = false;
  document.title = "Bondhu";
  form.querySelector(".problem").textContent = problem;
  document.getElementById("key-field").hidden = Boolean(brought);
  document.getElementById("name").focus();
}

async function enter(event) {
  event.preventDefault();
  const name = form.elements.name.value.trim();
  const key = brought ?? form.elements.key.value.trim();
  if (!name || !key) return showDoor(name ? "The key is missing." : "What are you called?");
  try {
    await send("/v1/models", { key });
  } catch (problem) {
    if (!(problem instanceof ApiError)) throw problem;
    if (problem.status === 401) brought = null;
    return showDoor(problem.status === 401 ? "This key is not valid." : problem.message);
  }
  session.open(key, name);
  form.reset();
  brought = null;
  return showHome();
}

function signOut() {
  session.close();
  dropChat();
  main.replaceChildren();
  history.replaceState(null, "", location.pathname);
  announce("You have signed out.");
  showDoor();
}

/** The key that the address brought; one that is good for a single use is exchanged for it. */
async function keyOf(found) {
  if (!found) return null;
  if (found.kind === "key") return found.value;
  const headers = { authorization: `Once ${found.value}` };
  return (await getJson("/api/v1/sign-in", { method: "POST", headers, key: null })).key;
}

let brought = null;
applyTheme();
document.getElementById("theme").addEventListener("click", changeTheme);
document.getElementById("sign-out").addEventListener("click", signOut);
form.addEventListener("submit", enter);
addEventListener("forgotten", dropChat); // all that it shows
addEventListener("hashchange", () => home.hidden || show());

const found = takeFromAddress();
try {
  brought = await keyOf(found);
} catch (problem) {
  if (!session.isOpen) showDoor(problem.message); // who is in already stays in
}
if (brought && session.name) session.open(brought, session.name);
if (session.isOpen) await showHome();
else if (door.hidden) showDoor();
