// @grafana/flamegraph, as its README uses it. By `require`: among its ES modules and the CommonJS ones that they import, bundlers
// do not agree on what a default export is.
const { createDataFrame, createTheme } = require("@grafana/data");
const { FlameGraph } = require("@grafana/flamegraph");
const { createElement } = require("react");
const { createRoot } = require("react-dom/client");

// The first text on its canvas is its first frame.
const { fillText } = CanvasRenderingContext2D.prototype;
let drawn = false;
CanvasRenderingContext2D.prototype.fillText = function (...all) {
  if (!drawn && this.canvas.width > 300) {
    drawn = true;
    requestAnimationFrame(() => performance.mark("bench-done"));
  }
  return fillText.apply(this, all);
};

async function main() {
  const text = await (await fetch("/profile/levels.json")).text();
  const { level, value, self, label } = JSON.parse(text);
  const data = createDataFrame({
    name: "profile",
    fields: [
      { name: "level", values: level }, { name: "value", values: value }, { name: "self", values: self }, { name: "label", values: label },
    ],
  });
  const theme = createTheme({ colors: { mode: "light" } });
  createRoot(document.getElementById("chart")).render(
    createElement(FlameGraph, { data, getTheme: () => theme, stickyHeader: false }),
  );
}

void main();
