// The form with which a camera is tried, looked at as it would be given out, and added.

import * as api from "./api.js";
import { button, element } from "./elements.js";
import { blank, draw } from "./picture.js";
import { texts } from "./texts.js";

const POLL_MS = 400;

const find = (id) => document.getElementById(id);
let trial = null; // { id, number, isGood }

export function prepareForm() {
  find("trial").setAttribute("aria-label", texts.trialAlt);
  find("try").addEventListener("submit", (event) => {
    event.preventDefault();
    begin();
  });
  find("save").addEventListener("submit", (event) => {
    event.preventDefault();
    save();
  });
  find("leave").addEventListener("click", () => {
    end();
    say("");
    find("address").focus();
  });
  find("search").addEventListener("click", search);
  window.addEventListener("pagehide", end);
}

export function showForm(file) {
  find("add").hidden = false;
  find("save-button").textContent = texts.addSave(file);
}

async function search() {
  end();
  find("search").disabled = true;
  find("found").hidden = true;
  say(texts.foundSearching);
  try {
    const { cameras } = await api.searchCameras();
    find("found").replaceChildren(...cameras.map(foundLine));
    find("found").hidden = cameras.length === 0;
    say(texts.foundCount(cameras.length));
  } catch (error) {
    say(texts.foundNothing(error.message), true);
  }
  find("search").disabled = false;
}

function foundLine(camera) {
  const line = element("li", "");
  const name = element("span", "", { textContent: texts.foundName(camera) });
  name.dir = "auto";
  line.append(name, button(texts.foundUse, texts.foundUseName(camera), () => use(camera, line)));
  return line;
}

// It says itself which streams it has, and where.
async function use({ id, host }, line) {
  end();
  say(texts.foundAsking(host));
  try {
    const { streams } = await api.askFound(id, find("user").value, find("password").value);
    line.querySelector("ul")?.remove();
    if (streams.length === 1) tryStream(streams[0]);
    else offer(streams, line);
  } catch (error) {
    say(texts.foundRefused(error.message), true);
    if (!find("user").value) find("user").focus();
  }
}

function offer(streams, line) {
  const list = element("ul", "streams");
  list.append(
    ...streams.map((stream, index) => {
      const words = texts.streamName(stream, index);
      const choice = element("li", "");
      const name = element("span", "", { textContent: words });
      name.dir = "auto";
      choice.append(name, button(texts.foundUse, texts.streamUse(words), () => tryStream(stream)));
      return choice;
    }),
  );
  line.append(list);
  say(texts.streamsCount(streams.length));
  list.querySelector("button").focus();
}

function tryStream({ address }) {
  find("address").value = address;
  begin();
}

async function begin() {
  end();
  const mine = (trial = { id: null, number: 0, isGood: false });
  say(texts.trialBegins);
  try {
    const { id } = await api.tryCamera(find("address").value, find("user").value, find("password").value);
    if (trial !== mine) {
      api.endTrial(id).catch(() => {});
      return;
    }
    mine.id = id;
  } catch (error) {
    if (trial === mine) {
      trial = null;
      say(texts.trialRefused(error.message), true);
    }
    return;
  }
  blank(find("trial"), texts.trialWaits);
  find("trial").dataset.shown = "no";
  find("save-button").disabled = true;
  find("trial-area").hidden = false;
  follow(mine);
}

async function follow(mine) {
  while (trial === mine) {
    try {
      const state = await api.trial(mine.id);
      if (trial !== mine) return;
      mine.isGood = state.is_good;
      find("save-button").disabled = !state.is_good;
      say(state.is_good ? texts.trialGood(state) : texts.trialBad(state), !state.is_good && state.error !== "");
      if (state.is_good) await look(mine);
      else if (find("trial").dataset.shown === "yes") clear();
    } catch (error) {
      if (trial !== mine) return;
      end();
      say(texts.trialRefused(error.message), true);
      return;
    }
    await new Promise((resolve) => setTimeout(resolve, POLL_MS));
  }
}

async function look(mine) {
  const answer = await api.trialImage(mine.id, mine.number);
  if (answer.status !== 200) return;
  const image = await createImageBitmap(await answer.blob());
  if (trial !== mine) {
    image.close();
    return;
  }
  mine.number = Number(answer.headers.get("X-Number"));
  draw(find("trial"), image);
  find("trial").dataset.shown = "yes";
}

async function save() {
  const mine = trial;
  if (!mine) return;
  try {
    const { is_taken } = await api.saveTrial(mine.id, find("name").value.trim());
    trial = null;
    find("trial-area").hidden = true;
    clear();
    for (const id of ["address", "user", "password", "name"]) find(id).value = "";
    for (const list of find("found").querySelectorAll("ul")) list.remove();
    say(is_taken ? texts.addedTaken : texts.added);
    find("address").focus();
  } catch (error) {
    find("name").focus();
    find("save-said").textContent = texts.notOrdered(error.message);
  }
}

function end() {
  const old = trial;
  trial = null;
  find("trial-area").hidden = true;
  clear();
  find("save-said").textContent = "";
  if (old?.id) api.endTrial(old.id).catch(() => {});
}

function clear() {
  blank(find("trial"), texts.trialWaits);
  find("trial").dataset.shown = "no";
}

// isBad: it wants attention.
function say(words, isBad = false) {
  const node = find("trial-said");
  node.classList.toggle("notice", isBad);
  if (node.textContent !== words) node.textContent = words;
  node.hidden = words === "";
}
