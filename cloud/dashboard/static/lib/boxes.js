// Geometry of labelling: boxes as {x, y, w, h, category} in pixels of the picture.

export const MIN_SIDE = 3;

export const clamp = (value, low, high) => Math.min(high, Math.max(low, value));

/** The box between two corners, inside the picture. */
export function spanned(a, b, width, height) {
  const x1 = clamp(Math.min(a.x, b.x), 0, width), x2 = clamp(Math.max(a.x, b.x), 0, width);
  const y1 = clamp(Math.min(a.y, b.y), 0, height), y2 = clamp(Math.max(a.y, b.y), 0, height);
  return { x: x1, y: y1, w: x2 - x1, h: y2 - y1 };
}

export function moved(box, dx, dy, width, height) {
  return { ...box, x: clamp(box.x + dx, 0, width - box.w), y: clamp(box.y + dy, 0, height - box.h) };
}

/** The eight handles: [name, share of width, share of height, cursor]. */
export const HANDLES = [
  ["nw", 0, 0, "nwse-resize"], ["n", 0.5, 0, "ns-resize"], ["ne", 1, 0, "nesw-resize"], ["e", 1, 0.5, "ew-resize"],
  ["se", 1, 1, "nwse-resize"], ["s", 0.5, 1, "ns-resize"], ["sw", 0, 1, "nesw-resize"], ["w", 0, 0.5, "ew-resize"],
];

export function resized(box, handle, point, width, height) {
  let x1 = box.x, y1 = box.y, x2 = box.x + box.w, y2 = box.y + box.h;
  const px = clamp(point.x, 0, width), py = clamp(point.y, 0, height);
  if (handle.includes("w")) x1 = Math.min(px, x2 - MIN_SIDE);
  if (handle.includes("e")) x2 = Math.max(px, x1 + MIN_SIDE);
  if (handle.includes("n")) y1 = Math.min(py, y2 - MIN_SIDE);
  if (handle.includes("s")) y2 = Math.max(py, y1 + MIN_SIDE);
  return { ...box, x: x1, y: y1, w: x2 - x1, h: y2 - y1 };
}

/** Reading order, so that Tab goes over a part as an eye does. */
export function readingOrder(boxes) {
  return boxes.map((box, i) => [i, Math.round((box.y + box.h / 2) / 48), box.x])
    .sort((a, b) => a[1] - b[1] || a[2] - b[2]).map((entry) => entry[0]);
}

/** A box whose right and lower edge moved, inside the picture. */
export function stretched(box, dw, dh, width, height) {
  return { ...box, w: clamp(box.w + dw, MIN_SIDE, width - box.x), h: clamp(box.h + dh, MIN_SIDE, height - box.y) };
}

/** A box to begin with, about the pointer: as large as its like in the picture, else an eighth of it. */
export function ghostBox(boxes, category, pointer, width, height) {
  const like = boxes.find((box) => box.category === category);
  const w = like ? like.w : width / 8, h = like ? like.h : height / 8;
  const at = pointer || { x: width / 2, y: height / 2 };
  return { x: clamp(at.x - w / 2, 0, width - w), y: clamp(at.y - h / 2, 0, height - h), w, h };
}
