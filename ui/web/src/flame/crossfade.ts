/** Another range's graph comes as the one before it goes, so that eyes can follow what stays. */

const FADE_MS = 120;

/** Fades out what a canvas shows now, above what will be drawn on it. */
export function createCrossFade(canvas: () => HTMLCanvasElement): () => void {
  let before: HTMLCanvasElement | undefined;
  return () => {
    const { width, height } = canvas();
    before?.remove();
    if (width === 0 || height === 0) return;
    // Made for the moment: a second canvas of the graph's size takes megabytes.
    const copy = document.createElement("canvas");
    copy.width = width;
    copy.height = height;
    copy.className = "fading";
    copy.ariaHidden = "true";
    copy.getContext("2d")?.drawImage(canvas(), 0, 0);
    canvas().after(copy);
    before = copy;
    copy.animate({ opacity: [1, 0] }, FADE_MS).onfinish = () => copy.remove();
  };
}
