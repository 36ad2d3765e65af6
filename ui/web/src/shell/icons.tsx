/** Icons, drawn in code: strokes of 1.5 on a grid of 16. */

import type { JSX } from "solid-js";

const PATHS = {
  chevron: "M4.5 6.5 8 10l3.5-3.5",
  search: "M11.2 7a4.2 4.2 0 1 1-8.4 0 4.2 4.2 0 0 1 8.4 0zM10.2 10.2 13.5 13.5",
  close: "m4 4 8 8M12 4l-8 8",
  download: "M8 2.500v7M5 6.800l3 3 3-3M3 12.500v1h10v-1",
  menu: "M2.5 4h11M2.5 8h11M2.5 12h11",
  help: "M13.8 8A5.8 5.8 0 1 1 2.2 8a5.8 5.8 0 0 1 11.6 0zM6.4 6.300c.2-1 .8-1.4 1.6-1.4.9 0 1.6.6 1.6 1.4 0 1.2-1.6 1.2-1.6 2.500M8 11.100v.1",
  filter: "M2.5 4h11M4.5 8h7M6.5 12h3",
  icicle: "M2.5 4h11M2.5 8h8M2.5 12h4",
  flame: "M2.5 12h11M2.5 8h8M2.5 4h4",
  palette: "M8 2.200a5.8 5.8 0 1 0 0 11.600c1 0 1.5-.7 1.3-1.500-.3-1.100.3-1.900 1.400-1.900h1.200c1.200 0 1.900-.9 1.900-2.300C13.800 4.800 11.200 2.200 8 2.200zM5.200 7v.1M7.4 5v.1M10.300 5.700v.1",
  pin: "M8 10.500V14M5 2.500h6M6 2.500v4L4 10.500h8l-2-4v-4",
  clock: "M13.8 8A5.8 5.8 0 1 1 2.2 8a5.8 5.8 0 0 1 11.6 0zM8 4.600V8l2.400 1.600",
  link: "M6.7 9.300a2.8 2.8 0 0 0 4 0l2-2a2.8 2.8 0 0 0-4-4l-.8.8M9.3 6.700a2.8 2.8 0 0 0-4 0l-2 2a2.8 2.8 0 0 0 4 4l.8-.8",
} as const;

/** An icon of the set; the label stands on its button. */
export function Icon(props: { name: keyof typeof PATHS }): JSX.Element {
  return (
    <svg class="icon" viewBox="0 0 16 16" aria-hidden="true">
      <path d={PATHS[props.name]} />
    </svg>
  );
}

/** Half light, half dark. */
export function ThemeIcon(): JSX.Element {
  return (
    <svg class="icon" viewBox="0 0 16 16" aria-hidden="true">
      <path d="M13.5 8A5.5 5.5 0 1 1 2.5 8a5.5 5.5 0 0 1 11 0z" />
      <path class="filled" d="M8 2.500v11A5.5 5.5 0 0 0 8 2.500z" />
    </svg>
  );
}

/** Vesta's mark: an ember on a hearth of stacked frames. */
export function Mark(): JSX.Element {
  return (
    <svg class="mark" viewBox="0 0 20 22" aria-hidden="true">
      <path d="M10.4 0c.9 2.9 4 4.3 4 7.700a4.4 4.4 0 0 1-8.8 0c0-1.6.8-2.7 1.6-3.5.1 1.2.7 1.9 1.4 2.100C8.8 3.9 9.2 1.7 10.4 0z" />
      <rect x="3.5" y="13.4" width="13" height="2.4" rx="1" />
      <rect x="1.8" y="16.6" width="16.4" height="2.4" rx="1" />
      <rect x="0" y="19.6" width="20" height="2.4" rx="1" />
    </svg>
  );
}
