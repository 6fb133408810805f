// Corrections of one file, as docs/correct.md has them; every change gives a new list.
// frames: what the times and pages in them mean; index: of a frame.

export const isDrawn = (correction) => correction.keyframes !== undefined;
export const isFollowed = ({ keyframes }) => keyframes[keyframes.length - 1].follow === true;

// Where a correction begins.
export const firstOf = ({ keyframes, remove }, frames) =>
  remove ? (remove.at === undefined ? 0 : frames.indexOf(remove.at)) : frames.indexOf(keyframes[0].at);

// The last frame in which somebody has said what it does.
export function lastOf({ keyframes, remove, until }, frames) {
  if (!remove) return frames.indexOf(keyframes[keyframes.length - 1].at);
  return until === undefined ? frames.indexOf(remove.at) : frames.endOf(until) - 1;
}

// Boxes that somebody drew for a frame, or that go straight from one that was drawn to the next.
export const drawnAt = (corrections, index, frames) => corrections.filter(isDrawn).flatMap(({ keyframes }) => {
  const places = keyframes.map(({ at }) => frames.indexOf(at));
  const here = places.findLastIndex((place) => place <= index);
  if (here < 0) return [];
  const [from, to] = [keyframes[here], keyframes[here + 1]];
  if (places[here] === index) return [from.box];
  if (from.follow || !to) return [];
  const share = (index - places[here]) / (places[here + 1] - places[here]);
  return [from.box.map((side, i) => side + share * (to.box[i] - side))];
});

// With a box in a frame, of a new face, or of the one that a correction is about already.
export function withBox(corrections, { index, box, follow, of }, frames) {
  const at = frames.atOf(index);
  const keyframe = follow ? { at, box, follow } : { at, box };
  if (of === null) return [...corrections, { keyframes: [keyframe] }];
  return corrections.map((each, i) => {
    if (i !== of) return each;
    const others = each.keyframes.filter((other) => frames.indexOf(other.at) !== index);
    const keyframes = [...others, keyframe].sort((a, b) => frames.indexOf(a.at) - frames.indexOf(b.at));
    const changed = { ...each, keyframes };
    if (changed.until !== undefined && frames.endOf(changed.until) <= lastOf(changed, frames)) delete changed.until;
    return changed;
  });
}

// Nothing is covered for it, or removed, from a frame on.
export const endingAt = (corrections, which, index, frames) =>
  corrections.map((each, i) => (i === which ? { ...each, until: frames.atOf(index) } : each));

// Where its last box was drawn, it is covered up to a frame.
export function heldTo(corrections, which, index, frames) {
  const { keyframes } = corrections[which];
  return withBox(corrections, { index, box: keyframes[keyframes.length - 1].box, follow: false, of: which }, frames);
}

export const without = (corrections, index) => corrections.filter((_, i) => i !== index);

// A face of the list: a track of a video; an image has none, so a box in one of its pages.
export function withRemoval(corrections, { track, box }, index, frames) {
  const remove = track ? { track } : { at: frames.atOf(index), box };
  return [...corrections, { remove }];
}

// Where in the list a face of a frame is removed; -1 if nowhere.
export const removedAt = (corrections, face, index, frames) =>
  corrections.findIndex((each) => {
    const { remove } = each;
    if (remove === undefined) return false;
    if (remove.track !== undefined) return remove.track === face.track;
    if (face.track || index < firstOf(each, frames) || index > lastOf(each, frames)) return false;
    return overlap(remove.box, face.box) >= ALIKE;
  });

const ALIKE = 0.8; // as the program takes it: intersection over union

function overlap([a0, b0, a1, b1], [c0, d0, c1, d1]) {
  const shared = Math.max(0, Math.min(a1, c1) - Math.max(a0, c0)) * Math.max(0, Math.min(b1, d1) - Math.max(b0, d0));
  return shared / ((a1 - a0) * (b1 - b0) + (c1 - c0) * (d1 - d0) - shared || 1);
}

const among = (corrections, one) => corrections.some((each) => same(each, one));

// What was made of one list here, carried over to what came of it elsewhere.
export function merged(mine, before, now) {
  const kept = now.filter((each) => among(mine, each) || !among(before, each));
  return [...kept, ...mine.filter((each) => !among(before, each) && !among(now, each))];
}

export const same = (one, other) => JSON.stringify(one) === JSON.stringify(other);
