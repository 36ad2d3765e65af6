/** What drawings depend on beside their data: fonts that arrive, and what the user asked the system for. */

import { type Accessor, createSignal, onCleanup, onMount } from "solid-js";
import { forgetWidths } from "./text";

/** `more` contrast draws outlines and darker textures; `forced` uses the system's own colours. */
export type Contrast = "normal" | "more" | "forced";

/** Follows what the system says about contrast. */
export function createContrast(): Accessor<Contrast> {
  const forced = matchMedia("(forced-colors: active)");
  const more = matchMedia("(prefers-contrast: more)");
  const read = (): Contrast => (forced.matches ? "forced" : more.matches ? "more" : "normal");
  const [contrast, setContrast] = createSignal(read());
  const changed = () => setContrast(read());
  for (const query of [forced, more]) query.addEventListener("change", changed);
  onCleanup(() => {
    for (const query of [forced, more]) query.removeEventListener("change", changed);
  });
  return contrast;
}

/** A number that changes when a font has come: widths measured with the stand-in are wrong then. */
export function createFonts(): Accessor<number> {
  const [fonts, setFonts] = createSignal(0);
  onMount(() => {
    void Promise.all(["450 12px Inter", "600 12px Inter", "italic 450 12px Inter"].map((font) => document.fonts.load(font)))
      .then(() => {
        forgetWidths();
        setFonts((n) => n + 1);
      });
  });
  return fonts;
}
