// The page of the cameras of the network: how they are, what they show, and orders to them.

import { prepareForm, showForm } from "./adding.js";
import * as api from "./api.js";
import { connect } from "./connection.js";
import { button, element } from "./elements.js";
import { blank, draw } from "./picture.js";
import { texts } from "./texts.js";
import { showTexts } from "./words.js";

const STATE_MS = 1500;
const IMAGE_MS = 300; // between two images of one camera
const STALE_MS = 5000; // what is older is shown no more
const AT_ONCE = 3; // images that are asked for; browsers open six connections

const find = (id) => document.getElementById(id);
const tiles = new Map(); // by name

class Tile {
  constructor(name, onOrder) {
    this.name = name;
    this.number = 0;
    this.drawnAt = null;
    this.askedAt = 0;
    this.isSeen = true;
    this.reason = ""; // why there is no image, as far as it is known
    this.node = element("li", "card");
    this.node.dataset.camera = name;
    this.canvas = element("canvas", "", { width: 640, height: 360 });
    this.canvas.setAttribute("role", "img");
    this.canvas.setAttribute("aria-label", texts.tileAlt(name));
    this.title = element("h3", "name", { textContent: name });
    this.title.dir = "auto";
    this.state = element("p", "status");
    this.figures = element("p", "figures");
    this.from = element("p", "from");
    this.error = element("p", "bad");
    this.late = element("p", "late");
    this.hint = element("p", "hint");
    this.stop = button(texts.tileStop, texts.tileStopName(name), () => onOrder("stop", name));
    this.start = button(texts.tileStart, texts.tileStartName(name), () => onOrder("start", name));
    const actions = element("div", "actions");
    actions.append(this.stop, this.start);
    this.node.append(this.canvas, this.title, this.late, this.state, this.figures, this.from, this.error, this.hint, actions);
    this.#blank("");
  }

  // Returns what is to be read out, or null.
  update(camera, canOrder) {
    const before = this.node.dataset.state;
    this.node.dataset.state = camera.state;
    this.state.textContent = texts.tileStates[camera.state] ?? camera.state;
    this.figures.textContent = texts.tileFigures(camera);
    this.from.textContent = texts.tileFrom(camera.source);
    this.error.textContent = camera.error;
    this.error.hidden = camera.error === "";
    const stopped = camera.state === "stopped";
    const hadFocus = [this.stop, this.start].includes(document.activeElement);
    this.stop.hidden = !canOrder || stopped;
    this.start.hidden = !canOrder || !stopped;
    if (hadFocus) (stopped ? this.start : this.stop).focus();
    this.canShow = camera.can_show;
    if (stopped) this.#blank(texts.tileStates.stopped);
    else if (!this.canShow) this.#blank(texts.tileNoOutput);
    this.unseen = camera.unseen;
    if (stopped) this.reason = "";
    this.#advise();
    return before && before !== camera.state ? `${this.name}: ${this.state.textContent}` : null;
  }

  get wantsImage() {
    const waited = performance.now() - this.askedAt > IMAGE_MS;
    return waited && this.canShow && this.isSeen && !this.isAsking && this.node.dataset.state !== "stopped";
  }

  async look() {
    this.isAsking = true;
    try {
      const answer = await api.cameraImage(this.name, this.number);
      if (answer.status === 200) {
        const number = Number(answer.headers.get("X-Number"));
        const image = await createImageBitmap(await answer.blob());
        if (this.node.dataset.state === "stopped") image.close();
        else {
          draw(this.canvas, image);
          const age = Number(answer.headers.get("X-Age"));
          this.late.textContent = age ? texts.tileLate(age) : "";
          this.late.hidden = !age;
          this.reason = "";
          this.#advise();
          this.number = number;
          this.drawnAt = performance.now();
          this.node.dataset.shown = "yes";
        }
      } else if (answer.status !== 204) {
        const said = await answer.json().catch(() => ({}));
        this.reason = said.error ?? "";
        if (this.drawnAt === null) this.#blank(texts.tileNothing);
        this.#advise();
      }
    } catch {
      // The page says by itself when nobody is there.
    }
    this.askedAt = performance.now();
    this.isAsking = false;
  }

