// One WebSocket that comes back by itself, sleeps while the tab is hidden, and acknowledges what it has read.

const FIRST_DELAY_MS = 500;
const LONGEST_DELAY_MS = 10000;
const ACKNOWLEDGE_EVERY = 4; // the server stops sending to a reader that is this slow twice over
const GONE = new Set([4401, 4403, 4404]); // signed out, not allowed, not there: asking again does not help

export class LiveSocket {
  // onMessage(object), onStatus("on" | "off" | "paused" | "gone")
  constructor(path, onMessage, onStatus) {
    this.url = `${location.protocol === "https:" ? "wss" : "ws"}://${location.host}${path}`;
    this.onMessage = onMessage;
    this.onStatus = onStatus;
    this.wanted = true;
    this.failures = 0;
    this.unacknowledged = 0;
    document.addEventListener("visibilitychange", () => this.#settle());
    addEventListener("online", () => this.#settle());
    addEventListener("pagehide", () => this.#close());
    addEventListener("pageshow", () => this.#settle());
    this.#settle();
  }

  pause() {
    this.wanted = false;
    this.#settle();
  }

  resume() {
    this.wanted = true;
    this.failures = 0;
    this.#settle();
  }

  #settle() {
    const open = this.wanted && !document.hidden;
    if (open && !this.socket) this.#open();
    if (!open) this.#close();
    if (!this.wanted) this.onStatus("paused");
  }

  #open() {
    clearTimeout(this.timer);
    const socket = new WebSocket(this.url);
    this.socket = socket;
    this.unacknowledged = 0;
    socket.addEventListener("open", () => {
      this.failures = 0;
      this.onStatus("on");
    });
    socket.addEventListener("message", (event) => this.#read(socket, event.data));
    socket.addEventListener("close", (event) => {
      if (this.socket === socket) this.#lost(event.code);
    });
  }

  #read(socket, text) {
    this.unacknowledged += 1;
    if (this.unacknowledged >= ACKNOWLEDGE_EVERY) {
      socket.send(JSON.stringify({ ack: this.unacknowledged }));
      this.unacknowledged = 0;
    }
    this.onMessage(JSON.parse(text));
  }

  #lost(code) {
    this.socket = null;
    if (GONE.has(code)) {
      this.wanted = false;
      this.onStatus("gone");
      return;
    }
    this.onStatus("off");
    // Jitter: after a restart of the server its viewers must not all come back in the same instant.
    const delay = Math.min(LONGEST_DELAY_MS, FIRST_DELAY_MS * 2 ** this.failures) * (0.5 + Math.random());
    this.failures += 1;
    this.timer = setTimeout(() => {
      if (!this.socket) this.#settle();
    }, delay);
  }

  #close() {
    clearTimeout(this.timer);
    const socket = this.socket;
    this.socket = null;
    socket?.close();
  }
}
