// The form of a new job: tabs that keep the data, files read into the editor, a check while one types, and the dataset sent
// in parts before the form itself.

import { UploadRefused, listenToDrops, nameFor, showChecking, showProgress, uploadDataset } from "./lib/upload.js";

const CHECK_AFTER_MS = 350;
const form = document.getElementById("job-form");
const tabs = [...(form?.querySelectorAll("[data-tab]") ?? [])];
let checkTimer = 0;
let sent = false;

function choose(tab) {
  form.elements.tab.value = tab;
  for (const button of tabs) button.setAttribute("aria-selected", String(button.dataset.tab === tab));
  form.querySelectorAll("[data-for]").forEach((part) => {
    part.hidden = !part.dataset.for.split(" ").includes(tab);
  });
  const editor = form.querySelector("[data-editor=task]");
  if (tab === "upload" && !form.elements.task.value) editor.hidden = true;
  form.querySelector("[data-starter]").hidden = tab !== "text" || Boolean(form.elements.task.value);
  document.getElementById("task-panel").setAttribute("aria-labelledby", `tab-${tab}`);
  form.querySelectorAll("textarea.yaml").forEach(numberLines);
  checkSoon();
}

function checkSoon() {
  clearTimeout(checkTimer);
  checkTimer = setTimeout(() => window.htmx.trigger(document.getElementById("check"), "check"), CHECK_AFTER_MS);
}

function numberLines(area) {
  const gutter = area.parentElement.querySelector(".lines");
  const wrong = new Set((area.dataset.problemLines ?? "").split(",").filter(Boolean).map(Number));
  const count = Math.max(area.value.split("\n").length, 1);
  gutter.replaceChildren(
    ...Array.from({ length: count }, (_, at) => {
      const line = document.createElement(wrong.has(at + 1) ? "b" : "span");
      line.textContent = `${at + 1}\n`;
      return line;
    }),
  );
  gutter.scrollTop = area.scrollTop;
}

function goToLine(number) {
  const area = form.querySelector("[data-for]:not([hidden]) textarea.yaml");
  const lines = area.value.split("\n");
  const start = lines.slice(0, number - 1).join("\n").length + (number > 1 ? 1 : 0);
  area.focus();
  area.setSelectionRange(start, start + (lines[number - 1]?.length ?? 0));
}

async function takeFile(kind, file, input) {
  if (kind === "dataset") return;
  const area = form.elements[kind];
  area.value = (await file.text()).replaceAll("\r\n", "\n");
  input.value = ""; // the editor holds it now; sending it twice would undo what is changed there
  area.dataset.problemLines = "";
  if (kind === "config" && !form.elements.task_id.value) form.elements.task_id.value = file.name.replace(/\.ya?ml$/i, "");
  if (kind === "task") form.querySelector("[data-editor=task]").hidden = false;
  numberLines(area);
  area.focus();
  checkSoon();
}

async function sendDatasetFirst() {
  const input = form.elements.dataset_file;
  const file = input.files[0];
  const state = document.getElementById("upload-state");
  const button = document.getElementById("submit-button");
  button.disabled = true;
  try {
    const dataset = await uploadDataset({
      address: form.getAttribute("data-upload"), // form.dataset is its field of that name
      token: form.elements.csrfmiddlewaretoken.value,
      file,
      name: nameFor(file),
      project: form.elements.project.value,
      onProgress: (done) => showProgress(state, file, done),
      onChecking: () => showChecking(state, file),
    });
    const option = new Option(dataset.name, dataset.name, true, true);
    form.elements.dataset.append(option);
    input.value = "";
    sent = true;
    form.requestSubmit(button);
  } catch (error) {
    showError(error);
  } finally {
    state.hidden = true;
    button.disabled = false;
  }
}

function showError(error) {
  const place = document.getElementById("upload-error");
  place.hidden = false;
  const list = document.createElement("ul");
  for (const problem of error instanceof UploadRefused ? (error.problem.errors ?? []) : []) {
    const item = document.createElement("li");
    item.textContent = `${problem.field}: ${problem.message}`;
    list.append(item);
  }
  const words = document.createElement("span");
  words.textContent = error.message;
  place.querySelector("div").replaceChildren(words, ...(list.childElementCount > 1 ? [list] : []));
  place.scrollIntoView({ block: "nearest" });
}

function start() {
  choose(form.elements.tab.value);
  for (const button of tabs) {
    button.addEventListener("click", (event) => {
      event.preventDefault();
      choose(button.dataset.tab);
    });
    button.addEventListener("keydown", (event) => {
      const step = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
      if (!step) return;
      const next = tabs[(tabs.indexOf(button) + step + tabs.length) % tabs.length];
      next.focus();
      choose(next.dataset.tab);
    });
  }
  form.querySelectorAll("textarea.yaml").forEach((area) => {
    area.addEventListener("scroll", () => (area.parentElement.querySelector(".lines").scrollTop = area.scrollTop));
  });
  form.addEventListener("input", (event) => {
    if (event.target.matches("textarea.yaml")) {
      event.target.dataset.problemLines = "";
      numberLines(event.target);
    }
    checkSoon();
  });
  form.addEventListener("click", (event) => {
    const line = event.target.closest("[data-line]");
    if (line) {
      event.preventDefault();
      goToLine(Number(line.dataset.line));
    }
    if (event.target.closest("[data-starter]")) {
      form.elements.task.value = form.elements.task.dataset.starterText;
      choose("text");
    }
  });
  form.addEventListener("submit", (event) => {
    if (sent || !form.elements.dataset_file.files.length) return;
    event.preventDefault();
    sendDatasetFirst();
  });
  listenToDrops(form, takeFile);
  document.getElementById("check").addEventListener("htmx:after:swap", markLines);
}

// The check knows the lines too: mark them while one types.
function markLines(event) {
  const area = form.querySelector("[data-for]:not([hidden]) textarea.yaml");
  if (!area) return;
  const lines = [...event.currentTarget.querySelectorAll("[data-problem-line]")].map((item) => item.dataset.problemLine);
  area.dataset.problemLines = lines.join(",");
  numberLines(area);
}

if (form) start();
