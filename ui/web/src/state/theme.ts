/** The theme: what the system says, unless the user chose one. */

import { createMemo, createSignal } from "solid-js";

export const THEMES = ["auto", "light", "dark"] as const;
export type Theme = (typeof THEMES)[number];

const KEY = "vesta.theme";

function saved(): Theme {
  try {
    const value = localStorage.getItem(KEY);
    return THEMES.find((theme) => theme === value) ?? "auto";
  } catch {
    // Storage may be forbidden; the page works without.
    return "auto";
  }
}

function show(theme: Theme): void {
  if (theme === "auto") delete document.documentElement.dataset.theme;
  else document.documentElement.dataset.theme = theme;
}

/** Makes the theme of the page. */
export function createTheme() {
  const [theme, set] = createSignal(saved());
  const system = matchMedia("(prefers-color-scheme: dark)");
  const [systemDark, setSystemDark] = createSignal(system.matches);
  system.addEventListener("change", (event) => setSystemDark(event.matches));
  show(theme());
  const setTheme = (next: Theme) => {
    set(next);
    show(next);
    try {
      localStorage.setItem(KEY, next);
    } catch {
      // As above: the choice then lasts until the page is closed.
    }
  };
  const dark = createMemo(() => (theme() === "auto" ? systemDark() : theme() === "dark"));
  return { theme, setTheme, dark };
}

export type ThemeState = ReturnType<typeof createTheme>;
