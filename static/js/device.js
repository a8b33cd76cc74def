// The page of one card: its chart, drawn anew every ten seconds while somebody looks.

import { draw } from "./lib/chart.js";

const EVERY_MS = 10000;
const address = document.querySelector("[data-device-charts]").dataset.deviceCharts;

async function load() {
  if (document.hidden) return;
  const answer = await fetch(address, { headers: { Accept: "application/json" } });
  if (answer.ok) draw(document.getElementById("chart-memory"), (await answer.json()).memory);
}

load();
setInterval(load, EVERY_MS);
document.addEventListener("visibilitychange", load);
