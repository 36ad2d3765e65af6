/** How true a view is: what is told of the server's counts, and how the code behind a gap is shown in the graph. Pure. */

import type { Behind, Counts, FlameFacts, Incomplete, Status, Truth } from "../api/types";
import { baseName } from "../flame/names";
import { equalityOf, withEquality, withoutEquality } from "./selector";
import type { ViewState } from "./url";

/** The share of complete stacks, 0…1; 1 when there are none. */
export const completeShare = ({ samples, complete }: Pick<FlameFacts, "samples" | "complete">): number =>
  samples ? complete / samples : 1;

/** All losses together. */
export const lostSamples = (lost: Counts): number => Object.values(lost).reduce((sum, samples) => sum + samples, 0);

/** What code behind a gap is called. */
export function behindName({ binary, kind }: Behind): string {
  if (binary) return baseName(binary);
  if (kind === "jit") return "Code made at run time";
  return kind ? "Code outside any file" : "No frame at all";
}

/** In which processes, and where in it: `app · foo_step, foo_leap`. */
export function behindPlaces({ binary, functions, processes }: Behind): string {
  const list = (names: { name: string }[]) => names.map(({ name }) => name).join(", ");
  // Code without a file has no names.
  return [list(processes), binary ? list(functions) : ""].filter(Boolean).join(" · ");
}

/** The largest gap: its reason and the code behind it. */
export function largestGap(truth: Truth): { reason: Incomplete; behind: Behind } | undefined {
  const gaps = truth.reasons.flatMap((reason) => reason.binaries.map((behind) => ({ reason, behind })));
  return gaps.reduce<(typeof gaps)[number] | undefined>(
    (most, gap) => (most && most.behind.samples >= gap.behind.samples ? most : gap), undefined,
  );
}

/** The selector without the reason it is narrowed to: what the drawer tells of. */
export const wholeQuery = (query: string): string =>
  shownReason(query) === undefined ? query : withoutEquality(query, "status");

/** The reason that the selector is narrowed to. */
export const shownReason = (query: string): string | undefined => equalityOf(query, "status");

type Choice = Pick<ViewState, "query" | "search">;

/** What finds the frames of code behind a gap; empty where there are none. */
const searchFor = ({ binary, functions }: Behind): string => binary || (functions[0]?.name ?? "");

/** Whether the graph shows the stacks of a reason, and of one binary behind it where that is given. */
export function isShown({ query, search }: Choice, reason: string, behind?: Behind): boolean {
  return shownReason(query) === reason && search === (behind ? searchFor(behind) : "");
}

/** The choice that shows only the stacks of a reason, with the code behind them marked; all stacks if it is shown already. */
export function toggled(view: Choice, reason: string, behind?: Behind): Choice {
  if (isShown(view, reason, behind)) return { query: wholeQuery(view.query), search: "" };
  return { query: withEquality(view.query, "status", reason), search: behind ? searchFor(behind) : "" };
}

/** A text in parts: `code` stood between backticks. */
export function parts(text: string): { text: string; code: boolean }[] {
  return text.split("`").map((part, i) => ({ text: part, code: i % 2 === 1 })).filter((part) => part.text);
}

/** Vesta's own CPU use in cores: since an earlier status of the same run where there is one, else since the start. */
export function ownCores(status: Status, earlier: Status | undefined): number | undefined {
  if (!status.agent) return undefined;
  const same = earlier?.agent && earlier.started_ms === status.started_ms && earlier.now_ms < status.now_ms;
  const since = same ? earlier.now_ms : status.started_ms;
  const before = same ? (earlier.agent?.agent_cpu_s ?? 0) : 0;
  const seconds = (status.now_ms - since) / 1000;
  return seconds > 0 ? Math.max(0, status.agent.agent_cpu_s - before) / seconds : undefined;
}
