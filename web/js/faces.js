// Which faces Face VCD followed through a clip, and how they looked before and after.

import { addPanel, after, element, note } from "./panel.js";
import { words } from "./words.js";

const [TRACK, SCRUBBER, PAIR, REPORT, LINE] = [22, 28, 150, 70, 22]; // pixels
const SHOWN = 6; // tracks; the others scroll

/** Face VCD's panel; there is none until it has run. */
export function showFaces(node) {
  let panel;
  after(node, "onExecuted", (output) => {
    const clip = output?.vcd_faces?.[0];
    if (!(clip?.frames > 0) || !Array.isArray(clip.faces)) return;
    panel ??= addPanel(node, "vcd_faces", words("Faces over the clip"));
    panel.fit(fill(panel.root, clip, output.text?.[0] ?? ""));
  });
}

function fill(root, clip, report) {
  const text = element("p", { class: "vcd-report", tabindex: 0 }, report);
  text.style.height = `${REPORT - 6}px`;
  if (!clip.faces.length) {
    root.replaceChildren(note(words("no face to draw anew")), text);
    return REPORT + LINE + 8;
  }
  const bars = clip.faces.map((face) => track(face, clip));
  const tracks = element("div", { class: "vcd-tracks" }, ...bars);
  const pair = element("div", { class: "vcd-pair" });
  const scrubber = element("input", { type: "range", min: 0, max: clip.frames - 1, value: 0, "aria-label": words("Frame") });
  let chosen = 0;

  function show() {
    const face = clip.faces[chosen];
    const frame = Number(scrubber.value);
    const nearest = [...(face.pairs ?? [])].sort((a, b) => Math.abs(a.frame - frame) - Math.abs(b.frame - frame))[0];
    tracks.style.setProperty("--at", `${(100 * (frame + 0.5)) / clip.frames}%`);
    bars.forEach((bar, number) => bar.setAttribute("aria-pressed", String(number === chosen)));
    pair.replaceChildren(...(nearest ? beforeAndAfter(nearest) : []));
  }

  bars.forEach((bar, number) =>
    bar.addEventListener("click", (event) => {
      chosen = number;
      // A click of the mouse says when, too; one of the keyboard does not.
      const box = bar.getBoundingClientRect();
      const clicked = Math.floor((clip.frames * (event.clientX - box.left)) / box.width);
      scrubber.value = event.detail ? clicked : clip.faces[number].span[0];
      show();
    }),
  );
  scrubber.addEventListener("input", show);
  scrubber.value = clip.faces[0].pairs?.[0]?.frame ?? clip.faces[0].span[0];
  root.replaceChildren(tracks, scrubber, pair, text);
  const height = Math.min(SHOWN, bars.length) * TRACK;
  tracks.style.height = `${height}px`;
  const drawn = clip.faces.some((face) => face.pairs?.length);
  pair.style.height = drawn ? `${PAIR - 6}px` : "0";
  show();
  return height + SCRUBBER + (drawn ? PAIR : 0) + REPORT + 10;
}

/** A face's bar: pale while it is followed, strong where it was found; lines where the clip is cut. */
function track({ name, pixels, span, seen }, { frames, cuts }) {
  const label = words("face at {0}, {1} pixels", name, pixels);
  const bar = element("button", { type: "button", class: "vcd-track", title: label, "aria-label": label });
  const piece = ([start, end], kind) => {
    const made = element("span", { class: kind });
    made.style.left = `${(100 * start) / frames}%`;
    made.style.width = `${(100 * (end - start)) / frames}%`;
    return made;
  };
  bar.append(piece(span, "vcd-span"), ...seen.map((part) => piece(part, "vcd-seen")));
  bar.append(...cuts.map((cut) => piece([cut, cut], "vcd-cut")));
  return bar;
}

function beforeAndAfter({ frame, before, after: drawn }) {
  const label = words("frame {0}: before, after", frame);
  return [[before, words("before")], [drawn, words("after")]]
    .filter(([url]) => typeof url === "string" && url.startsWith("data:image/jpeg;base64,"))
    .map(([url, which]) => {
      const picture = element("img", { src: url, alt: `${label}: ${which}` });
      return element("figure", { title: label }, picture, element("figcaption", {}, `${which} · ${frame}`));
    });
}
