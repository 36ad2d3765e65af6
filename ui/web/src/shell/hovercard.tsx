/** A card that follows the pointer and is never under it. */

import { type JSX, createEffect } from "solid-js";

export function HoverCard(props: { x: number; y: number; children: JSX.Element }): JSX.Element {
  let card!: HTMLDivElement;
  createEffect(() => {
    const { x, y } = props;
    // Read after the children have changed its size.
    queueMicrotask(() => {
      const { width, height } = card.getBoundingClientRect();
      const left = x + 14 + width > innerWidth - 8 ? x - 14 - width : x + 14;
      const top = y + 18 + height > innerHeight - 8 ? y - 12 - height : y + 18;
      card.style.setProperty("transform", `translate(${Math.max(8, left)}px, ${Math.max(8, top)}px)`);
    });
  });
  return <div ref={card} class="hovercard" role="tooltip">{props.children}</div>;
}
