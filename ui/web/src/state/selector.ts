/** Small edits of a selector's text: the server alone decides what is valid. */

interface Matcher {
  label: string;
  operator: string;
  text: string;
}

/** Splits at the commas outside quotes. */
function split(selector: string): string[] {
  const parts: string[] = [];
  let start = 0;
  let quoted = false;
  for (let i = 0; i < selector.length; i++) {
    if (selector[i] === "\\" && quoted) i++;
    else if (selector[i] === '"') quoted = !quoted;
    else if (selector[i] === "," && !quoted) {
      parts.push(selector.slice(start, i));
      start = i + 1;
    }
  }
  parts.push(selector.slice(start));
  return parts.map((part) => part.trim()).filter(Boolean);
}

function matchers(selector: string): Matcher[] {
  const inner = selector.trim().replace(/^\{(.*)\}$/s, "$1");
  return split(inner).map((text) => {
    const [, label = "", operator = ""] = /^([A-Za-z_][\w.]*)\s*(=~|!~|!=|=)/.exec(text) ?? [];
    return { label, operator, text };
  });
}

/** A label's value in the quotes of a selector. */
export function quote(value: string): string {
  return `"${value.replace(/[\\"]/g, "\\$&").replace(/\n/g, "\\n")}"`;
}

/** `selector` narrowed to `label="value"`; an equality on that label is replaced. */
export function withEquality(selector: string, label: string, value: string): string {
  const wanted = `${label}=${quote(value)}`;
  const kept = matchers(selector).filter((m) => m.label !== label || m.operator !== "=");
  return [...kept.map(({ text }) => text), wanted].join(", ");
}

/** `selector` without its equalities on `label`. */
export function withoutEquality(selector: string, label: string): string {
  const kept = matchers(selector).filter((m) => m.label !== label || m.operator !== "=");
  return kept.map(({ text }) => text).join(", ");
}

/** The value `selector` pins `label` to; undefined where it does not. */
export function equalityOf(selector: string, label: string): string | undefined {
  const text = matchers(selector).find((m) => m.label === label && m.operator === "=")?.text;
  const value = text && /"((?:[^"\\]|\\.)*)"$/s.exec(text)?.[1];
  return value?.replace(/\\n/g, "\n").replace(/\\(.)/g, "$1");
}
