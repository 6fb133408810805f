// Times and pages as corrections write them: 62.5, "1:02.5" or "page 3".

export const pageOf = (at) => Number(/^page ?(\d+)$/i.exec(at)?.[1] ?? 0);

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
