// The log viewer: blocks of lines by byte offset, at most 5,000 lines in the page, live tail, search, anchors.
// The server has made one line of each progress bar already; colours are shown here.

const MOST_LINES = 5000;
const LINES_IN_BLOCK = 1000;

export class LogView {
  constructor(root, AnsiUp, attempt) {
    this.root = root;
    this.pane = root.querySelector(".log");
    this.address = root.dataset.log;
    this.attempt = attempt;
    this.AnsiUp = AnsiUp;
    this.ansi = this.#newAnsi();
    this.following = true;
    this.matches = [];
    this.#listen();
    new ResizeObserver(() => this.following && this.#stick()).observe(this.pane);
  }

  // -- loading -------------------------------------------------------------------

  // Shows the end, or the lines around a number.
  async open(line) {
    await this.#alone(async () => {
      this.#clear();
      const block = await this.#fetch(line ? { line } : {});
      this.#append(block);
      this.atEnd = !line || block.lines.length < LINES_IN_BLOCK;
    });
    if (line) {
      this.setFollowing(false);
      this.#goTo(line);
    } else {
      this.#stick();
    }
    this.#showButtons();
  }

  // The log of an attempt has grown to `size` bytes.
  async grow(attempt, size) {
    this.known = { attempt, size };
    if (this.busy) return; // looked at again when that is done
    if (attempt > this.attempt) this.#newAttempt(attempt);
    if (attempt !== this.attempt || !this.atEnd || size === this.end) return;
    if (size < this.end) return this.open(); // another file than before
    await this.#alone(async () => {
      let block;
      do {
        block = await this.#fetch({ after: this.end });
        this.#append(block);
      } while (block.lines.length >= LINES_IN_BLOCK && this.following);
      this.atEnd = block.lines.length < LINES_IN_BLOCK;
    });
    if (this.following) this.#stick();
    this.#showButtons();
  }

  // One change of the list at a time: answers that cross each other would mix up the lines.
  async #alone(work) {
    this.busy = true;
    const before = this.known;
    try {
      await work();
    } finally {
      this.busy = false;
    }
    const news = this.known;
    if (news && news !== before) queueMicrotask(() => this.grow(news.attempt, news.size));
  }

  async #earlier() {
    const first = this.blocks[0];
    if (this.busy) return;
    let block;
    await this.#alone(async () => (block = await this.#fetch({ before: first.start })));
    const height = this.pane.scrollHeight;
    const made = this.#makeBlock(block, first.first - block.lines.length, this.#newAnsi());
    this.blocks.unshift(made);
    first.list.before(made.list);
    this.pane.scrollTop += this.pane.scrollHeight - height; // what was read stays where it is
    while (this.#count() > MOST_LINES && this.blocks.length > 1) this.#drop(this.blocks.pop(), "end");
    this.setFollowing(false);
    this.#showButtons();
  }

  async #later() {
    if (this.busy) return;
    await this.#alone(async () => {
      const block = await this.#fetch({ after: this.end });
      this.#append(block);
      this.atEnd = block.lines.length < LINES_IN_BLOCK;
    });
    this.#showButtons();
  }

  async #fetch(query) {
    const parameters = new URLSearchParams({ attempt: this.attempt, ...query });
    const answer = await fetch(`${this.address}?${parameters}`, { headers: { Accept: "application/json" } });
    if (!answer.ok) throw new Error(`log: ${answer.status}`);
    return answer.json();
  }

  // -- lines in the page ------------------------------------------------------------

  #append(block) {
    this.partial?.remove();
    this.partial = null;
    const last = this.blocks.at(-1);
    if (last && last.count + block.lines.length <= LINES_IN_BLOCK) {
      block.lines.forEach((text) => last.list.append(this.#makeLine(last.first + last.count++, text, this.ansi)));
      last.end = block.end;
    } else if (block.lines.length || !last) {
      const made = this.#makeBlock(block, block.first ?? (last ? last.first + last.count : 1), this.ansi);
      this.blocks.push(made);
      if (last) last.list.after(made.list);
      else this.pane.querySelector("#log-earlier").after(made.list);
    }
    this.end = block.end;
    if (block.partial) this.#showPartial(block.partial);
    while (this.#count() > MOST_LINES && this.blocks.length > 1) this.#drop(this.blocks.shift(), "start");
    this.root.querySelector("#log-empty").hidden = this.#count() > 0 || Boolean(this.partial);
    if (this.query) this.#search(this.query);
  }

  #showPartial(text) {
    const last = this.blocks.at(-1);
    this.partial = this.#makeLine(last.first + last.count, text, this.#newAnsi());
    last.list.append(this.partial);
  }

  #makeBlock(block, first, ansi) {
    const list = document.createElement("ol");
    list.append(...block.lines.map((text, at) => this.#makeLine(first + at, text, ansi)));
    return { list, first, count: block.lines.length, start: block.start, end: block.end };
  }

  #makeLine(number, text, ansi) {
    const line = document.createElement("li");
    line.id = `L${number}`;
    const place = document.createElement("b");
    place.textContent = number;
    const content = document.createElement("span");
    content.innerHTML = coloured(ansi, text);
    line.append(place, content);
    return line;
  }

  #drop(block, side) {
    block.list.remove();
    if (side === "end") {
      this.partial = null;
      this.atEnd = false;
      this.end = this.blocks.at(-1).end;
    }
  }

  #clear() {
    this.pane.querySelectorAll("ol").forEach((list) => list.remove());
    this.blocks = [];
    this.partial = null;
    this.end = 0;
    this.ansi = this.#newAnsi();
  }

  #count() {
    return this.blocks.reduce((sum, block) => sum + block.count, 0);
  }

  #newAnsi() {
    const ansi = new this.AnsiUp();
    ansi.use_classes = true;
    return ansi;
  }

  #newAttempt(number) {
    const choice = this.root.querySelector("#log-attempt");
    if (choice && Number(choice.value) !== this.attempt) return; // the reader looks at an old one
    this.attempt = number;
    this.#clear();
    this.atEnd = true;
  }

  // -- where one looks ---------------------------------------------------------------

  setFollowing(on) {
    this.following = on;
    this.root.querySelector("#log-follow").setAttribute("aria-pressed", String(on));
    if (on && this.atEnd) this.#stick();
    else if (on) this.open();
  }

  #stick() {
    this.pane.scrollTop = this.pane.scrollHeight;
  }

  #goTo(number) {
    const line = this.pane.querySelector(`#L${number}`);
    if (!line) return;
    this.pane.querySelectorAll(".current").forEach((other) => other.classList.remove("current"));
    line.classList.add("current");
    this.pane.scrollTop = line.offsetTop - this.pane.clientHeight / 3;
  }

  // A click on a number makes the address lead to this line.
  #link(number) {
    history.replaceState(null, "", `#L${number}`);
    this.setFollowing(false);
    this.#goTo(number);
  }

  #showButtons() {
    this.root.querySelector("#log-earlier").hidden = !(this.blocks[0]?.start > 0);
    this.root.querySelector("#log-later").hidden = this.atEnd;
  }

  // -- search -------------------------------------------------------------------------

  #search(query) {
    this.query = query;
    this.pane.querySelectorAll("mark").forEach((mark) => mark.replaceWith(mark.textContent));
    this.matches = query ? [...this.pane.querySelectorAll("li span")].flatMap((span) => marked(span, query)) : [];
    this.at = Math.min(this.at ?? 0, Math.max(0, this.matches.length - 1));
    for (const id of ["#log-previous", "#log-next"]) this.root.querySelector(id).hidden = !this.matches.length;
    this.#showFound();
  }

  #step(by) {
    if (!this.matches.length) return;
    this.at = (this.at + by + this.matches.length) % this.matches.length;
    this.setFollowing(false);
    this.#goTo(Number(this.matches[this.at].closest("li").id.slice(1)));
    this.#showFound();
  }

  #showFound() {
    const note = this.root.querySelector("#log-found");
    const words = this.matches.length ? note.dataset.words : note.dataset.none;
    note.textContent = this.query ? words.replace("{n}", this.at + 1).replace("{all}", this.matches.length) : "";
  }

  #listen() {
    const on = (id, event, deed) => this.root.querySelector(id)?.addEventListener(event, deed);
    on("#log-earlier", "click", () => this.#earlier());
    on("#log-later", "click", () => this.#later());
    on("#log-follow", "click", () => this.setFollowing(!this.following));
    on("#log-previous", "click", () => this.#step(-1));
    on("#log-next", "click", () => this.#step(1));
    on("#log-wrap", "click", (event) => {
      const wrapped = this.pane.classList.toggle("wrap");
      event.currentTarget.setAttribute("aria-pressed", String(wrapped));
    });
    on("#log-search", "input", (event) => {
      this.at = 0;
      this.#search(event.target.value.trim());
    });
    on("#log-search", "keydown", (event) => {
      if (event.key === "Enter") this.#step(event.shiftKey ? -1 : 1);
    });
    on("#log-attempt", "change", (event) => {
      this.attempt = Number(event.target.value);
      this.root.querySelector("#log-download").search = `?attempt=${this.attempt}`;
      this.open();
    });
    this.pane.addEventListener("wheel", () => this.#noticeScroll(), { passive: true });
    this.pane.addEventListener("touchmove", () => this.#noticeScroll(), { passive: true });
    this.pane.addEventListener("keyup", () => this.#noticeScroll());
    this.pane.addEventListener("click", (event) => {
      const place = event.target.closest("li b");
      if (place) this.#link(Number(place.textContent));
    });
  }

  // Whoever scrolls up wants to read: stop following. Whoever comes back to the end follows again.
  #noticeScroll() {
    requestAnimationFrame(() => {
      const away = this.pane.scrollHeight - this.pane.scrollTop - this.pane.clientHeight > 30;
      if (away === this.following && this.atEnd) this.setFollowing(!away);
    });
  }
}

// ansi_up writes colours outside its sixteen names as style attributes, which the security policy forbids anyway.
function coloured(ansi, text) {
  return ansi.ansi_to_html(text).replace(/ style="[^"]*"/g, "");
}

function marked(span, query) {
  const found = [];
  const wanted = query.toLowerCase();
  const walker = document.createTreeWalker(span, NodeFilter.SHOW_TEXT);
  const nodes = [];
  while (walker.nextNode()) nodes.push(walker.currentNode);
  for (let node of nodes) {
    let at = node.data.toLowerCase().indexOf(wanted);
    while (at >= 0) {
      const match = node.splitText(at);
      node = match.splitText(query.length);
      const mark = document.createElement("mark");
      match.replaceWith(mark);
      mark.append(match);
      found.push(mark);
      at = node.data.toLowerCase().indexOf(wanted);
    }
  }
  return found;
}
