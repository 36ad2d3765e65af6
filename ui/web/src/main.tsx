import { render } from "solid-js/web";
import { App } from "./app";
import { setZone } from "./format/zone";
import { parseState } from "./state/url";
import "./styles/index.css";

// Before anything is drawn, for what draws times does not watch their zone.
setZone(parseState(location.search).zone);

const root = document.getElementById("app");
if (root) render(() => <App />, root);
