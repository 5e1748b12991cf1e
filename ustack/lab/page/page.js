// The lab's pages: a slider over time that shows both control blocks, and segments that show their bytes.
// Without this script a page still has its question, figures, answer, ladder and table.
"use strict";

const SVG = "http://www.w3.org/2000/svg";

// An element. Text is always text, never markup.
function make(tag, attributes, ...content) {
  const space = ["svg", "circle", "path", "line"].includes(tag) ? SVG : "http://www.w3.org/1999/xhtml";
  const made = document.createElementNS(space, tag);
  for (const [name, value] of Object.entries(attributes || {})) made.setAttribute(name, value);
  // A reason that is not translated is English in a page that is not.
  const text = content.filter((one) => typeof one === "string").join("");
  if (document.documentElement.lang !== "en" && /^[\x20-\x7e]*[a-z]{3} [a-z]+ [\x20-\x7e]*$/.test(text)) made.setAttribute("lang", "en");
  made.append(...content.filter((one) => one !== null && one !== undefined));
  return made;
}

const count = (number) => number.toLocaleString("en-US");
const filled = (sentence, values) => sentence.replace(/\{(\w+)\}/g, (whole, name) => (name in values ? values[name] : whole));

// A duration in nanoseconds, as people write it: as ustack.trace.events.span does.
function span(time) {
  const short = (value) => String(Number(value.toPrecision(4)));
  if (time < 1e9) return short(time / 1e6) + " ms";
  if (time < 120e9) return short(time / 1e9) + " s";
  const whole = Math.round(time / 1e9);
  const parts = [[Math.floor(whole / 3600), "h"], [Math.floor(whole / 60) % 60, "min"], [whole % 60, "s"]];
  return parts.filter(([number]) => number).map(([number, unit]) => number + " " + unit).join(" ");
}

class Run {
  constructor(article) {
    this.article = article;
    this.data = JSON.parse(article.querySelector("script.data").textContent);
    this.words = this.data.words;
    this.slider = article.querySelector(".player input");
    this.clock = article.querySelector(".clock");
    this.happens = article.querySelector(".happens");
    this.blocks = article.querySelector(".blocks");
    this.segment = article.querySelector(".segment");
    this.beside = article.querySelector(".beside");
    this.ladders = [...article.querySelectorAll(".ladders svg")];
    this.player = article.querySelector(".player");
    this.moment = 0;
    this.timer = 0;
    this.player.hidden = false;
    this.listen();
    this.show(0, false);
  }

  listen() {
    this.slider.addEventListener("input", () => this.show(Number(this.slider.value), true));
    this.player.querySelector(".back").addEventListener("click", () => this.show(this.moment - 1, true));
    this.player.querySelector(".on").addEventListener("click", () => this.show(this.moment + 1, true));
    this.play = this.player.querySelector(".play");
    this.play.addEventListener("click", () => this.toggle());
    for (const button of this.article.querySelectorAll(".sentence")) {
      button.addEventListener("click", () => {
        for (const other of this.article.querySelectorAll(".sentence")) other.removeAttribute("aria-current");
        button.setAttribute("aria-current", "true");
        this.show(Number(button.dataset.moment), true);
      });
    }
    for (const ladder of this.ladders) this.listenTo(ladder);
  }

  // One segment of a ladder is in the order of the Tab key; the arrow keys go from one to the next.
  listenTo(ladder) {
    const flights = [...ladder.querySelectorAll("[data-flight]")];
    flights.forEach((flight, index) => {
      flight.setAttribute("role", "button");
      flight.setAttribute("tabindex", index ? "-1" : "0");
      flight.setAttribute("aria-label", flight.querySelector("title").textContent);
      const choose = (move) => this.choose(flight.dataset.flight, move);
      flight.addEventListener("mouseenter", () => { if (this.hasRoom()) choose(false); });
      flight.addEventListener("focus", () => { if (flight.matches(":focus-visible") && this.hasRoom()) choose(false); });
      flight.addEventListener("click", () => choose(true));
      flight.addEventListener("keydown", (event) => {
        const step = { ArrowDown: 1, ArrowRight: 1, ArrowUp: -1, ArrowLeft: -1 }[event.key];
        if (event.key === "Enter" || event.key === " ") { event.preventDefault(); choose(true); }
        const next = step ? flights[index + step] : undefined;
        if (next) {
          event.preventDefault();
          flight.setAttribute("tabindex", "-1");
          next.setAttribute("tabindex", "0");
          next.focus();
        }
      });
    });
  }

  hasRoom() {
    return matchMedia("(min-width: 1081px)").matches;
  }

