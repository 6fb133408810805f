// Corrections of one file, as docs/correct.md has them; every change gives a new list.

export const secondsOf = (at) =>
  typeof at === "number" ? at : at.split(":").reduce((sum, part) => sum * 60 + Number(part), 0);

// A time as the server writes it, to the millionth of a second.
export function clockOf(seconds) {
  const millionths = Math.round(seconds * 1e6);
  const minutes = Math.floor(millionths / 6e7);
  const rest = ((millionths % 6e7) / 1e6).toFixed(6).padStart(9, "0").replace(/\.?0+$/, "");
  const whole = rest.padStart(2, "0");
  return minutes < 60 ? `${minutes}:${whole}` : `${Math.floor(minutes / 60)}:${String(minutes % 60).padStart(2, "0")}:${whole}`;
}

export const isDrawn = (correction) => correction.keyframes !== undefined;
export const firstOf = ({ keyframes }) => secondsOf(keyframes[0].at);
export const lastOf = ({ keyframes }) => secondsOf(keyframes[keyframes.length - 1].at);

// Boxes that somebody drew at a time.
export const drawnAt = (corrections, at) =>
  corrections.flatMap(({ keyframes = [] }) => keyframes.filter((each) => Math.abs(secondsOf(each.at) - at) < 1e-6).map(({ box }) => box));

// With a box at a time, of a new face, or of the one that a correction is about already.
export function withBox(corrections, { at, box, follow, of }) {
  const keyframe = follow ? { at: clockOf(at), box, follow } : { at: clockOf(at), box };
  if (of === null) return [...corrections, { keyframes: [keyframe] }];
  return corrections.map((each, index) => {
    if (index !== of) return each;
    const others = each.keyframes.filter((other) => secondsOf(other.at) !== at);
    const keyframes = [...others, keyframe].sort((a, b) => secondsOf(a.at) - secondsOf(b.at));
    const changed = { ...each, keyframes };
    if (changed.until !== undefined && secondsOf(changed.until) <= lastOf(changed)) delete changed.until;
    return changed;
  });
}

export const endingAt = (corrections, index, at) =>
  corrections.map((each, i) => (i === index ? { ...each, until: clockOf(at) } : each));

export const without = (corrections, index) => corrections.filter((_, i) => i !== index);

// A face of the list: a track of a video, and of a photo, which has no tracks, a box.
const removalOf = ({ track, box }) => ({ remove: track ? { track } : { at: "0:00", box } });

export const withRemoval = (corrections, face) => [...corrections, removalOf(face)];

// Where in the list a face is removed; -1 if nowhere.
export const removedAt = (corrections, face) =>
  corrections.findIndex(({ remove }) => {
    if (remove === undefined) return false;
    if (remove.track !== undefined) return remove.track === face.track;
    return !face.track && touches(remove.box, face.box);
  });

const touches = ([a0, b0, a1, b1], [c0, d0, c1, d1]) =>
  Math.abs(a0 - c0) < 1 && Math.abs(b0 - d0) < 1 && Math.abs(a1 - c1) < 1 && Math.abs(b1 - d1) < 1;

const among = (corrections, one) => corrections.some((each) => same(each, one));

// What was made of one list here, carried over to what came of it elsewhere.
export function merged(mine, before, now) {
  const kept = now.filter((each) => among(mine, each) || !among(before, each));
  return [...kept, ...mine.filter((each) => !among(before, each) && !among(now, each))];
}

export const same = (one, other) => JSON.stringify(one) === JSON.stringify(other);
