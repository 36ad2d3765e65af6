/** Ranges that are kept beyond retention, and views that are kept in this browser. */

import { For, type JSX, Show, createSignal } from "solid-js";
import { ApiError, addPin, removeMark } from "../api/client";
import type { Pin } from "../api/types";
import { type SavedView, keepViews, savedViews } from "../find/saved";
import { range as rangeText } from "../format/time";
import { Icon } from "../shell/icons";
import { Menu } from "../shell/menu";
import type { Explore } from "../state/explore";
import type { History } from "../state/history";
import { formatState, pathOf } from "../state/url";

export function Pins(props: { explore: Explore; history: History }): JSX.Element {
  const { explore, history } = props;
  const [note, setNote] = createSignal("");
  const [said, setSaid] = createSignal("");
  const [views, setViews] = createSignal<SavedView[]>(savedViews());
  const span = () => explore.picked();
  const failed = (error: unknown) => setSaid(error instanceof ApiError ? error.message : String(error));
  const pin = async () => {
    try {
      await addPin(Math.floor(span().from / 1000) * 1000, Math.ceil(span().until / 1000) * 1000, note().trim());
      setNote("");
      setSaid("Pinned: kept until it is unpinned");
      await history.loadPins();
    } catch (error) {
      failed(error);
    }
  };
  const unpin = async (id: string) => {
    try {
      await removeMark("pins", id);
      if (explore.view().baseline === `pin:${id}`) explore.update({ baseline: "yesterday" }, true);
      await history.loadPins();
    } catch (error) {
      failed(error);
    }
  };
  const keep = (next: SavedView[]) => {
    setViews(next);
    if (!keepViews(next)) setSaid("This browser keeps nothing for this page");
  };
  const save = () => {
    const { page } = explore.view();
    const query = formatState(explore.view());
    const name = note().trim() || explore.view().query || rangeText(span().from, span().until, explore.now());
    keep([...views().filter((view) => view.name !== name), { name, url: `${pathOf(page)}${query ? `?${query}` : ""}` }]);
    setNote("");
  };
  const show = ({ from_ms: from, until_ms: until }: Pin) => explore.setRange({ from, until }, null);
  return (
    <Menu label="Pins and saved views" class="button ghost" align="right" trigger={<Icon name="pin" />}>
      {(close) => {
        void history.loadPins();
        return (
          <div class="pins">
            <form
              onSubmit={(event) => {
                event.preventDefault();
                save();
              }}
            >
              <input id="pin-note" type="text" maxlength="200" aria-label="Note or name" placeholder="A note or a name" value={note()} onInput={(event) => setNote(event.currentTarget.value)} />
              <p class="actions">
                <Show when={explore.status()?.takes_marks}>
                  <button type="button" class="button" title="Keeps the samples of this range beyond retention" onClick={() => void pin()}>Pin this range</button>
                </Show>
                <button type="submit" class="button" title="Keeps a link to this view in this browser">Save this view</button>
              </p>
            </form>
            <p class="caption" role="status">{said()}</p>
            <Show when={history.pins().length > 0}><p class="caption">Pinned ranges</p></Show>
            <For each={history.pins()}>
              {(at) => (
                <p class="kept" data-pin={at.id}>
                  <button type="button" class="item" onClick={() => { show(at); close(); }}>
                    {at.note || "No note"} <span class="quiet">{rangeText(at.from_ms, at.until_ms, explore.now())}</span>
                  </button>
                  <button
                    type="button" class="link" aria-pressed={explore.view().baseline === `pin:${at.id}`} title="Compare what is in view with this range"
                    onClick={() => explore.update({ baseline: `pin:${at.id}` }, true)}
                  >
                    as baseline
                  </button>
                  <Show when={explore.status()?.takes_marks}>
                    <button type="button" class="button ghost" aria-label={`Unpin ${at.note}`} onClick={() => void unpin(at.id)}><Icon name="close" /></button>
                  </Show>
                </p>
              )}
            </For>
            <Show when={views().length > 0}><p class="caption">Saved in this browser</p></Show>
            <For each={views()}>
              {(view) => (
                <p class="kept">
                  <a class="item" href={view.url}>{view.name}</a>
                  <button type="button" class="button ghost" aria-label={`Forget ${view.name}`} onClick={() => keep(views().filter((other) => other !== view))}><Icon name="close" /></button>
                </p>
              )}
            </For>
          </div>
        );
      }}
    </Menu>
  );
}
