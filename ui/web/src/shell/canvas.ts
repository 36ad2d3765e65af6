/** A canvas that keeps the size of its box, crisp at any pixel ratio. */

import { type Accessor, createSignal, onCleanup, onMount } from "solid-js";

/** Size in CSS pixels, and device pixels per CSS pixel. */
export interface CanvasSize {
  width: number;
  height: number;
  ratio: number;
}

/** Follows the size of an element. */
export function createSize(element: () => HTMLElement): Accessor<CanvasSize> {
  const [size, setSize] = createSignal<CanvasSize>({ width: 0, height: 0, ratio: 1 }, {
    // An observer tells of the first size, too, and nobody needs to draw for that.
    equals: (a, b) => a.width === b.width && a.height === b.height && a.ratio === b.ratio,
  });
  onMount(() => {
    const measure = () => {
      const { clientWidth: width, clientHeight: height } = element();
      setSize({ width, height, ratio: devicePixelRatio || 1 });
    };
    const observer = new ResizeObserver(measure);
    observer.observe(element());
    // A move to another screen changes the ratio and not the size.
    addEventListener("resize", measure);
    onCleanup(() => {
      observer.disconnect();
      removeEventListener("resize", measure);
    });
    measure();
  });
  return size;
}

/** The canvas' context with its scale set; undefined while it has no size. */
export function prepared(canvas: HTMLCanvasElement, { width, height, ratio }: CanvasSize): CanvasRenderingContext2D | undefined {
  if (width < 1 || height < 1) return undefined;
  const w = Math.round(width * ratio);
  const h = Math.round(height * ratio);
  if (canvas.width !== w || canvas.height !== h) {
    canvas.width = w;
    canvas.height = h;
  }
  const context = canvas.getContext("2d") ?? undefined;
  context?.setTransform(ratio, 0, 0, ratio, 0, 0);
  return context;
}

/** Runs `draw` once before the next paint, however often it is asked for. */
export function createPainter(draw: () => void): () => void {
  let wanted = 0;
  onCleanup(() => cancelAnimationFrame(wanted));
  return () => {
    if (wanted) return;
    wanted = requestAnimationFrame(() => {
      wanted = 0;
      draw();
    });
  };
}
