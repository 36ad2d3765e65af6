// The server's answers, summed up a second time and in another way than the page does it.

/** Asks the API; `params` as in docs/api.md, lists for those that come several times. */
export async function ask(base, path, params = {}) {
  const pairs = Object.entries(params).flatMap(([name, value]) => [value].flat().map((one) => [name, String(one)]));
  const response = await fetch(`${base}/api/v1/${path}?${new URLSearchParams(pairs)}`);
  if (!response.ok) throw new Error(`${response.url}: ${response.status} ${await response.text()}`);
  return response.json();
}

/** The flame tree of a span in milliseconds. */
export const flame = (base, { from, until }, params = {}) =>
  ask(base, "flame", { from: (from / 1000).toFixed(3), until: (until / 1000).toFixed(3), ...params });

/** Every node with its stack of `{ kind, name, binary }`, from the outermost frame to the node itself. */
export function stacks({ nodes, frames, strings, kinds }) {
  const found = [];
  nodes.parent.forEach((distance, i) => {
    const id = nodes.frame[i];
    const frame = { kind: kinds[frames.kind[id]], name: strings[frames.function[id]], binary: strings[frames.binary[id]] };
    found.push({ self: nodes.self[i], stack: distance ? [...found[i - distance].stack, frame] : [frame] });
  });
  return found;
}

/** Samples whose stack holds a frame that `test` accepts. */
export const matching = (answer, test) =>
  stacks(answer).filter(({ stack }) => stack.some((frame) => frame.kind !== "root" && test(frame)))
    .reduce((sum, { self }) => sum + self, 0);

/** Incomplete stacks by reason, then by kind and binary of the frame whose caller is missing. */
export function gaps(answer) {
  const reasons = new Map();
  for (const { self, stack } of stacks(answer)) {
    const mark = stack.findLastIndex(({ kind }) => kind === "truncated");
    if (mark < 0 || self === 0) continue;
    const reason = stack[mark].name.replace(/^\[|\]$/g, "").replace(/ /g, "_");
    const { kind, binary } = stack[mark + 1] ?? { kind: "", binary: "" };
    const file = `${kind === "inlined" ? "native" : kind} ${binary}`;
    const binaries = reasons.get(reason) ?? reasons.set(reason, new Map()).get(reason);
    binaries.set(file, (binaries.get(file) ?? 0) + self);
  }
  return reasons;
}

/** Self and total samples by function name. */
export function byFunction(answer) {
  const rows = new Map();
  const row = (frame) => {
    const key = `${frame.name} ${frame.binary}`;
    if (!rows.has(key)) rows.set(key, { ...frame, self: 0, total: 0 });
    return rows.get(key);
  };
  for (const { self, stack } of stacks(answer)) {
    const code = stack.filter(({ kind }) => kind !== "root" && kind !== "group");
    for (const entry of new Set(code.map(row))) entry.total += self;
    if (code.length > 0) row(code.at(-1)).self += self;
  }
  return [...rows.values()];
}

/** A share as the page writes it. */
export function percent(part, all) {
  const value = (part / all) * 100;
  const text = value <= 0 ? "0" : value < 0.05 ? "<0.1" : value.toFixed(1);
  return `${text === "100.0" && part < all ? "99.9" : text}\u202f%`;
}

/** The two ends of the URL's `t`, in milliseconds. */
export function spanOf(url) {
  const [first, second] = new URL(url.replaceAll("+", "%2B")).searchParams.get("t").split("/");
  const zone = first.slice(19).replace(/^\.\d+/, "");
  const end = second.includes("T") ? second : `${first.slice(0, 11)}${second}${zone}`;
  return { from: Date.parse(first), until: Date.parse(end) };
}
