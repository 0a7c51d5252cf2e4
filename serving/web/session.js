// Who is here, and by which key: in this tab's sessionStorage only, gone when the tab is.

const KEY = "bondhu.key";
const NAME = "bondhu.name";
const THEME = "bondhu.theme";

export const session = {
  get key() { return sessionStorage.getItem(KEY); },
  get name() { return sessionStorage.getItem(NAME); },
  get isOpen() { return Boolean(this.key && this.name); },
  open(key, name) {
    sessionStorage.setItem(KEY, key);
    sessionStorage.setItem(NAME, name);
  },
  close() { sessionStorage.clear(); },
  recall: (what) => sessionStorage.getItem(`bondhu.${what}`),
  keep: (what, value) => sessionStorage.setItem(`bondhu.${what}`, value),
};

/** What the address brought (`#once=…` or `#key=…`), taken out of the address bar and of the tab's history at once. */
export function takeFromAddress() {
  const found = /^#(once|key)=([\w.-]+)$/.exec(location.hash);
  if (found) history.replaceState(null, "", location.pathname);
  return found && { kind: found[1], value: found[2] };
}

/** Light or dark: what the system says, until the person says otherwise. */
export function applyTheme() {
  const chosen = localStorage.getItem(THEME);
  if (chosen) document.documentElement.dataset.theme = chosen;
}

export function changeTheme() {
  const { theme } = document.documentElement.dataset;
  const isDark = theme ? theme === "dark" : matchMedia("(prefers-color-scheme: dark)").matches;
  localStorage.setItem(THEME, isDark ? "light" : "dark");
  applyTheme();
}
