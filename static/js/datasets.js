// The list of datasets: a file goes up in parts, with a bar; a refusal says row and field.

import { UploadRefused, listenToDrops, nameFor, showChecking, showProgress, uploadDataset } from "./lib/upload.js";

const form = document.getElementById("dataset-form");

async function send(event) {
  event.preventDefault();
  const file = form.elements.file.files[0];
  const state = document.getElementById("upload-state");
  const button = form.querySelector("[type=submit]");
  if (!file) return form.elements.file.click();
  button.disabled = true;
  document.getElementById("upload-error").hidden = true;
  try {
    const dataset = await uploadDataset({
      address: form.dataset.upload,
      token: form.elements.csrfmiddlewaretoken.value,
      file,
      name: form.elements.name.value.trim() || nameFor(file),
      project: form.elements.project.value,
      format: form.elements.format.value,
      onProgress: (done) => showProgress(state, file, done),
      onChecking: () => showChecking(state, file),
    });
    location.href = dataset.url;
  } catch (error) {
    showError(error);
  } finally {
    state.hidden = true;
    button.disabled = false;
  }
}

function showError(error) {
  const place = document.getElementById("upload-error");
  const problems = error instanceof UploadRefused ? (error.problem.errors ?? []) : [];
  place.querySelector("[data-title]").textContent = error.message;
  place.querySelector("tbody").replaceChildren(
    ...problems.map((problem) => {
      const row = document.createElement("tr");
      for (const text of [problem.field, problem.message]) {
        const cell = document.createElement("td");
        cell.textContent = text;
        row.append(cell);
      }
      return row;
    }),
  );
  place.querySelector("table").hidden = !problems.length;
  place.hidden = false;
}

if (form) {
  form.addEventListener("submit", send);
  listenToDrops(form, (_, file) => {
    if (!form.elements.name.value) form.elements.name.value = nameFor(file);
  });
}
