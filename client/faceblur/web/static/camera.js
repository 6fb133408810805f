// The page of the computer's own camera. What the camera gives is never shown: it is sent to this
// machine, and what comes back from there, checked and covered, is drawn.

import * as api from "./api.js";
import { connect } from "./connection.js";
import { blank, draw } from "./picture.js";
import { texts } from "./texts.js";
import { showTexts, showWays } from "./words.js";

const AT_ONCE = 2; // images that are away to be covered
const LONGEST = 1280; // pixels of the longer side of what is sent
const QUALITY = 0.85;
const REFUSED_PAUSE_MS = 200;
const FIGURES_MS = 500;
const RECENT_MS = 3000; // what the figures are taken from

const find = (id) => document.getElementById(id);

// One start of the camera, until it is stopped.
class Run {
  constructor(stream, { id, deadline_s }, onEnd) {
    this.stream = stream;
    this.id = id;
    this.deadlineMs = 1000 * deadline_s;
    this.onEnd = onEnd;
    this.number = 0; // of the next image
    this.answered = -1; // the newest image that was answered
    this.away = 0;
    this.notBefore = 0;
    this.recent = []; // what was drawn lately
    this.shownAt = performance.now();
    this.reason = texts.cameraUnanswered;
    this.isOver = false;
    // It is in no document, so it shows nowhere.
    this.video = document.createElement("video");
    this.video.muted = this.video.playsInline = true;
    this.video.srcObject = stream;
    this.scratch = document.createElement("canvas");
  }

  async begin() {
    const [track] = this.stream.getVideoTracks();
    track.addEventListener("ended", () => this.end(texts.cameraGone));
    await this.video.play();
    this.ticker = setInterval(() => this.#tick(), FIGURES_MS);
    this.#next();
  }

  end(reason = "") {
    if (this.isOver) return;
    this.isOver = true;
    clearInterval(this.ticker);
    for (const track of this.stream.getTracks()) track.stop();
    this.video.srcObject = null;
    api.endCamera(this.id).catch(() => {});
    this.onEnd(reason);
  }

  #next() {
    if (this.isOver) return;
    // Where a browser does not tell of new images, some are sent twice.
    const wait = this.video.requestVideoFrameCallback?.bind(this.video) ?? requestAnimationFrame;
    wait(() => {
      if (this.away < AT_ONCE && performance.now() >= this.notBefore) this.#send();
      this.#next();
    });
  }

  async #send() {
    const number = this.number++;
    const taken = performance.now();
    this.away += 1;
    try {
      const image = await this.#encoded();
      const signal = AbortSignal.timeout(this.deadlineMs);
      const answer = await api.coverImage(this.id, number, image, signal);
      const body = answer.status === 200 ? await answer.blob() : await answer.json().catch(() => ({}));
      await this.#take(number, taken, answer, body);
    } catch (error) {
      // Nobody has answered in time, or nobody is there: nothing more is drawn.
      this.notBefore = performance.now() + REFUSED_PAUSE_MS;
      this.reason = texts.cameraUnanswered;
      if (error.name !== "TimeoutError" && error.name !== "AbortError") this.#withhold(this.reason);
    }
    this.away -= 1;
  }

  #encoded() {
    const { videoWidth, videoHeight } = this.video;
    const scale = Math.min(1, LONGEST / Math.max(videoWidth, videoHeight));
    this.scratch.width = Math.round(scale * videoWidth);
    this.scratch.height = Math.round(scale * videoHeight);
    this.scratch.getContext("2d").drawImage(this.video, 0, 0, this.scratch.width, this.scratch.height);
    return new Promise((resolve, reject) => {
      const take = (blob) => (blob ? resolve(blob) : reject(new Error("no image")));
      this.scratch.toBlob(take, "image/jpeg", QUALITY);
    });
  }

  async #take(number, taken, answer, body) {
    if (this.isOver || number < this.answered) return;
    this.answered = number;
    if (answer.status === 404) this.end(texts.cameraEnded);
    else if (answer.status === 200) await this.#draw(number, taken, answer, body);
    else if (answer.status !== 204) {
      this.notBefore = performance.now() + REFUSED_PAUSE_MS;
      this.#withhold(texts.cameraWithheld(body.error ?? `status ${answer.status}`));
    }
  }

  async #draw(number, taken, answer, body) {
    const image = await createImageBitmap(body);
    if (this.isOver || number < this.answered) return;
    const canvas = find("image");
    draw(canvas, image);
    this.shownAt = performance.now();
    this.reason = texts.cameraUnanswered;
    const delayMs = this.shownAt - taken + 1000 * Number(answer.headers.get("X-Behind"));
    this.recent.push({ at: this.shownAt, delayMs, faces: Number(answer.headers.get("X-Faces")) });
    if (canvas.hidden || !find("state").hidden) {
      say("");
      canvas.hidden = false;
      canvas.dataset.state = "live";
    }
  }

  // Nothing of the camera shows any more.
  #withhold(reason) {
    if (this.isOver) return;
    this.recent = [];
    this.reason = reason;
    const canvas = find("image");
    blank(canvas, texts.cameraBlank);
    canvas.hidden = false;
    canvas.dataset.state = "withheld";
    find("figures").hidden = true;
    say(reason);
  }

  #tick() {
    const now = performance.now();
    if (now - this.shownAt > this.deadlineMs) this.#withhold(this.reason);
    this.recent = this.recent.filter((each) => now - each.at < RECENT_MS);
    find("figures").hidden = this.recent.length < 2;
    if (this.recent.length < 2) return;
    const fps = (1000 * (this.recent.length - 1)) / (this.recent.at(-1).at - this.recent[0].at);
    const delays = this.recent.map((each) => each.delayMs).sort((one, other) => one - other);
    const delay_s = delays[Math.floor(delays.length / 2)] / 1000;
    find("figures").textContent = texts.cameraFigures({ fps, delay_s, faces: this.recent.at(-1).faces });
  }
}

function say(words) {
  const node = find("state");
  if (node.textContent !== words) node.textContent = words;
  node.hidden = words === "";
}

let run = null;

async function start() {
  show({ running: true });
  say(texts.cameraStarting);
  if (!navigator.mediaDevices) {
    ended(texts.cameraInsecure);
    return;
  }
  let stream = null;
  try {
    const size = { width: { ideal: 1280 }, height: { ideal: 720 } };
    stream = await navigator.mediaDevices.getUserMedia({ video: size, audio: false });
    const opened = await api.beginCamera(find("quick").checked);
    run = new Run(stream, opened, ended);
    await run.begin();
    find("stop").focus();
  } catch (error) {
    for (const track of stream?.getTracks() ?? []) track.stop();
    if (run) run.end(texts.cameraFailed(error));
    else ended(texts.cameraFailed(error));
  }
}

function ended(reason) {
  run = null;
  show({ running: false });
  say(reason);
}

function show({ running }) {
  find("start").hidden = running;
  find("quick").disabled = running;
  find("stop").hidden = !running;
  if (running) return;
  const hadFocus = document.activeElement === find("stop") || document.activeElement === document.body;
  find("image").hidden = find("figures").hidden = true;
  blank(find("image"), "");
  if (hadFocus) find("start").focus();
}

showTexts();
find("image").setAttribute("aria-label", texts.cameraAlt);
find("start").addEventListener("click", start);
find("stop").addEventListener("click", () => run?.end());
window.addEventListener("pagehide", () => run?.end());
// It also says that a page is open: files are kept as long as one is.
const end = (why) => (run ? run.end(texts.ends[why]) : say(texts.ends[why]));
connect({ session: showWays, state: () => {}, end });
