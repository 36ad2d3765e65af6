// A stack tree of the API's JSON as the bytes of its format `columns` (docs/api.md), for servers that stand in for Vesta.

const padded = (bytes) => {
  const out = new Uint8Array(Math.ceil(bytes.length / 8) * 8);
  out.set(bytes);
  return out;
};
const raw = (numbers) => padded(new Uint8Array(numbers.buffer, numbers.byteOffset, numbers.byteLength));

const fnv1a = (text) => {
  let hash = 0x811c9dc5;
  for (const byte of new TextEncoder().encode(text)) hash = Math.imul(hash ^ byte, 0x01000193);
  return hash >>> 0;
};

/** The nodes in preorder with siblings from wide to narrow. */
function drawingOrder({ parent, total }) {
  const children = parent.map(() => []);
  for (let i = 1; i < parent.length; i++) children[i - parent[i]].push(i);
  const order = [];
  const open = parent.length ? [0] : [];
  while (open.length > 0) {
    const node = open.pop();
    order.push(node);
    for (const child of children[node].sort((a, b) => total[b] - total[a] || a - b).reverse()) open.push(child);
  }
  return order;
}

export function columnsOf(flame, data = { from_ms: null, until_ms: null }) {
  const { nodes, frames, strings, ...facts } = flame;
  const order = drawingOrder(nodes);
  const place = new Int32Array(order.length);
  order.forEach((node, at) => (place[node] = at));
  const Values = nodes.total.every((value) => value <= 0xffffffff) ? Uint32Array : Float64Array;
  let end = 0;
  const text = new TextEncoder().encode(strings.join(""));
  const counts = { nodes: order.length, frames: frames.kind.length, strings: strings.length, text_bytes: text.length, value_bytes: Values.BYTES_PER_ELEMENT };
  let header = JSON.stringify({ ...facts, data, ...counts });
  const size = new TextEncoder().encode(header).length;
  header += " ".repeat((8 - ((size + 12) % 8)) % 8);
  const head = new TextEncoder().encode(`VESTAFL1....${header}`);
  new DataView(head.buffer).setUint32(8, head.length - 12, true);
  const parts = [
    head,
    raw(Values.from(order, (node) => nodes.self[node])),
    raw(Values.from(order, (node) => nodes.total[node])),
    raw(Uint32Array.from(order, (node, at) => at - place[node - nodes.parent[node]])),
    raw(Uint32Array.from(order, (node) => nodes.frame[node])),
    padded(Uint8Array.from(frames.kind)),
    ...["function", "system_name", "file", "line", "binary", "build_id", "unwound"].map((name) => raw(Uint32Array.from(frames[name]))),
    raw(Uint32Array.from(frames.function, (at) => fnv1a(strings[at]))),
    raw(Uint32Array.from(strings, (string) => (end += string.length))),
    text,
  ];
  const out = new Uint8Array(parts.reduce((sum, { length }) => sum + length, 0));
  let at = 0;
  for (const part of parts) {
    out.set(part, at);
    at += part.length;
  }
  return out;
}