  toggle() {
    const stop = () => {
      clearInterval(this.timer);
      this.timer = 0;
      this.play.textContent = "▶";
      this.play.setAttribute("aria-label", this.words.play);
    };
    if (this.timer) return stop();
    if (this.moment >= this.data.moments.length - 1) this.show(0, true);
    this.play.textContent = "❚❚";
    this.play.setAttribute("aria-label", this.words.pause);
    this.timer = setInterval(() => {
      this.show(this.moment + 1, true);
      if (this.moment >= this.data.moments.length - 1) stop();
    }, 900);
  }

  show(moment, scroll) {
    this.moment = Math.max(0, Math.min(moment, this.data.moments.length - 1));
    const now = this.data.moments[this.moment];
    this.slider.value = this.moment;
    this.slider.setAttribute("aria-valuetext", now.at + ": " + now.happens.join("; "));
    this.clock.textContent = now.at;
    if (scroll) this.beside.scrollTop = 0;
    this.happens.textContent = this.happens.title = now.happens.join(" · ");
    for (const ladder of this.ladders) this.mark(ladder, now, scroll);
    this.blocks.replaceChildren(...this.data.sides.flatMap((side) => this.side(side, now.ns)));
  }

  mark(ladder, now, scroll) {
    const name = ladder.classList.contains("wide") ? "wide" : "narrow";
    const [from, to] = this.data.heights[name][this.moment];
    const band = ladder.querySelector(".now");
    band.classList.add("on");
    band.setAttribute("y", from - 9);
    band.setAttribute("height", Math.max(to - from, 0) + 18);
    for (const note of ladder.querySelectorAll(".note")) note.classList.toggle("on", Number(note.dataset.at) === now.ns);
    for (const flight of ladder.querySelectorAll("[data-flight]")) {
      const one = this.data.flights[flight.dataset.flight];
      flight.classList.toggle("on", one.i === this.moment || one.end === this.moment);
    }
    if (scroll && ladder.getBoundingClientRect().width) this.bringIntoView(ladder, (from + to) / 2);
  }

  bringIntoView(ladder, height) {
    const box = ladder.getBoundingClientRect();
    const y = box.top + (height / ladder.viewBox.baseVal.height) * box.height;
    const top = this.player.getBoundingClientRect().height + 24;
    if (y > top && y < innerHeight - 48) return;
    const calm = matchMedia("(prefers-reduced-motion: reduce)").matches || this.timer;
    if (matchMedia("(max-width: 1080px)").matches && document.activeElement === this.slider) return;
    scrollBy({ top: y - innerHeight * 0.45, behavior: calm ? "auto" : "smooth" });
  }

  // The control blocks

  side(side, ns) {
    const lives = (block) => !["CLOSED", "LISTEN"].includes(this.state(block).state || "CLOSED");
    const alive = side.blocks.filter(lives);
    const blocks = (alive.length ? alive : side.blocks.slice(0, 1)).map((block) => this.block(side, block, ns));
    const queues = this.queues(side);
    if (!blocks.length) blocks.push(make("div", { class: "block" }, make("h3", {}, side.name), make("p", { class: "quiet" }, this.words.none)));
    if (queues) blocks[blocks.length - 1].append(queues);
    return blocks;
  }

  // How a connection stands at this moment.
  state(block) {
    const state = {};
    for (const [moment, changes] of block.changes) if (moment <= this.moment) Object.assign(state, changes);
    return state;
  }

  block(side, block, ns) {
    const state = this.state(block);
    const title = make("h3", {}, side.name, make("span", { class: "tag " + (state.state || "CLOSED") }, state.state || "CLOSED"));
    if (side.blocks.length > 1) title.append(make("span", { class: "who" }, block.who));
    const shown = make("div", { class: "block" }, title);
    if (state.cwnd !== undefined && state.state !== "CLOSED" && state.state !== "TIME_WAIT") {
      shown.append(this.sendBar(state), this.receiveBar(state), this.numbers(state));
    }
    shown.append(this.timers(state.timers || [], ns));
    return shown;
  }

  bar(name, size, parts, ends, marker) {
    const track = make("div", { class: "track", "aria-hidden": "true" });
    for (const [style, bytes] of parts) {
      const fill = make("div", { class: "fill " + style });
      fill.style.width = (size > 0 ? (100 * bytes) / size : 0) + "%";
      if (bytes > 0) track.append(fill);
    }
    if (marker >= 0 && marker < size) {
      const line = make("div", { class: "cwnd" });
      line.style.left = (100 * marker) / size + "%";
      track.append(line);
    }
    const words = make("div", { class: "ends" }, ...ends.map((end) => make("span", {}, end)));
    return make("div", { class: "bar" }, make("div", { class: "name" }, ...name.map((one) => make("span", {}, one))), track, words);
  }

