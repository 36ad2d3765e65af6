/** Draws one lane: how busy a thread or a CPU was, from 0 to one core. */

/** What a strip shows. */
export interface Strip {
  samples: readonly number[];
  /** Cores of a bucket in which one sample fell. */
  coresPerSample: number;
  width: number;
  height: number;
  fill: string;
  line: string;
}

/** Busy buckets as columns; less than a pixel high is still drawn as one, for it was not idle. */
export function drawStrip(context: CanvasRenderingContext2D, { samples, coresPerSample, width, height, fill, line }: Strip): void {
  context.clearRect(0, 0, width, height);
  context.fillStyle = line;
  context.fillRect(0, height - 1, width, 1);
  context.fillStyle = fill;
  const step = width / (samples.length || 1);
  for (let i = 0; i < samples.length; i++) {
    const busy = (samples[i] as number) * coresPerSample;
    if (busy <= 0) continue;
    const h = Math.max(1, Math.min(1, busy) * (height - 3));
    context.fillRect(i * step, height - 1 - h, Math.max(step, 0.7), h);
  }
}
