/** The event lane above the areas, and the form that annotates a moment. */

import { For, type JSX, Show, createEffect, createSignal, on } from "solid-js";
import { ApiError, addAnnotation, removeMark } from "../api/client";
import { clock, day } from "../format/time";
import type { Explore } from "../state/explore";
import type { History } from "../state/history";
import type { Placed } from "./events";
import { type Scale, toX } from "./scale";

const SIGNS: Record<Placed["kind"], string> = { deploy: "▲", note: "◆", lost: "✕", rate: "↱", start: "┌", end: "┐" };
const NAMES: Record<Placed["kind"], string> = { deploy: "Deploy", note: "Note", lost: "Samples lost", rate: "Sampling frequency", start: "Process", end: "Process" };

export function EventLane(props: {
  explore: Explore; history: History; events: readonly Placed[]; height: number;
}): JSX.Element {
  const [open, setOpen] = createSignal("");
  const shown = () => props.events.find((event) => event.id === open());
  const remove = async (id: string) => {
    await removeMark("annotations", id).catch(() => undefined);
    setOpen("");
    await props.history.reloadAnnotations();
  };
  return (
    <div
      class="lane" style={{ height: `${props.height}px` }}
      onKeyDown={(event) => event.key === "Escape" && setOpen("")}
    >
      <For each={props.events}>
        {(event) => (
          <button
            type="button" class={`event ${event.kind}`} classList={{ left: event.left }} tabindex={event.id ? 0 : -1}
            style={{ left: `${event.x}px` }} data-event={event.kind} data-text={event.text}
            aria-label={`${NAMES[event.kind]}: ${event.text}, ${clock(Math.round(event.time / 1000) * 1000)}`}
            title={`${event.text} · ${clock(Math.round(event.time / 1000) * 1000)}`}
            onClick={() => event.id && setOpen(open() === event.id ? "" : event.id)}
          >
            <i aria-hidden="true">{SIGNS[event.kind]}</i>
            <Show when={event.room}><span style={{ "max-width": `${event.room}px` }}>{event.text}</span></Show>
          </button>
        )}
      </For>
      <Show when={shown()}>
        {(event) => (
          <div class="panel event-panel" role="group" aria-label="Annotation" style={{ left: `clamp(8px, ${event().x - 60}px, 100% - 260px)` }}>
            <p><b>{event().text}</b></p>
            <p class="caption">{NAMES[event().kind]}, {day(event().time, props.explore.now())} {clock(Math.round(event().time / 1000) * 1000)}</p>
            <p class="actions">
              <Show when={props.explore.status()?.takes_marks}>
                <button type="button" class="button" onClick={() => void remove(event().id!)}>Remove</button>
              </Show>
              <button type="button" class="button" onClick={() => setOpen("")}>Close</button>
            </p>
          </div>
        )}
      </Show>
    </div>
  );
}

export function Annotate(props: { explore: Explore; history: History; scale: Scale }): JSX.Element {
  const { explore } = props;
  const [text, setText] = createSignal("");
  const [kind, setKind] = createSignal<"note" | "deploy">("note");
  const [refused, setRefused] = createSignal("");
  let field!: HTMLInputElement;
  createEffect(on(explore.annotating, (time) => {
    if (time === undefined) return;
    setText("");
    setKind("note");
    setRefused("");
    queueMicrotask(() => field.focus());
  }));
  const close = () => explore.setAnnotating(undefined);
  const save = async (event: Event) => {
    event.preventDefault();
    const time = explore.annotating();
    if (time === undefined || !text().trim()) return;
    try {
      await addAnnotation(time, kind(), text().trim());
      close();
      await props.history.reloadAnnotations();
    } catch (reason) {
      setRefused(reason instanceof ApiError ? reason.message : String(reason));
    }
  };
  return (
    <Show when={explore.annotating()}>
      {(time) => (
        <form
          class="panel event-panel" aria-label="Annotate" onSubmit={(event) => void save(event)}
          style={{ left: `clamp(8px, ${toX(props.scale, time()) - 60}px, 100% - 260px)` }}
          onKeyDown={(event) => event.key === "Escape" && close()}
        >
          <p class="caption">At {day(time(), explore.now())} {clock(Math.round(time() / 1000) * 1000)}</p>
          <input
            ref={field} id="annotation" type="text" maxlength="200" aria-label="Annotation" placeholder="What happened?"
            value={text()} onInput={(event) => setText(event.currentTarget.value)}
          />
          <p class="actions">
            <For each={["note", "deploy"] as const}>
              {(name) => (
                <label><input type="radio" name="kind" checked={kind() === name} onChange={() => setKind(name)} /> {NAMES[name]}</label>
              )}
            </For>
            <span class="spring" />
            <button type="submit" class="button" disabled={!text().trim()}>Save</button>
          </p>
          <Show when={refused()}><p class="caption" role="alert">{refused()}</p></Show>
        </form>
      )}
    </Show>
  );
}