  sendBar(state) {
    const out = state.snd_nxt - state.snd_una;
    const end = state.snd_una + state.snd_wnd;
    const may = Math.max(end - state.snd_nxt, 0);
    const name = [this.words.send, count(out) + " " + this.words.unacknowledged + ", " + count(may) + " " + this.words.may];
    const ends = ["UNA " + state.snd_una, "NXT " + state.snd_nxt, "WND " + count(state.snd_wnd) + " " + filled(this.words["window of {end}"], { end })];
    return this.bar(name, out + may, [["sent", out], ["may", may]], ends, state.cwnd);
  }

  receiveBar(state) {
    const begin = state.rcv_nxt - state.unread;
    const name = [this.words.receive, count(state.unread) + " " + this.words.unread + ", " + count(state.rcv_wnd) + " " + this.words.free];
    const top = state.beyond + 1;
    const hasGap = state.rcv_nxt > 0 && top > state.rcv_nxt;
    if (hasGap) name.push(filled(this.words.gap, { end: top }));
    const ends = ["NXT " + state.rcv_nxt, "WND " + count(state.rcv_wnd) + " " + filled(this.words["window of {end}"], { end: state.rcv_nxt + state.rcv_wnd })];
    return this.bar(name, state.unread + state.rcv_wnd, [["text", state.unread], ["may", state.rcv_wnd]], ends, hasGap ? top - begin : -1);
  }

  numbers(state) {
    const rows = [
      ["cwnd", count(state.cwnd)],
      ["ssthresh", state.ssthresh < 0 ? this.words["none lost"] : count(state.ssthresh)],
      [this.words.flight, count(state.in_flight)],
      ["SRTT", state.srtt],
      ["RTO", state.rto],
      [this.words.unsent, count(state.unsent)],
      [this.words["congestion state"], state.ca_state],
    ];
    if (state.lost) rows.push([this.words.lost, count(state.lost)]);
    return make("dl", { class: "numbers" }, ...rows.map(([name, value]) => make("div", {}, make("dt", {}, name), make("dd", {}, value))));
  }

  timers(running, ns) {
    if (!running.length) return make("p", { class: "quiet" }, this.words["no timers"]);
    return make("ul", { class: "timers" }, ...running.map(([name, from, due]) => {
      const left = Math.max(due - ns, 0);
      const words = left ? filled(this.words.left, { time: span(left) }) : this.words.due;
      return make("li", {}, this.dial(due > from ? left / (due - from) : 0), make("span", {}, name, make("small", {}, words)));
    }));
  }

  // A clock whose filled part is the time that is left.
  dial(part) {
    const share = Math.max(0, Math.min(part, 1));
    const angle = 2 * Math.PI * (1 - share);
    const x = 13 + 10 * Math.sin(angle);
    const y = 13 - 10 * Math.cos(angle);
    const dial = make("svg", { class: "dial", viewBox: "0 0 26 26", "aria-hidden": "true" });
    if (share >= 0.999) {
      const whole = make("path", { d: "M13 3a10 10 0 1 1 -.01 0z" });
      dial.append(whole);
    } else if (share > 0) {
      dial.append(make("path", { d: `M13 13L${x.toFixed(2)} ${y.toFixed(2)}A10 10 0 ${share > 0.5 ? 1 : 0} 1 13 3z` }));
    }
    dial.append(make("circle", { cx: 13, cy: 13, r: 11 }), make("line", { x1: 13, y1: 13, x2: x.toFixed(2), y2: y.toFixed(2) }));
    return dial;
  }

  queues(side) {
    const latest = new Map();
    for (const [moment, who, name, length, most] of side.queues) {
      if (moment <= this.moment) latest.set(who + name, { who, name, length, most });
    }
    if (!latest.size) return null;
    return make("ul", { class: "queues" }, ...[...latest.values()].map((queue) => {
      const places = Math.min(queue.most, 16);
      const full = Math.min(Math.ceil((queue.length * places) / Math.max(queue.most, 1)), places);
      const boxes = queue.most <= 16 ? full : Math.min(queue.length, 16);
      const words = `${queue.name} ${queue.who}: ` + filled(this.words.of, { length: count(queue.length), most: count(queue.most) });
      const row = make("div", { class: "boxes", "aria-hidden": "true" });
      for (let place = 0; place < places; place++) row.append(make("i", { class: place < boxes ? "full" : "" }));
      if (queue.most > 16) row.append("…");
      return make("li", {}, words, row);
    }));
  }

