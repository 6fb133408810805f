// The connection to the server: what it tells, and what to say when it tells nothing any more.

import * as api from "./api.js";

const RETRY_MS = 2000;
const UNKNOWN = [401, 403];

// on.session: called with what the page has to know, whenever there is a connection.
// on.state: called with the whole state whenever it changes.
// on.end: called with "ended": the program says that it ends; "silent": it does not answer;
// "stranger": what answers there is not what this page came from. It is tried again all the same.
export function connect(on) {
  attempt(on, "silent");
}

// why: what to say when nobody answers.
async function attempt(on, why) {
  try {
    on.session(await api.begin());
  } catch (error) {
    end(on, UNKNOWN.includes(error.status) ? "stranger" : why);
    return;
  }
  const events = api.events();
  events.addEventListener("message", (event) => on.state(JSON.parse(event.data)));
  events.addEventListener("ended", () => {
    events.close();
    end(on, "ended");
  });
  events.addEventListener("error", () => {
    events.close();
    attempt(on, "silent");
  });
}

function end(on, why) {
  on.end(why);
  setTimeout(attempt, RETRY_MS, on, why);
}
