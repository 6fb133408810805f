// What the page asks of the server.

let session = null; // a promise: a file may be dropped before the answer is there

export function begin() {
  session = told(fetch("/api/session"));
  return session;
}

export const settings = () => session;

async function change(path, method, options = {}) {
  const { csrf, csrf_header } = await session;
  return fetch(path, { method, headers: { [csrf_header]: csrf }, ...options });
}

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

export const people = (id) => told(fetch(`/api/jobs/${id}/people`));
export const viewOf = (id, track) => `/api/jobs/${id}/people/${track}`;
// edits: all that is wanted of the result, as `edits` of the result before says it.
export const edit = (id, edits) =>
  told(change(`/api/jobs/${id}/edits`, "POST", { body: JSON.stringify(edits) }));
export const framesOf = (id) => told(fetch(`/api/jobs/${id}/frames`));
// at: a time or a page, as corrections have it; side: original or masked; version: of the result.
export const frameOf = (id, at, side, version) =>
  `/api/jobs/${id}/frame?${new URLSearchParams({ at, side, version })}`;
export const found = (id, at) => told(fetch(`/api/jobs/${id}/found?${new URLSearchParams({ at })}`));
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

export const cameras = () => told(fetch("/api/cameras"));
export const cameraImage = (camera, after) =>
  fetch(`/api/cameras/image?${new URLSearchParams({ camera, after })}`);
export const orderCamera = async (what, camera) => {
  const body = JSON.stringify(camera === undefined ? { do: what } : { do: what, camera });
  const answer = await change("/api/cameras/orders", "POST", { body });
  if (!answer.ok) await told(Promise.resolve(answer));
};

const sent = (path, body) => told(change(path, "POST", { body: JSON.stringify(body) }));
export const tryCamera = (address, user, password) =>
  sent("/api/cameras/trials", { address, user, password });
export const trial = (id) => told(fetch(`/api/cameras/trials/${id}`));
export const trialImage = (id, after) => fetch(`/api/cameras/trials/${id}/image?after=${after}`);
export const saveTrial = (id, name) => sent(`/api/cameras/trials/${id}/save`, { name });
export const endTrial = (id) => change(`/api/cameras/trials/${id}`, "DELETE", { keepalive: true });
export const searchCameras = () => sent("/api/cameras/found", {});
export const askFound = (id, user, password) => sent(`/api/cameras/found/${id}`, { user, password });
