// The page: takes files, copies two at a time to the server, and shows what becomes of each.

import * as api from "./api.js";
import { Card } from "./card.js";
import { connect } from "./connection.js";
import { chosen, dropped, sorted } from "./folders.js";
import { Question } from "./question.js";
import { texts } from "./texts.js";
import { showTexts, showWays } from "./words.js";

const AT_ONCE = 2;

const find = (id) => document.getElementById(id);
const cards = new Map(); // by id
const local = new Map(); // id → job: files that the server does not have (yet, or at all)
const originals = new Map(); // id → File
const told = new Set(); // ids that the server has told of
const unwanted = new Set(); // ids of what was deleted here
const queue = [];
const deleting = new Question(texts.deleting);
let copying = 0;
let limits = { max_bytes: Infinity, max_jobs: Infinity, suffixes: [] };
let known = [];
let last = []; // what the server told of last
let removing = Promise.resolve(); // of all files
let counter = 0;

function start() {
  showTexts();
  for (const id of ["files", "folder"]) {
    find(id).addEventListener("change", (event) => {
      add(chosen(event.target.files));
      event.target.value = "";
    });
  }
  find("delete-all").addEventListener("click", () => (isAnythingLost() ? deleting.ask(deleteAll) : deleteAll()));
  find("with-reports").addEventListener("change", (event) => offerAll(event.target.checked));
  takeDrops(find("drop"));
  connect({ session: onSession, state: onState, end: onEnd });
}

const listed = () => [...known, ...local.values()];

// Of what has failed, or is gone already, there is nothing to lose but corrections.
const isAnythingLost = () => listed().some(({ id, state }) => cards.get(id)?.keep || !["failed", "gone"].includes(state));

function deleteAll() {
  for (const [id, job] of [...local]) (job.abort ?? (() => local.delete(id)))();
  for (const { id } of known) unwanted.add(id);
  removing = api.removeAll().catch(() => {});
  show();
}

function takeDrops(zone) {
  const stop = (event) => {
    event.preventDefault();
    zone.classList.toggle("over", event.type === "dragover");
  };
  for (const type of ["dragover", "dragleave"]) document.addEventListener(type, stop);
  document.addEventListener("drop", (event) => {
    stop(event);
    dropped(event.dataTransfer).then(
      (items) => (items.length ? add(items) : refuse(texts.dropped, texts.nothingIn)),
      () => refuse(texts.dropped, texts.unread),
    );
  });
}

function localJob(name, state, error = null) {
  const id = `local-${(counter += 1)}`;
  const job = { id, name, state, error, kind: "image", progress: null, left_s: null };
  local.set(id, job);
  return job;
}

function refuse(name, reason) {
  localJob(name, "failed", reason);
  show();
}

function add(items) {
  const { media, others } = sorted(items, limits.suffixes);
  const room = limits.max_jobs - known.length - queue.length - copying;
  // A part of a folder would look like all of it.
  const folders = media.filter(({ name }) => name.includes("/"));
  if (folders.length > room) {
    refuse(`${folders[0].name.split("/")[0]}/`, texts.tooMany(folders.length, Math.max(0, room)));
    return;
  }
  if (others.length) refuse(`${others[0].name.split("/")[0]}/`, texts.leftOut(others.map(({ name }) => name)));
  for (const { file, name } of media) {
    if (file.size === 0) refuse(name, texts.empty);
    else if (file.size > limits.max_bytes) refuse(name, texts.tooLarge(limits.max_bytes));
    else {
      const job = localJob(name, "queued");
      job.abort = () => local.delete(job.id);
      queue.push({ job, file });
    }
  }
  show();
  // Below many others, nobody would see that something has begun.
  cards.get([...local.keys()].at(-1))?.node.scrollIntoView({ block: "nearest" });
  copyNext();
}

async function copyNext() {
  if (copying >= AT_ONCE || queue.length === 0) return;
  const { job, file } = queue.shift();
  if (!local.has(job.id)) {
    copyNext();
    return;
  }
  copying += 1;
  const controller = new AbortController();
  job.abort = () => controller.abort();
  update(job, { state: "uploading" });
  try {
    // What is deleted is what was there before.
    await removing;
    const taken = await api.upload(file, job.name, controller.signal);
    originals.set(taken.id, file);
    local.delete(job.id);
    if (!isKnown(taken)) known.push(last.find(({ id, state }) => id === taken.id && state !== "uploading") ?? taken);
  } catch (error) {
    const reason = error instanceof TypeError ? texts.broken : error.message;
    if (controller.signal.aborted) local.delete(job.id);
    else update(job, { state: "failed", error: reason, abort: null });
  }
  copying -= 1;
  known.push(...last.filter((each) => !isKnown(each) && !isComing(each)));
  show();
  copyNext();
}

