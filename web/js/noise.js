// What gamma does: how much any two frames of the noise have in common, and what such frames look like.

import { addPanel, after, element, note } from "./panel.js";
import { words } from "./words.js";

const FRAMES = 16;
const SHOWN = 8; // frames of noise
const SIDE = 10; // values of each, a side
const HEIGHT = 108;

/** gamma^|i-j| for every two frames, row by row. */
export function covariance(gamma, frames = FRAMES) {
  return Array.from({ length: frames * frames }, (_, at) => gamma ** Math.abs(Math.floor(at / frames) - (at % frames)));
}

/** Normal numbers, the same ones every time. */
function* normals() {
  let state = 1;
  const uniform = () => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return (state + 0.5) / 2 ** 32;
  };
  for (;;) yield Math.sqrt(-2 * Math.log(uniform())) * Math.cos(2 * Math.PI * uniform());
}

/** Frames of noise, each repeating gamma of the one before; neighbours share it as the node's own do. */
export function noiseFrames(gamma, frames = SHOWN, pixels = SIDE * SIDE) {
  const draw = normals();
  const rest = Math.sqrt(1 - gamma * gamma);
  const made = [];
  for (let frame = 0; frame < frames; frame++) {
    const before = made[frame - 1];
    made.push(Float32Array.from({ length: pixels }, (_, at) => {
      const fresh = draw.next().value;
      return before ? gamma * before[at] + rest * fresh : fresh;
    }));
  }
  return made;
}

/** Sets every pixel of a canvas to the [red, green, blue, alpha] of its place. */
function paint(canvas, width, height, colour) {
  canvas.width = width;
  canvas.height = height;
  const context = canvas.getContext("2d");
  const image = context.createImageData(width, height);
  for (let at = 0; at < width * height; at++) image.data.set(colour(at % width, Math.floor(at / width)), 4 * at);
  context.putImageData(image, 0, 0);
}

function paintMatrix(canvas, gamma) {
  const values = covariance(gamma);
  const [low, high] = [[28, 40, 66, 255], [255, 206, 92, 255]];
  paint(canvas, FRAMES, FRAMES, (x, y) => low.map((value, at) => value + values[y * FRAMES + x] * (high[at] - value)));
}

function paintStrip(canvas, gamma) {
  const frames = noiseFrames(gamma);
  const [columns, pitch] = [SHOWN / 2, SIDE + 1];
  paint(canvas, columns * pitch - 1, 2 * pitch - 1, (x, y) => {
    const [left, top] = [x % pitch, y % pitch];
    if (left === SIDE || top === SIDE) return [0, 0, 0, 0]; // between two frames
    const grey = 128 + 55 * frames[Math.floor(y / pitch) * columns + Math.floor(x / pitch)][top * SIDE + left];
    return [grey, grey, grey, 255];
  });
}

/** The panel of a node with a widget "gamma". */
export function showNoise(node) {
  const gamma = node.widgets?.find((widget) => widget.name === "gamma");
  if (!gamma) return;
  const { root, fit } = addPanel(node, "vcd_noise", words("What gamma does to the noise"));
  const matrix = element("canvas", { class: "vcd-pixels vcd-matrix", role: "img" });
  const strip = element("canvas", { class: "vcd-pixels vcd-strip", role: "img" });
  const caption = note("");
  root.append(element("div", { class: "vcd-row" }, matrix, strip), caption);
  fit(HEIGHT);

  let drawn;
  function redraw() {
    const value = Math.min(1, Math.max(0, Number(gamma.value) || 0));
    const linked = node.inputs?.some((input) => input.widget?.name === "gamma" && input.link != null);
    if (drawn === `${value} ${linked}`) return;
    drawn = `${value} ${linked}`;
    paintMatrix(matrix, value);
    paintStrip(strip, value);
    root.classList.toggle("vcd-dim", Boolean(linked));
    caption.textContent = linked
      ? words("gamma comes from another node")
      : words("next frame {0}, after four {1}", percent(value), percent(value ** 4));
    for (const [canvas, label] of [
      [matrix, words("How much two of 16 frames have in common")],
      [strip, words("Noise of eight frames in a row")],
    ]) {
      canvas.title = label;
      canvas.setAttribute("aria-label", `${label}: gamma ${value}`);
    }
  }

  after(gamma, "callback", redraw);
  // Workflows, links and the page's own memory of widgets change the value without a call.
  for (const event of ["onConfigure", "onConnectionsChange", "onAdded", "onDrawForeground"]) after(node, event, redraw);
  redraw();
}

function percent(share) {
  return `${(100 * share).toLocaleString(undefined, { maximumSignificantDigits: 2 })} %`;
}
