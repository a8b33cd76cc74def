// The cards, once a second: bars, numbers and the last ten minutes. The names came with the page; the socket has keys only.

import { gib, percent } from "./lib/format.js";
import { openSocket, refresh } from "./lib/live.js";
import { Sparks } from "./lib/spark.js";

const NOTICEABLE = 2 ** 28;
const sparks = new Sparks();
const foreignBefore = new Map(); // uuid -> bytes, when the page was last told what is free

function show(message) {
  for (const device of message.devices) {
    const tile = document.querySelector(`[data-gpu="${CSS.escape(device.uuid)}"]`);
    if (!tile) {
      refresh("fleet"); // a card that this page does not know yet
      continue;
    }
    showNumbers(tile, device);
    if (!showBar(tile, device) || device.state !== tile.dataset.state) refresh("fleet");
    sparks.add(device.uuid, message.at, device.used, device.busy);
    sparks.draw(tile, device.uuid, device.total);
  }
}

function showNumbers(tile, device) {
  set(tile, "busy", percent(device.busy));
  set(tile, "temp", device.temp == null ? "" : `${Math.round(device.temp)} °C`);
  set(tile, "power", device.power == null ? "" : `${Math.round(device.power)} W`);
  set(tile, "used", gib(device.used), ".gpu-sum");
  noticeForeign(tile, device.foreign);
  tile.querySelector("[data-foreign-row]").hidden = !device.foreign;
}

// What is free for a job is the server's to say: ask again when strangers take or leave a noticeable part of the card.
function noticeForeign(tile, foreign) {
  set(tile, "foreign", gib(foreign));
  const now = foreign ?? 0;
  const before = foreignBefore.get(tile.dataset.gpu) ?? now;
  if (Math.abs(now - before) > NOTICEABLE) refresh("fleet");
  else if (foreignBefore.has(tile.dataset.gpu)) return;
  foreignBefore.set(tile.dataset.gpu, now);
}

function set(tile, name, text, within = "") {
  const place = tile.querySelector(`${within} [data-v="${name}"]`);
  if (place && place.textContent !== text) place.textContent = text;
}

// The same layout as jobs/views/fleet.py: bookings from the left, then what is not ours. False where the bookings differ.
function showBar(tile, device) {
  const groups = new Map([...tile.querySelectorAll("g[data-key]")].map((g) => [g.dataset.key, g]));
  let start = 0;
  for (const [key, booked, used] of device.segs) {
    const group = groups.get(key);
    if (!group) return false;
    groups.delete(key);
    const solid = Math.min(used ?? 0, device.total - start);
    place(group.querySelector(".used"), start, solid, device.total);
    place(group.querySelector(".edge"), start, null, device.total);
    for (const part of group.querySelectorAll(".tail, .tail-hatch")) {
      place(part, start + solid, Math.max(0, booked - solid), device.total);
    }
    const amount = tile.querySelector(`li[data-key="${key}"] [data-v="used"]`);
    if (amount) amount.textContent = gib(used);
    start += Math.max(booked, used ?? 0);
  }
  tile.querySelectorAll("g[data-foreign] rect").forEach((rect) => place(rect, start, device.foreign, device.total));
  return groups.size === 0;
}

function place(rect, start, width, total) {
  rect.setAttribute("x", `${((100 * start) / total).toFixed(2)}%`);
  if (width !== null) rect.setAttribute("width", `${((100 * width) / total).toFixed(2)}%`);
}

openSocket("/ws/fleet", (message) => {
  if (message.k === "history") sparks.replay(message.devices);
  if (message.k === "readings") show(message);
});
