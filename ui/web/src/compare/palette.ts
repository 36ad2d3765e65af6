/** Colours of change: blue for less, ember for more, nothing for noise. */

const LIGHT = ["#6baae6", "#94bfe9", "#c6d9ec", "#e9ebee", "#eed0c1", "#eaa988", "#e58a59"];
const DARK = ["#2c6da5", "#2f597e", "#2f3f50", "#2b2e31", "#4f382c", "#7b4629", "#9f5020"];
/** Small changes are told apart better than large ones. */
const EXPONENT = 0.55;

const channels = (hex: string) => [1, 3, 5].map((at) => Number.parseInt(hex.slice(at, at + 2), 16));

export interface Diverging {
  /** The fill of a change, in parts of the largest one. */
  of(part: number): string;
  noise: string;
  more: string;
  less: string;
  outline: string;
  ink: string;
}

export function diverging(dark: boolean): Diverging {
  const stops = (dark ? DARK : LIGHT).map(channels);
  const fills = Array.from({ length: 121 }, (_, i) => {
    const place = (i / 120) * (stops.length - 1);
    const at = Math.min(stops.length - 2, Math.floor(place));
    const mix = (stops[at] as number[]).map((value, c) => Math.round(value + (((stops[at + 1] as number[])[c] as number) - value) * (place - at)));
    return `rgb(${mix.join(",")})`;
  });
  return {
    of: (part) => {
      const size = Math.min(1, Math.abs(part)) ** EXPONENT * Math.sign(part);
      return fills[Math.round(60 + size * 60)] as string;
    },
    noise: dark ? "#24221f" : "#efede7",
    more: dark ? "#ff9457" : "#a3380c",
    less: dark ? "#7ab8f0" : "#1f5f9c",
    outline: dark ? "rgba(255,255,255,.3)" : "rgba(28,26,23,.32)",
    ink: dark ? "#f4f1eb" : "#1c1a17",
  };
}
