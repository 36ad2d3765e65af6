/** Views kept in this browser, by a name. */

import { PAGES, pathOf } from "../state/url";

/** A saved view: the part of its URL that says what is looked at. */
export interface SavedView {
  name: string;
  url: string;
}

const KEY = "vesta.views";
/** Of this page, whichever of its pages: what else a browser may hold is no link to follow. */
const OWN = new RegExp(`^(?:/|${PAGES.filter((page) => page !== "explore").map(pathOf).join("|")})(?:\\?|$)`);
/** More would not be found again. */
const MOST = 100;

export function savedViews(): SavedView[] {
  try {
    const found: unknown = JSON.parse(localStorage.getItem(KEY) ?? "[]");
    if (!Array.isArray(found)) return [];
    const isView = (view: unknown): view is SavedView =>
      typeof view === "object" && view !== null && typeof (view as SavedView).name === "string" && OWN.test((view as SavedView).url);
    return found.filter(isView);
  } catch {
    // Storage may be forbidden or hold what we did not write.
    return [];
  }
}

/** Keeps the views; false where the browser does not. */
export function keepViews(views: readonly SavedView[]): boolean {
  try {
    localStorage.setItem(KEY, JSON.stringify(views.slice(-MOST)));
    return true;
  } catch {
    return false;
  }
}
