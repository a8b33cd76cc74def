// The live side of a page: its sockets, what to fetch again on a hint, "updated 2 s ago", and the pause button.
//
// HTTP renders, the socket carries numbers and hints. An element with data-refresh="queue jobs" has an hx-get of its own
// content and is fetched again when one of these names is hinted at.

import { LiveSocket } from "./socket.js";

const GAP_MS = 400; // between two fetches of one element
const LONGEST_GAP_MS = 3000; // where hints come without a pause: a busy site must not be fetched to death by its viewers
const CONNECTED_POLL_MS = 30000; // heals what a lost hint left stale
const DISCONNECTED_POLL_MS = 10000;

const sockets = [];
const fetched = new WeakMap(); // element -> { at, timer }
let status = "off";
let seenAt = Date.now();
let ticks = false; // whether something arrives every second, so that silence is a sign

export function openSocket(path, onMessage) {
  ticks ||= path === "/ws/fleet";
  const socket = new LiveSocket(
    path,
    (message) => {
      seenAt = Date.now();
      onMessage(message);
      showAge();
    },
    (news) => {
      const was = status;
      status = news;
      if (news === "on" && was !== "on") refreshAll();
      showStatus();
    },
  );
  sockets.push(socket);
  return socket;
}

// Fetches again, soon but not too often, every element that shows one of the names.
export function refresh(...names) {
  for (const name of names) {
    document.querySelectorAll(`[data-refresh~="${CSS.escape(name)}"]`).forEach(schedule);
  }
}

export function refreshAll() {
  document.querySelectorAll("[data-refresh]").forEach(schedule);
}

function schedule(element) {
  const last = fetched.get(element) ?? { at: 0, gap: GAP_MS, timer: 0 };
  if (last.timer || status === "paused") return;
  const quiet = Date.now() - last.at;
  const stays = quiet > LONGEST_GAP_MS || showsOneJob(element);
  const gap = stays ? GAP_MS : Math.min(LONGEST_GAP_MS, last.gap * 1.3);
  last.timer = setTimeout(
    () => {
      fetched.set(element, { at: Date.now(), gap, timer: 0 });
      if (element.isConnected) window.htmx.trigger(element, "refresh");
    },
    Math.max(0, last.gap - quiet),
  );
  fetched.set(element, last);
}

// One job changes as often as a person or its own end makes it change; only the hints of many jobs never pause.
function showsOneJob(element) {
  return /^job:\S+$/.test(element.dataset.refresh);
}

function paused() {
  return status === "paused";
}

function togglePause(button) {
  const pause = !paused();
  button.setAttribute("aria-pressed", String(pause));
  sockets.forEach((socket) => (pause ? socket.pause() : socket.resume()));
}

function showStatus() {
  document.querySelectorAll("[data-live]").forEach((note) => (note.dataset.live = status));
  showAge();
}

function showAge() {
  document.querySelectorAll("[data-live]").forEach((note) => {
    const age = Math.round((Date.now() - seenAt) / 1000);
    const words = note.dataset[status === "on" && (age < 5 || !ticks) ? "wordsNow" : `words${status[0].toUpperCase()}${status.slice(1)}`];
    note.querySelector(".live-words").textContent = words.replace("{age}", age);
  });
}

export function startLive() {
  document.addEventListener("click", (event) => {
    const button = event.target.closest("[data-pause-updates]");
    if (button) togglePause(button);
  });
  setInterval(showAge, 1000);
  let polledAt = Date.now();
  setInterval(() => {
    if (document.hidden || paused()) return;
    const gap = status === "on" ? CONNECTED_POLL_MS : DISCONNECTED_POLL_MS;
    if (Date.now() - polledAt < gap) return;
    polledAt = Date.now();
    refreshAll();
  }, 1000);
}
