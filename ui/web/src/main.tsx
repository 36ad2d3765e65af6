import { render } from "solid-js/web";
import { ApiError } from "./api/client";
import { App, type AppProps } from "./app";
import { setZone } from "./format/zone";
import { stateAsked } from "./state/link";
import { parseState } from "./state/url";
import "./styles/index.css";

const opened = async (): Promise<AppProps> => {
  try {
    return { query: await stateAsked() };
  } catch (reason) {
    // What it stood for is gone: the page begins anew, and says so.
    history.replaceState(null, "", "/");
    return { query: "", lost: reason instanceof ApiError ? reason : new ApiError(String(reason), 0, "") };
  }
};

void opened().then((props) => {
  // Before anything is drawn, for what draws times does not watch their zone.
  setZone(parseState(props.query).zone);
  const root = document.getElementById("app");
  if (root) render(() => <App {...props} />, root);
});
