// d3-flame-graph, as its README uses it; with `?cut=1` it leaves out frames below a pixel, which it does not by itself.
import { select } from "d3";
import flamegraph from "d3-flame-graph";

const text = await (await fetch("/profile/nested.json")).text();
const chart = flamegraph().width(innerWidth).minFrameSize(Number(new URLSearchParams(location.search).get("cut")));
select("#chart").datum(JSON.parse(text)).call(chart);
requestAnimationFrame(() => {
  performance.mark("bench-done");
});
