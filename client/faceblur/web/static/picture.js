// Draws masked images, and what stands in their place.

// image: an ImageBitmap, which is used up.
export function draw(canvas, image) {
  if (canvas.width !== image.width) canvas.width = image.width;
  if (canvas.height !== image.height) canvas.height = image.height;
  canvas.getContext("2d").drawImage(image, 0, 0);
  image.close();
}

// Leaves nothing of what was drawn before.
export function blank(canvas, words) {
  const context = canvas.getContext("2d");
  context.fillStyle = "#383838";
  context.fillRect(0, 0, canvas.width, canvas.height);
  context.fillStyle = "#e0e0e0";
  context.font = `${Math.round(canvas.height / 14)}px system-ui, sans-serif`;
  context.textAlign = "center";
  context.fillText(words, canvas.width / 2, canvas.height / 2, 0.9 * canvas.width);
}
