// One job's page: live progress, log and charts.

import { draw } from "./lib/chart.js";
import { about } from "./lib/format.js";
import { openSocket, refresh } from "./lib/live.js";
import { LogView } from "./lib/log.js";

const CHARTS_EVERY_MS = 5000;
const root = document.getElementById("job");
const id = root.dataset.job;
const logRoot = document.getElementById("log");
const charts = document.getElementById("charts");
let log = null;
let chartsAt = 0;
let chartsTimer = 0;

async function startLog(attempt) {
  const { AnsiUp } = await import(document.querySelector("script[data-ansi]").dataset.ansi);
  log = new LogView(logRoot, AnsiUp, attempt);
  const line = /^#L(\d+)$/.exec(location.hash);
  await log.open(line ? Number(line[1]) : undefined);
}

function showProgress(progress) {
  const panel = document.querySelector("[data-progress]");
  if (!panel) return refresh(`job:${id}`); // the page was rendered before its first attempt
  if (!progress.total) return;
  const values = {
    share: Math.floor((100 * progress.step) / progress.total),
    step: progress.step,
    total: progress.total,
    epoch: progress.epoch?.toFixed(2),
    loss: progress.loss?.toFixed(4),
    lr: progress.lr?.toPrecision(3),
    eta: progress.eta_s == null ? null : `≈ ${about(progress.eta_s)}`,
  };
  for (const [name, value] of Object.entries(values)) {
    const place = panel.querySelector(`[data-p="${name}"]`);
    if (place) place.textContent = value ?? "–";
  }
  panel.querySelector("[data-with-progress]").hidden = false;
  const bar = panel.querySelector(".meter .fill");
  if (!bar) return refresh(`job:${id}`);
  bar.setAttribute("width", `${((100 * progress.step) / progress.total).toFixed(1)}%`);
}

async function loadCharts() {
  chartsAt = Date.now();
  const answer = await fetch(charts.dataset.charts, { headers: { Accept: "application/json" } });
  if (!answer.ok) return;
  const figures = await answer.json();
  draw(document.getElementById("chart-loss"), figures.loss);
  draw(document.getElementById("chart-memory"), figures.memory);
}

function loadChartsSoon() {
  if (chartsTimer || document.getElementById("output").hidden) return;
  const wait = Math.max(0, chartsAt + CHARTS_EVERY_MS - Date.now());
  chartsTimer = setTimeout(() => {
    chartsTimer = 0;
    loadCharts();
  }, wait);
}

function hear(message) {
  if (message.k === "changed") {
    refresh(`job:${id}`);
    loadChartsSoon();
  }
  if (message.k === "progress") {
    showProgress(message.progress);
    loadChartsSoon();
  }
  if (message.k === "readings") loadChartsSoon();
  if (message.k === "log" && message.attempt > 0) {
    if (document.getElementById("output").hidden) start(message.attempt);
    else log?.grow(message.attempt, message.size);
  }
}

function start(attempt) {
  document.getElementById("output").hidden = false;
  document.getElementById("no-output")?.remove();
  loadCharts();
  startLog(attempt);
}

if (!document.getElementById("output").hidden) start(Number(logRoot.dataset.attempt));
openSocket(`/ws/jobs/${id}`, hear);