  // A segment

  choose(order, move) {
    const flight = this.data.flights[order];
    for (const ladder of this.ladders) {
      for (const one of ladder.querySelectorAll("[data-flight]")) {
        const chosen = one.dataset.flight === order;
        one.classList.toggle("chosen", chosen);
        one.setAttribute("aria-pressed", String(chosen));
      }
    }
    if (move) this.show(flight.i, false);
    const close = make("button", { type: "button", class: "close", "aria-label": this.words.close }, "×");
    close.addEventListener("click", () => this.segment.classList.remove("open"));
    const parts = [close, make("h3", {}, flight.title), make("p", { class: "way" }, flight.way + ", " + flight.fate)];
    if (flight.why) parts.push(make("p", { class: "why" }, flight.why, flight.source ? make("small", {}, flight.source) : null));
    if (flight.drop) parts.push(make("p", { class: "drop" }, flight.drop));
    parts.push(...this.bytes(flight));
    this.segment.replaceChildren(...parts);
    this.segment.classList.add("open");
    this.segment.scrollTop = 0;
    this.beside.scrollTop = this.segment.offsetTop - 8;
  }

  bytes(flight) {
    const size = flight.bytes.length / 2;
    const owners = new Array(size).fill("");
    flight.fields.forEach(([bit, bits, header]) => {
      for (let at = bit >> 3; at < Math.min((bit + bits + 7) >> 3, size); at++) owners[at] = header;
    });
    const hex = make("div", { class: "hex" });
    const cells = [];
    for (let at = 0; at < size; at += 8) {
      const row = make("div", {}, make("span", { class: "offset" }, String(at)));
      for (let byte = at; byte < Math.min(at + 8, size); byte++) {
        cells.push(make("span", { class: "b " + owners[byte] }, flight.bytes.slice(2 * byte, 2 * byte + 2)));
        row.append(cells[byte]);
      }
      hex.append(row);
    }
    if (size < flight.length) hex.append(make("div", {}, `… ${count(flight.length)} ${this.words.bytes}`));
    return [hex, this.fields(flight, cells)];
  }

  fields(flight, cells) {
    const table = make("table", { class: "fields" });
    let header = "";
    for (const [bit, bits, layer, name, value, meaning] of flight.fields) {
      if (layer !== header) {
        header = layer;
        table.append(make("tr", {}, make("th", { colspan: 3, scope: "colgroup" }, layer)));
      }
      const first = bit >> 3;
      const last = (bit + bits - 1) >> 3;
      const place = bits % 8 || bit % 8 ? `${first}.${bit % 8}` : first === last ? String(first) : `${first}–${last}`;
      const row = make("tr", {}, make("td", {}, place), make("td", {}, name, make("small", {}, meaning)), make("td", {}, value));
      const light = (on) => {
        row.classList.toggle("lit", on);
        for (let at = first; at <= Math.min(last, cells.length - 1); at++) cells[at].classList.toggle("lit", on);
      };
      row.addEventListener("mouseenter", () => light(true));
      row.addEventListener("mouseleave", () => light(false));
      for (let at = first; at <= Math.min(last, cells.length - 1); at++) {
        cells[at].addEventListener("mouseenter", () => light(true));
        cells[at].addEventListener("mouseleave", () => light(false));
      }
      table.append(row);
    }
    return table;
  }
}

// Light, dark, or as the system; remembered where the browser lets a page remember.
function listenToTheme(button) {
  const themes = ["auto", "light", "dark"];
  const remembered = () => { try { return localStorage.getItem("ustack-theme"); } catch { return null; } };
  const choose = (theme) => {
    if (theme === "auto") delete document.documentElement.dataset.theme;
    else document.documentElement.dataset.theme = theme;
    button.textContent = button.dataset[theme];
    button.value = theme;
    try { localStorage.setItem("ustack-theme", theme); } catch { /* a file may not remember */ }
  };
  choose(themes.includes(remembered()) ? remembered() : "auto");
  button.hidden = false;
  button.addEventListener("click", () => choose(themes[(themes.indexOf(button.value) + 1) % 3]));
}

listenToTheme(document.querySelector(".theme"));
for (const article of document.querySelectorAll("article.run")) new Run(article);
for (const form of document.querySelectorAll("form.settings")) {
  // What is as it was is not part of the link.
  form.addEventListener("submit", () => {
    for (const input of form.querySelectorAll("input[name]")) if (input.value === input.dataset.usual) input.disabled = true;
  });
  addEventListener("pageshow", () => { for (const input of form.querySelectorAll("input[name]")) input.disabled = false; });
}
