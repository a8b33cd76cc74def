// The past of all cards on the overview: drawn when it comes into view, anew while somebody looks, for the chosen time.

import { draw } from "./lib/chart.js";

const EVERY_MS = 5000;
const panel = document.getElementById("history");
const chart = document.getElementById("chart-fleet");
const address = panel.querySelector("[data-fleet-charts]").dataset.fleetCharts;
let isSeen = false;

function chosen() {
  return panel.querySelector("[data-span][aria-current]").dataset.span;
}

async function load() {
  if (document.hidden || !isSeen) return;
  const span = chosen();
  const answer = await fetch(`${address}?span=${span}`, { headers: { Accept: "application/json" } });
  if (!answer.ok || span !== chosen()) return;
  const { memory } = await answer.json();
  requestAnimationFrame(() => draw(chart, memory));
}

panel.addEventListener("click", (event) => {
  const button = event.target.closest("[data-span]");
  if (!button) return;
  panel.querySelectorAll("[data-span]").forEach((each) => each.removeAttribute("aria-current"));
  button.setAttribute("aria-current", "true");
  load();
});

new IntersectionObserver(([entry]) => {
  isSeen = entry.isIntersecting;
  load();
}).observe(panel);
setInterval(load, EVERY_MS);
document.addEventListener("visibilitychange", load);
