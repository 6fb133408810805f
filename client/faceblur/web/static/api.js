// What the page asks of the server.

const REFUSED = 403;
const KEPT = "faceblur";
const NAMED = new URLSearchParams(location.search).get("token");

let session = null; // a promise: a file may be dropped before the answer is there
// Pages of other ports of this machine are sent the cookie of this one. They cannot see this.
let proof = NAMED ?? kept();

function kept() {
  try {
    return localStorage.getItem(KEPT) ?? "";
  } catch {
    return ""; // this browser keeps nothing
  }
}

function keep() {
  try {
    localStorage.setItem(KEPT, proof);
  } catch {
    // It is asked for again when the page is loaded again.
  }
}

const ask = (path, method = "GET", options = {}) =>
  fetch(path, { method, headers: { "X-CSRF-Token": proof }, ...options });

export function begin() {
  session = opened();
  return session;
}

async function opened() {
  try {
    const answer = await told(ask("/api/session"));
    keep();
    return answer;
  } catch (error) {
    if (error.status !== REFUSED || proof === kept()) throw error;
    proof = kept(); // what the address names is another page's
    return told(ask("/api/session"));
  }
}

export const settings = () => session;

async function change(path, method, options = {}) {
  await session;
  return ask(path, method, options);
}

export const events = () => new EventSource(`/api/events?${new URLSearchParams({ proof })}`);
export const allResults = (reports) =>
  `/api/results.zip?${new URLSearchParams({ proof, ...(reports && { reports }) })}`;

// Returns the job, or throws an Error whose message is for the user.
export async function upload(file, name, signal) {
  const path = `/api/jobs?name=${encodeURIComponent(name)}`;
  return told(change(path, "POST", { body: file, signal }));
}

// What the server answers, or an Error whose message is for the user.
async function told(asked) {
  const answer = await asked;
  const said = await answer.json().catch(() => ({}));
  const { ok, status } = answer;
  if (!ok) throw Object.assign(new Error(said.error ?? `status ${status}`), { status });
  return said;
}

export const people = (id) => told(ask(`/api/jobs/${id}/people`));
export const viewOf = (id, track) => `/api/jobs/${id}/people/${track}`;
// edits: all that is wanted of the result, as `edits` of the result before says it.
export const edit = (id, edits) =>
  told(change(`/api/jobs/${id}/edits`, "POST", { body: JSON.stringify(edits) }));
export const framesOf = (id) => told(ask(`/api/jobs/${id}/frames`));
// at: a time or a page, as corrections have it; side: original or masked; version: of the result.
export const frameOf = (id, at, side, version) =>
  `/api/jobs/${id}/frame?${new URLSearchParams({ at, side, version })}`;
export const found = (id, at) => told(ask(`/api/jobs/${id}/found?${new URLSearchParams({ at })}`));
export const openCorrections = (id, file) =>
  told(change(`/api/jobs/${id}/corrections`, "POST", { body: file }));
export const undo = (id) => told(change(`/api/jobs/${id}/undo`, "POST"));
export const redo = (id) => told(change(`/api/jobs/${id}/redo`, "POST"));

export const cancel = (id) => change(`/api/jobs/${id}/cancel`, "POST");
export const remove = (id) => change(`/api/jobs/${id}`, "DELETE");
export const removeAll = () => change("/api/jobs", "DELETE");

export const beginCamera = (quick) =>
  told(change(`/api/camera?quick=${quick ? "yes" : "no"}`, "POST"));
// Answers with the response itself: it holds an image or says why there is none.
export const coverImage = (id, number, image, signal) =>
  change(`/api/camera/${id}/images?number=${number}`, "POST", { body: image, signal });
export const endCamera = (id) => change(`/api/camera/${id}`, "DELETE", { keepalive: true });

export const cameras = () => told(ask("/api/cameras"));
export const cameraImage = (camera, after) =>
  ask(`/api/cameras/image?${new URLSearchParams({ camera, after })}`);
export const orderCamera = async (what, camera) => {
  const body = JSON.stringify(camera === undefined ? { do: what } : { do: what, camera });
  const answer = await change("/api/cameras/orders", "POST", { body });
  if (!answer.ok) await told(Promise.resolve(answer));
};

const sent = (path, body) => told(change(path, "POST", { body: JSON.stringify(body) }));
export const tryCamera = (address, user, password) =>
  sent("/api/cameras/trials", { address, user, password });
export const trial = (id) => told(ask(`/api/cameras/trials/${id}`));
export const trialImage = (id, after) => ask(`/api/cameras/trials/${id}/image?after=${after}`);
export const saveTrial = (id, name) => sent(`/api/cameras/trials/${id}/save`, { name });
export const endTrial = (id) => change(`/api/cameras/trials/${id}`, "DELETE", { keepalive: true });
export const searchCameras = () => sent("/api/cameras/found", {});
export const askFound = (id, user, password) => sent(`/api/cameras/found/${id}`, { user, password });
