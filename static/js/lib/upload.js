// Sends a file in parts and goes on where it broke off: a lost connection costs one part, not the file.

const TRIES = 6;

export class UploadRefused extends Error {
  constructor(problem) {
    super(`${problem.title}: ${problem.detail} ${problem.hint ?? ""}`);
    this.problem = problem;
  }
}

// onProgress(done bytes, all bytes); resolves to the stored dataset {id, name, version, rows, format, url}.
export async function uploadDataset({ address, token, file, name, project, format, onProgress, onChecking }) {
  const ask = (url, method, body) => answer(url, { method, body, headers: { "X-CSRFToken": token } });
  const begun = await ask(address, "POST", form({ name, project, filename: file.name, size: file.size }));
  let received = begun.received;
  while (received < file.size) {
    onProgress?.(received, file.size);
    received = await sendPart(ask, begun, file, received);
  }
  onProgress?.(received, file.size);
  onChecking?.();
  return ask(begun.finish, "POST", form({ format: format ?? "" }));
}

// A part that failed on its way is sent again, from wherever the server says that it has arrived.
async function sendPart(ask, begun, file, start) {
  let offset = start;
  for (let tried = 1; ; tried += 1) {
    try {
      const part = file.slice(offset, offset + begun.part_bytes);
      return (await ask(`${begun.parts}?offset=${offset}`, "PUT", part)).received;
    } catch (error) {
      if (tried >= TRIES || (error instanceof UploadRefused && error.problem.status !== 409)) throw error;
      await new Promise((resolve) => setTimeout(resolve, 500 * 2 ** tried));
      offset = (await ask(begun.parts, "GET")).received;
      if (offset > start) return offset;
    }
  }
}

async function answer(url, options) {
  const response = await fetch(url, options);
  const body = response.headers.get("Content-Type")?.includes("json") ? await response.json() : null;
  if (response.ok) return body;
  if (body?.title) throw new UploadRefused(body);
  throw new Error(`${response.status} ${response.statusText}`);
}

function form(values) {
  const data = new FormData();
  for (const [key, value] of Object.entries(values)) data.set(key, value ?? "");
  return data;
}

export function nameFor(file) {
  return file.name.replace(/\.(json|jsonl|csv)$/i, "").replace(/[^\w.-]+/gu, "_").slice(0, 64);
}

export function showProgress(place, file, done) {
  const mib = (bytes) => (bytes / 2 ** 20).toFixed(1);
  const words = place.querySelector("[data-words]");
  place.hidden = false;
  place.querySelector(".fill").setAttribute("width", `${((100 * done) / Math.max(1, file.size)).toFixed(1)}%`);
  words.textContent = words.dataset.words
    .replace("{name}", file.name)
    .replace("{done}", mib(done))
    .replace("{all}", mib(file.size));
}

export function showChecking(place, file) {
  const words = place.querySelector("[data-words]");
  words.textContent = words.dataset.checking.replace("{name}", file.name);
}

// Dropped files go into the drop's own input, so that one path serves both.
export function listenToDrops(root, onFile) {
  for (const drop of root.querySelectorAll("[data-drop]")) {
    const input = drop.querySelector("input[type=file]");
    drop.addEventListener("dragover", (event) => {
      event.preventDefault();
      drop.dataset.over = "yes";
    });
    drop.addEventListener("dragleave", () => delete drop.dataset.over);
    drop.addEventListener("drop", (event) => {
      event.preventDefault();
      delete drop.dataset.over;
      if (!event.dataTransfer.files.length) return;
      input.files = event.dataTransfer.files;
      input.dispatchEvent(new Event("change", { bubbles: true }));
    });
    const take = () => {
      const file = input.files[0];
      const chosen = drop.querySelector("[data-chosen]");
      if (file && chosen) chosen.textContent = `${file.name} · ${(file.size / 2 ** 20).toFixed(1)} MiB`;
      if (file) onFile(drop.dataset.drop, file, input);
    };
    input.addEventListener("change", take);
    take(); // chosen before this script was there
  }
}
