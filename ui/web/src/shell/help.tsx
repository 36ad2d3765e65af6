/** The key map. */

import { For, type JSX, onMount } from "solid-js";
import { KEY_MAP } from "./keys";
import { Icon } from "./icons";

export function Help(props: { close: () => void; version: string | undefined }): JSX.Element {
  let dialog!: HTMLDialogElement;
  onMount(() => dialog.showModal());
  return (
    <dialog
      ref={dialog} class="help" aria-labelledby="help-title" onClose={props.close}
      onClick={(event) => event.target === dialog && dialog.close()}
    >
      <header>
        <h2 id="help-title">Keys</h2>
        <button type="button" class="button ghost" aria-label="Close" onClick={() => dialog.close()}><Icon name="close" /></button>
      </header>
      <div class="columns">
        <For each={KEY_MAP}>
          {([title, keys]) => (
            <section>
              <h3>{title}</h3>
              <dl>
                <For each={keys}>{([key, what]) => <><dt><kbd>{key}</kbd></dt><dd>{what}</dd></>}</For>
              </dl>
            </section>
          )}
        </For>
      </div>
      <p class="caption">Vesta {props.version}. The unit of load is cores: CPU seconds per second. <a class="link" href="/api">The HTTP API</a></p>
    </dialog>
  );
}
