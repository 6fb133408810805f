// The frames of a file, or its pages, and how corrections and addresses name them.

import { clockOf, pageOf, secondsOf } from "./moments.js";

export class Frames {
  // told: what the server says of them.
  constructor({ width, height, sizes, pixel_aspect, kind, are_pages, times }) {
    Object.assign(this, { width, height, sizes, pixel_aspect, kind, times, arePages: are_pages });
    this.count = times.length;
    this.areFollowed = kind === "video" || kind === "animation";
  }

  // In pixels; pages of a document may differ.
  sizeOf(index) {
    const [width, height] = this.sizes[index] ?? [this.width, this.height];
    return { width, height, pixel_aspect: this.pixel_aspect };
  }

  // Behind the last one, what is later than all.
  atOf(index) {
    if (this.arePages) return `page ${index + 1}`;
    if (index < this.count) return clockOf(this.times[index]);
    const last = this.times[this.count - 1];
    return clockOf(this.count > 1 ? 2 * last - this.times[this.count - 2] : last + 1);
  }

  // The frame that is shown then.
  indexOf(at) {
    const page = pageOf(at);
    if (page) return page - 1;
    const after = this.times.findIndex((time) => time > secondsOf(at) + 1e-6);
    return Math.max(0, (after < 0 ? this.count : after) - 1);
  }

  // The first frame that is no longer shown before a time or a page.
  endOf(until) {
    const page = pageOf(until);
    if (page) return page - 1;
    const end = this.times.findIndex((time) => time > secondsOf(until) - 1e-6);
    return end < 0 ? this.count : end;
  }
}