function update(job, changes) {
  const changed = Object.assign({}, job, changes);
  // Whoever holds the job aborts through it.
  Object.assign(job, changes);
  local.set(job.id, changed);
  show();
}

const isKnown = ({ id }) => known.some((each) => each.id === id);

// Whether it may be what is being sent from here, which the server tells of before it has answered.
function isComing({ name, state }) {
  return state === "uploading" || [...local.values()].some((each) => each.state === "uploading" && each.name === name);
}

function onState(state) {
  delete document.body.dataset.gone;
  for (const job of state.jobs) told.add(job.id);
  // What is told may be older than the answer to an upload.
  const before = new Map(known.map((job) => [job.id, job]));
  last = state.jobs;
  known = last
    .map((job) => (job.state === "uploading" || (!before.has(job.id) && isComing(job)) ? before.get(job.id) : job))
    .filter((job) => job !== undefined);
  const present = new Set(known.map(({ id }) => id));
  for (const [id, job] of before) {
    // Another page has deleted it, or its time was over.
    if (cards.get(id)?.isOpen && !present.has(id) && !unwanted.has(id)) leave(job, texts.gone.deleted(limits.keep_minutes));
  }
  const { health, trouble } = state.detector;
  notice(health === "lost" ? texts.lost(trouble) : health === "starting" ? texts.starting : "", health);
  show();
}

// Its card stays, and says why there is nothing else of it.
function leave({ id, name, kind }, error) {
  local.set(id, { id, name, kind, state: "gone", error, progress: null, left_s: null });
}

function offerAll(reports) {
  find("save-all").href = api.allResults(reports);
}

function onSession(session) {
  // The token has done its work, and is kept; loaded again before, the page still needs it here.
  history.replaceState(null, "", "/");
  offerAll(find("with-reports").control.checked);
  showWays(session);
  limits = session;
  find("keep").textContent = texts.keep(session.keep_minutes);
}

// Nothing can be saved where nobody answers; what is gone for good is said on its card.
function onEnd(why) {
  document.body.dataset.gone = why;
  if (deleting.isOpen) deleting.close();
  if (why !== "silent") {
    for (const job of known) {
      if (job.state !== "failed") leave(job, texts.gone.ended);
    }
    known = [];
    last = [];
    show();
  }
  notice(texts.ends[why], "lost");
}

function notice(text, health) {
  const node = find("trouble");
  if (node.textContent !== text) node.textContent = text;
  node.hidden = text === "";
  node.dataset.health = health;
}

function show() {
  const jobs = listed();
  const present = new Set(jobs.map((job) => job.id));
  let left = null; // the place of a card that had the focus, and is gone
  for (const [id, card] of cards) {
    if (!present.has(id)) {
      if (card.node.contains(document.activeElement)) left = [...find("cards").children].indexOf(card.node);
      card.close();
      cards.delete(id);
      unwanted.delete(id);
      if (told.delete(id)) originals.delete(id);
    }
  }
  for (const job of jobs) {
    const card = cards.get(job.id);
    if (card === undefined) insert(job);
    else say(card.update(job));
  }
  const clean = jobs.filter((job) => job.result?.verdict.result === "clean").length;
  find("save-all").hidden = find("with-reports").hidden = clean < 2;
  find("save-all").textContent = texts.saveAll(clean);
  deleting.say(texts.deleting.title(jobs.length), texts.deleting.words);
  // Another page, or the time, may have answered it.
  if (deleting.isOpen && !isAnythingLost()) deleting.close();
  if (document.activeElement === find("delete-all") && jobs.length === 0) left = 0;
  find("delete-all").hidden = find("list-title").hidden = jobs.length === 0;
  if (left !== null) goOn(left);
}

// Whoever has no mouse goes on from the next card, or from the beginning where there is none.
function goOn(place) {
  const next = find("cards").children[place] ?? find("cards").lastElementChild;
  const parts = next?.querySelectorAll(".actions > .button") ?? [];
  ([...parts].find((part) => !part.hidden) ?? find("files")).focus();
}

function insert(job) {
  const card = new Card(job, {
    originalOf: () => originals.get(job.id),
    on: {
      cancel: () => (local.has(job.id) ? dropLocal(job.id) : api.cancel(job.id)),
      remove: () => (local.has(job.id) ? dropLocal(job.id) : remove(job.id)),
      // The state that comes with the next event tells more than a refusal would.
      undo: () => api.undo(job.id).catch(() => {}),
      redo: () => api.redo(job.id).catch(() => {}),
    },
  });
  cards.set(job.id, card);
  find("cards").append(card.node);
}

function remove(id) {
  unwanted.add(id);
  api.remove(id);
}

function dropLocal(id) {
  const job = local.get(id);
  if (job?.abort) job.abort();
  else local.delete(id);
  show();
}

function say(words) {
  if (words) find("said").textContent = words;
}

start();
