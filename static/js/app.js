// What every page does: times in the reader's zone, copy buttons, questions before grave deeds, keyboard shortcuts.

import { clockTime, duration, shortTime } from "./lib/format.js";
import { openSocket, refresh, startLive } from "./lib/live.js";

function showTimes(root = document) {
  root.querySelectorAll("time[data-moment]").forEach((time) => {
    time.textContent = clockTime(new Date(time.dateTime));
  });
  root.querySelectorAll("time[data-clock]").forEach((time) => {
    time.textContent = shortTime(new Date(time.dateTime));
  });
  root.querySelectorAll("time[data-title]").forEach((time) => {
    time.title = clockTime(new Date(time.dateTime));
  });
}

function countOn() {
  document.querySelectorAll("time[data-since]").forEach((time) => {
    time.textContent = duration(Math.max(0, (Date.now() - Date.parse(time.dateTime)) / 1000));
  });
}

async function copy(button) {
  const source = document.querySelector(button.dataset.copy);
  await navigator.clipboard.writeText(source.value ?? source.textContent.trim());
  const label = button.querySelector("[data-label]") ?? button;
  const before = label.textContent;
  label.textContent = button.dataset.done;
  setTimeout(() => (label.textContent = before), 1500);
}

// A grave deed asks first. Without scripts the form is simply sent.
function ask(form) {
  const dialog = document.getElementById("ask");
  dialog.querySelector("h2").textContent = form.dataset.ask;
  dialog.querySelector("p").textContent = form.dataset.askText ?? "";
  const button = dialog.querySelector("[value=yes]");
  button.textContent = form.dataset.askYes;
  button.classList.toggle("btn-grave", form.dataset.askGrave !== undefined);
  button.classList.toggle("btn-primary", form.dataset.askGrave === undefined);
  dialog.returnValue = "";
  dialog.showModal();
  return new Promise((resolve) => {
    dialog.addEventListener("close", () => resolve(dialog.returnValue === "yes"), { once: true });
  });
}

function chooseTheme(choice) {
  document.dispatchEvent(new CustomEvent("theme-choice", { detail: choice }));
  document.querySelectorAll("[name=theme]").forEach((button) => {
    button.setAttribute("aria-pressed", String(button.value === choice));
  });
}

const GO = { o: "/", j: "/jobs/", p: "/projects/", d: "/datasets/" };
let prefix = false;

function shortcut(event) {
  const typing = event.target.closest?.("input, textarea, select, [contenteditable]");
  if (typing || event.ctrlKey || event.metaKey || event.altKey || document.querySelector("dialog[open]")) return;
  if (prefix && GO[event.key]) location.href = GO[event.key];
  else if (event.key === "n") location.href = "/jobs/new";
  else if (event.key === "?") document.getElementById("keys").showModal();
  else if (event.key === "/") {
    const search = document.querySelector("[data-search]");
    search?.focus();
    if (search) event.preventDefault();
  }
  prefix = event.key === "g";
}

document.addEventListener("click", (event) => {
  const button = event.target.closest("[data-copy]");
  if (button) copy(button);
  const closer = event.target.closest("dialog [data-close]");
  if (closer) closer.closest("dialog").close();
});
document.addEventListener(
  "submit",
  async (event) => {
    const form = event.target;
    if (!form.dataset.ask || form.dataset.sure) return;
    event.preventDefault();
    event.stopImmediatePropagation();
    if (!(await ask(form))) return;
    form.dataset.sure = "yes";
    form.requestSubmit(event.submitter);
    delete form.dataset.sure;
  },
  true,
);
document.addEventListener("click", (event) => {
  const theme = event.target.closest("button[name=theme]");
  if (theme) chooseTheme(theme.value);
});
document.addEventListener("change", (event) => {
  if (event.target.matches("[data-autosubmit]")) event.target.form.requestSubmit();
});
document.addEventListener("keydown", (event) => {
  if (document.body.dataset.keys !== "off") shortcut(event);
});
document.addEventListener("htmx:after:swap", () => showTimes());

showTimes();
setInterval(countOn, 1000);
startLive();
if (document.querySelector("[data-refresh]") && document.body.dataset.jobsSocket !== undefined) {
  openSocket("/ws/jobs", (message) => {
    if (message.k === "told") refresh("told");
    if (message.k === "changed") refresh("jobs", ...message.jobs.map((id) => `job:${id}`));
  });
}
