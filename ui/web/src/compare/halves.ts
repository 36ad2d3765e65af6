/** The sandwich of a comparison: callers and callees of a function, of both sides. */

import type { FlameTree } from "../flame/tree";
import { halvesOf } from "../sandwich/halves";
import { type Exposure, pValue, significant } from "./stats";
import type { Compared } from "./union";

/** The callers and the callees of the function whose frames `match` holds; counts are values times `exposure`. */
export function comparedHalves(compared: Compared, match: Uint8Array, exposure: Exposure): { callers: Compared; callees: Compared } | undefined {
  const { tree } = compared;
  const of = (self: Float64Array, total: Float64Array) => halvesOf({ ...tree, self, total }, match);
  const wide = halvesOf(tree, match);
  const [a, b] = [of(compared.ownA, compared.a), of(compared.ownB, compared.b)];
  if (!wide) return undefined;
  const half = (of: "callers" | "callees"): Compared => {
    const whole = wide[of];
    const totals = values(whole, a?.[of], "total");
    const [valuesA, valuesB] = [totals, values(whole, b?.[of], "total")];
    const p = Float64Array.from(valuesA, (value, i) =>
      pValue(Math.round(value * exposure.a), Math.round((valuesB[i] as number) * exposure.b), exposure));
    return {
      tree: whole, a: valuesA, b: valuesB, ownA: values(whole, a?.[of], "self"), ownB: values(whole, b?.[of], "self"),
      real: significant(p), most: compared.most,
    };
  };
  return { callers: half("callers"), callees: half("callees") };
}

/** The values of one side, by the nodes of the tree of both. */
function values(whole: FlameTree, side: FlameTree | undefined, what: "self" | "total"): Float64Array {
  const known = new Map<number, number>();
  side?.path.forEach((path, node) => known.set(path, side[what][node] as number));
  return Float64Array.from(whole.path, (path) => known.get(path) ?? 0);
}
