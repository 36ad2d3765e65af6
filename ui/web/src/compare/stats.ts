/** Whether counts of samples differ by more than chance: they are Poisson. The same as growth.rs does on the server. */

/** Seconds, or samples of all, that counts of each side are out of. */
export interface Exposure {
  a: number;
  b: number;
}

/** Up to this many samples a probability is summed exactly. */
const EXACT = 400;

/** The probability that rates which are the same give counts that differ at least so much, in either direction. */
export function pValue(a: number, b: number, { a: ta, b: tb }: Exposure): number {
  const all = a + b;
  const share = tb / (ta + tb);
  if (all === 0 || !(share > 0 && share < 1)) return 1;
  let oneSided: number;
  if (all <= EXACT) {
    oneSided = b >= all * share ? tail(all, share, b) : tail(all, 1 - share, a);
  } else {
    const distance = Math.max(0, Math.abs(b - all * share) - 0.5);
    oneSided = erfc(distance / Math.sqrt(2 * all * share * (1 - share))) / 2;
  }
  return Math.min(1, 2 * oneSided);
}

/** The probability of at least `least` of `n` when each has the probability `p`. */
function tail(n: number, p: number, least: number): number {
  const lnP = Math.log(p);
  const lnQ = Math.log(1 - p);
  let lnChoose = 0;
  let sum = 0;
  for (let k = 0; k <= n; k++) {
    if (k >= least) sum += Math.exp(lnChoose + k * lnP + (n - k) * lnQ);
    lnChoose += Math.log(Math.max(1, n - k)) - Math.log(k + 1);
  }
  return Math.min(1, sum);
}

/** The complementary error function for x ≥ 0: by its series near 0, by its continued fraction beyond. */
export function erfc(x: number): number {
  const gauss = Math.exp(-x * x);
  if (x < 2) {
    let term = x;
    let sum = x;
    for (let n = 1; n < 60; n++) {
      term *= (2 * x * x) / (2 * n + 1);
      sum += term;
    }
    return 1 - (2 / Math.sqrt(Math.PI)) * gauss * sum;
  }
  let fraction = x;
  for (let n = 59; n >= 1; n--) fraction = x + n / 2 / fraction;
  return gauss / (fraction * Math.sqrt(Math.PI));
}

/** Which of many tests stand when at most a share `rate` of these may be false (Benjamini and Hochberg). */
export function significant(p: ArrayLike<number>, rate = 0.05): Uint8Array {
  const order = Uint32Array.from({ length: p.length }, (_, i) => i).sort((x, y) => (p[x] as number) - (p[y] as number));
  let last = -1;
  order.forEach((at, rank) => {
    if ((p[at] as number) <= (rate * (rank + 1)) / p.length) last = rank;
  });
  const stands = new Uint8Array(p.length);
  for (let rank = 0; rank <= last; rank++) stands[order[rank] as number] = 1;
  return stands;
}

/** The rate of b less that of a, and the ends of its 95 % interval. */
export function change(a: number, b: number, { a: ta, b: tb }: Exposure): { change: number; low: number; high: number } {
  const difference = b / tb - a / ta;
  // One sample more than none: what was not seen once may be there all the same.
  const reach = 1.96 * Math.sqrt(Math.max(a, 1) / (ta * ta) + Math.max(b, 1) / (tb * tb));
  return { change: difference, low: difference - reach, high: difference + reach };
}
