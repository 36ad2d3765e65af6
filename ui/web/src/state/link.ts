/** Links that are short enough for chats and mail: a longer state is kept by the server, and stands in the URL by its id. */

import { fetchLink, keepLink } from "../api/client";

/** Longest URL, in characters, that is left as it is. */
export const LONGEST = 2000;
/** Nothing is kept of what a user is still changing. */
const SETTLED = 700;

/** The id that a URL names in place of its state. */
export const linkOf = (query: string): string | undefined => /^\??p=([0-9A-Z]{26})$/.exec(query)?.[1];

/** The address of a state; the path alone where that says it all. */
export const address = (path: string, query: string): string => `${path}${query ? `?${query}` : ""}`;

/** An absolute address of a state, short where the server keeps long ones. */
export async function shortAddress(path: string, query: string): Promise<string> {
  const long = location.origin + address(path, query);
  if (long.length <= LONGEST) return long;
  try {
    return `${location.origin}${path}?p=${(await keepLink(query)).id}`;
  } catch {
    // A server that keeps nothing: the long one leads there, too.
    return long;
  }
}

/** What the browser's history has of the place in view: a state whose URL names it by its id. */
const kept = (): string | undefined => {
  const state: unknown = (history.state as { kept?: unknown } | null)?.kept;
  return typeof state === "string" ? state : undefined;
};

/** The state in the address bar, as a query; undefined where only the server knows it. */
export const stateHere = (): string | undefined => kept() ?? (linkOf(location.search) ? undefined : location.search.replace(/^\?/, ""));

/** The same, asked of the server where need be. */
export async function stateAsked(): Promise<string> {
  const id = linkOf(location.search);
  const here = stateHere();
  if (here !== undefined || !id) return here ?? "";
  const { state } = await fetchLink(id);
  history.replaceState({ kept: state }, "");
  return state;
}

let timer: ReturnType<typeof setTimeout> | undefined;

/** Puts a state into the address bar, `replace` for no step of its own; `mayKeep`: whether the server keeps long ones. */
export function writeAddress(path: string, query: string, replace: boolean, mayKeep: boolean): void {
  if (path === location.pathname && stateHere() === query) return;
  clearTimeout(timer);
  const long = address(path, query);
  history[replace ? "replaceState" : "pushState"](null, "", long);
  if (!mayKeep || location.origin.length + long.length <= LONGEST) return;
  timer = setTimeout(async () => {
    const short = await shortAddress(path, query);
    // Somebody may have gone on meanwhile.
    if (path === location.pathname && stateHere() === query) history.replaceState({ kept: query }, "", short);
  }, SETTLED);
}
