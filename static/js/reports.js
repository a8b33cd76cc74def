// The charts of a report, from the figures in the page; on paper in the colours of the light theme.

import { draw } from "./lib/chart.js";

const root = document.documentElement;
let theme = null;

for (const element of document.querySelectorAll("[data-figure]")) draw(element, JSON.parse(element.dataset.figure));

function turn(to) {
  root.dataset.bsTheme = to;
  document.dispatchEvent(new Event("theme"));
}

window.addEventListener("beforeprint", () => {
  theme = root.dataset.bsTheme;
  if (theme !== "light") turn("light");
});

window.addEventListener("afterprint", () => {
  if (theme && theme !== "light") turn(theme);
});
