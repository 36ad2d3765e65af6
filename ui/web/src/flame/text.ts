/** Widths of text on canvas, remembered: measuring is the dearest part of drawing a label. */

const FAMILY = "Inter, system-ui, sans-serif";

export const FONTS = {
  frame: `450 12px ${FAMILY}`,
  inlined: `italic 450 12px ${FAMILY}`,
  group: `600 12px ${FAMILY}`,
  share: `400 11px ${FAMILY}`,
  axis: `400 11px ${FAMILY}`,
} as const;

export type Font = keyof typeof FONTS;

/** Texts remembered; then the memory starts anew. */
const LIMIT = 30_000;

const widths = new Map<string, number>();

/** Widths of single characters by font; a text is about as wide as their sum. */
const letters = new Map<Font, Float32Array>();

/** Forgets all widths: for when a web font has arrived. */
export function forgetWidths(): void {
  widths.clear();
  letters.clear();
}

/** About the width of `text`: without kerning, and without asking the browser for each. */
export function roughWidth(context: CanvasRenderingContext2D, text: string, font: Font): number {
  let known = letters.get(font);
  if (!known) letters.set(font, (known = new Float32Array(128)));
  let width = 0;
  for (let i = 0; i < text.length; i++) {
    const unit = text.charCodeAt(i);
    if (unit > 126) return textWidth(context, text, font);
    width += known[unit] || (known[unit] = textWidth(context, text.charAt(i), font));
  }
  return width;
}

/** How far a rough width may be off. */
const ROUGH = 1.04;

/** Whether `text` fits; it is measured only where that is close. */
export function fits(context: CanvasRenderingContext2D, text: string, font: Font, room: number): boolean {
  return roughWidth(context, text, font) * ROUGH <= room || textWidth(context, text, font) <= room;
}

/** The width of `text` in CSS pixels. */
export function textWidth(context: CanvasRenderingContext2D, text: string, font: Font): number {
  const key = font + text;
  let width = widths.get(key);
  if (width === undefined) {
    context.font = FONTS[font];
    width = context.measureText(text).width;
    if (widths.size >= LIMIT) widths.clear();
    widths.set(key, width);
  }
  return width;
}

/** `text`, or its beginning with an ellipsis; empty where fewer than two characters fit. */
export function fitted(context: CanvasRenderingContext2D, text: string, font: Font, room: number): string {
  const full = textWidth(context, text, font);
  if (full <= room) return text;
  // Start where the average character says, then walk to the exact place.
  let length = Math.max(0, Math.min(text.length - 1, Math.floor((room / full) * text.length)));
  const fits = (size: number) => textWidth(context, `${text.slice(0, size)}…`, font) <= room;
  if (fits(length)) while (length + 1 < text.length && fits(length + 1)) length++;
  else while (length > 0 && !fits(length)) length--;
  return length < 2 ? "" : `${text.slice(0, length)}…`;
}