  // Whatever is shown is of this moment.
  check() {
    if (this.drawnAt !== null && performance.now() - this.drawnAt > STALE_MS) this.#blank(texts.tileNothing);
  }

  #blank(words) {
    this.number = 0;
    this.drawnAt = null;
    this.node.dataset.shown = "no";
    this.late.hidden = true;
    blank(this.canvas, words);
  }

  // Says why nothing is shown, and what to do; nothing where something is, or may be at any moment.
  #advise() {
    const why = this.canShow
      ? [this.reason && texts.tileFailed(this.reason)]
      : this.unseen.map(({ sink, why }) => texts.tileWhy[why](sink));
    const words = [...new Set(why.filter(Boolean)), texts.tileAddOutput].join(" ");
    this.hint.hidden = this.canShow && !this.reason;
    if (this.hint.textContent !== words) this.hint.textContent = words;
  }
}

const seen = new IntersectionObserver((entries) => {
  for (const { target, isIntersecting } of entries) {
    const tile = tiles.get(target.dataset.camera);
    if (tile) tile.isSeen = isIntersecting;
  }
});

function show(state) {
  if (state.file === null) {
    notice(texts.wallNoFile);
    return;
  }
  showForm(state.file);
  const reload = state.reload_error ? texts.wallRefused(state.file, state.reload_error) : "";
  const trouble = state.is_running ? state.trouble && texts.wallTrouble(state.trouble) : (state.is_there ? texts.wallAway : texts.wallEmpty)(state.file);
  notice([trouble, reload].filter(Boolean).join(" "));
  find("reload").hidden = !state.can_order;
  const names = new Set(state.cameras.map(({ name }) => name));
  for (const [name, tile] of tiles) {
    if (names.has(name)) continue;
    seen.unobserve(tile.node);
    tile.node.remove();
    tiles.delete(name);
  }
  const spoken = [];
  for (const camera of state.cameras) {
    if (!tiles.has(camera.name)) {
      const tile = new Tile(camera.name, order);
      tiles.set(camera.name, tile);
      find("wall").append(tile.node);
      seen.observe(tile.node);
    }
    spoken.push(tiles.get(camera.name).update(camera, state.can_order));
  }
  const words = spoken.filter(Boolean).join(" ");
  if (words) find("said").textContent = words;
}

function notice(words) {
  const node = find("trouble");
  if (node.textContent !== words) node.textContent = words;
  node.hidden = words === "";
}

async function refresh() {
  // The page says by itself when nobody is there.
  const state = await api.cameras().catch(() => null);
  if (state && !ended) show(state);
}

async function order(what, camera) {
  try {
    await api.orderCamera(what, camera);
    find("said").textContent = texts.ordered;
  } catch (error) {
    find("said").textContent = texts.notOrdered(error.message);
    notice(texts.notOrdered(error.message));
    return;
  }
  setTimeout(refresh, 300);
}

function look() {
  const all = [...tiles.values()];
  for (const tile of all) tile.check();
  if (document.hidden || ended) return;
  const waiting = all.filter((tile) => tile.wantsImage).sort((one, other) => one.askedAt - other.askedAt);
  const asking = all.filter((tile) => tile.isAsking).length;
  for (const tile of waiting.slice(0, Math.max(0, AT_ONCE - asking))) tile.look();
}

showTexts();
prepareForm();
find("reload").addEventListener("click", () => order("reload"));
let ended = "";
const end = (why) => {
  ended = texts.ends[why];
  notice(ended);
};
connect({
  session: () => {
    ended = "";
    refresh();
  },
  state: () => {},
  end,
});
setInterval(() => document.hidden || ended || refresh(), STATE_MS);
setInterval(look, 100);
