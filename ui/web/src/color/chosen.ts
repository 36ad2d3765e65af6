/** The colours of this browser: bands that its user gave to binaries and values of labels. */

import { createSignal } from "solid-js";
import { BANDS, type Palette, palette, useBands } from "./bands";

const KEY = "vesta.bands";
/** More would not be told apart by eight bands. The eldest choices give way. */
const MOST = 200;

function saved(): ReadonlyMap<string, number> {
  try {
    const found: unknown = JSON.parse(localStorage.getItem(KEY) ?? "{}");
    if (typeof found !== "object" || found === null) return new Map();
    // By name, so that bands may be put in another order one day.
    const known = Object.entries(found).map(([key, name]) => [key, (BANDS as readonly unknown[]).indexOf(name)] as const);
    return new Map(known.filter(([, band]) => band >= 0).slice(-MOST));
  } catch {
    // Storage may be forbidden or hold what we did not write.
    return new Map();
  }
}

/** Palettes without ranks, which small swatches ask for again and again. */
const made = new Map<string, Palette>();

const [bands, setBands] = createSignal<ReadonlyMap<string, number>>(new Map());
const use = (next: ReadonlyMap<string, number>) => {
  useBands(next);
  made.clear();
  setBands(next);
};
use(saved());
// Another tab of the same browser has chosen.
if (typeof addEventListener === "function") addEventListener("storage", (event) => event.key === KEY && use(saved()));

/** The band that was chosen for a key; undefined where it has that of everybody. */
export const chosenBand = (key: string): number | undefined => bands().get(key);

/** Gives a key a band, or with undefined that of everybody again. */
export function chooseBand(key: string, band: number | undefined): void {
  const next = new Map([...bands()].filter(([known]) => known !== key));
  if (band !== undefined) next.set(key, band);
  const kept = new Map([...next].slice(-MOST));
  use(kept);
  try {
    localStorage.setItem(KEY, JSON.stringify(Object.fromEntries([...kept].map(([known, at]) => [known, BANDS[at]]))));
  } catch {
    // The choice then lasts until the page is closed.
  }
}

/** `palette` with the colours of this browser; what is drawn with it is drawn anew when they change. */
export function ownPalette(dark: boolean, forced = false, ranked?: ReadonlySet<string>): Palette {
  bands();
  if (ranked) return palette(dark, forced, ranked);
  const key = `${dark} ${forced}`;
  const known = made.get(key) ?? palette(dark, forced);
  made.set(key, known);
  return known;
}
