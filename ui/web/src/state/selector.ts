/** Small edits of a selector's text: the server alone decides what is valid. */

interface Part {
  label: string;
  operator: string;
  text: string;
}

/** A string, a word, or any other sign. */
const TOKEN = /"(?:[^"\\]|\\.)*"?|'(?:[^'\\]|\\.)*'?|[A-Za-z_][\w.-]*|\s+|./gs;

/** The parts that all must hold; a selector with an `or` of its own is one part. */
function parts(selector: string): Part[] {
  const inner = selector.trim().replace(/^\{(.*)\}$/s, "$1");
  const texts = [""];
  let depth = 0;
  let alternatives = false;
  for (const [token] of inner.matchAll(TOKEN)) {
    if (token === "(") depth++;
    if (token === ")") depth--;
    if (depth === 0 && token === "or") alternatives = true;
    if (depth === 0 && (token === "," || token === "and")) texts.push("");
    else texts[texts.length - 1] += token;
  }
  const kept = alternatives ? [`(${inner.trim()})`] : texts.map((text) => text.trim()).filter(Boolean);
  return kept.map((text) => {
    const [, label = "", operator = ""] = /^([A-Za-z_][\w.-]*)\s*(=~|!~|!=|=)/.exec(text) ?? [];
    return { label, operator, text };
  });
}

const others = (selector: string, label: string) =>
  parts(selector).filter((part) => part.label !== label || part.operator !== "=").map(({ text }) => text);

/** A label's value in the quotes of a selector. */
export function quote(value: string): string {
  return `"${value.replace(/[\\"]/g, "\\$&").replace(/\n/g, "\\n").replace(/\t/g, "\\t")}"`;
}

/** `selector` narrowed to `label="value"`; an equality on that label is replaced. */
export function withEquality(selector: string, label: string, value: string): string {
  return [...others(selector, label), `${label}=${quote(value)}`].join(", ");
}

/** `selector` without its equalities on `label`. */
export function withoutEquality(selector: string, label: string): string {
  return others(selector, label).join(", ");
}

/** The value `selector` pins `label` to; undefined where it does not. */
export function equalityOf(selector: string, label: string): string | undefined {
  const text = parts(selector).find((part) => part.label === label && part.operator === "=")?.text;
  const quoted = text && /=\s*(["'])(.*)\1$/s.exec(text)?.[2];
  if (quoted === undefined) return undefined;
  const escapes: Record<string, string> = { n: "\n", t: "\t" };
  return quoted.replace(/\\([\\"'nt])/g, (_, sign: string) => escapes[sign] ?? sign);
}
