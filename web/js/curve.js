// A curve in the colours of the page.

const SVG = "http://www.w3.org/2000/svg";
const [WIDTH, HEIGHT, MARGIN] = [300, 70, 3];

function line(values, low, high, kind) {
  const across = (at) => MARGIN + (at / Math.max(1, values.length - 1)) * (WIDTH - 2 * MARGIN);
  const down = (value) => MARGIN + ((high - value) / (high - low || 1)) * (HEIGHT - 2 * MARGIN);
  const drawn = document.createElementNS(SVG, "polyline");
  drawn.setAttribute("points", values.map((value, at) => `${across(at).toFixed(1)},${down(value).toFixed(1)}`).join(" "));
  drawn.setAttribute("class", kind);
  return drawn;
}

/** Each value with its neighbours before it, a tenth of all. */
function smooth(values) {
  const window = Math.max(1, Math.floor(values.length / 10));
  return values.map((_, at) => {
    const part = values.slice(Math.max(0, at - window + 1), at + 1);
    return part.reduce((sum, value) => sum + value, 0) / part.length;
  });
}

/** An SVG of numbers from left to right: every one pale, their running mean strong. */
export function drawCurve(values, label) {
  const svg = document.createElementNS(SVG, "svg");
  svg.setAttribute("viewBox", `0 0 ${WIDTH} ${HEIGHT}`);
  svg.setAttribute("preserveAspectRatio", "none");
  svg.setAttribute("class", "vcd-curve");
  svg.setAttribute("role", "img");
  svg.setAttribute("aria-label", label);
  const finite = values.filter(Number.isFinite);
  if (finite.length > 1) {
    const [low, high] = [Math.min(...finite), Math.max(...finite)];
    svg.append(line(finite, low, high, "vcd-each"), line(smooth(finite), low, high, "vcd-mean"));
  }
  return svg;
}
