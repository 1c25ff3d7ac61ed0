// Workflows that an older version of the pack saved. A page keeps the values of a node's widgets by their order, so that
// an input which came between two others would push the later ones into each other's places. The names that a workflow
// keeps beside them tell whose they are.

const WIDGETS = new Set(["INT", "FLOAT", "STRING", "BOOLEAN", "COMBO"]);
const SEEDS = new Set(["seed", "noise_seed"]);
const CONTROLS = new Set(["fixed", "increment", "decrement", "randomize"]);
const known = new Map(); // class of nodes -> [name, default] of each value, in order

/** Takes note of a node's widgets, as the server describes them. */
export function rememberWidgets({ name, input }) {
  const values = [];
  for (const [key, [type, options = {}]] of Object.entries({ ...input?.required, ...input?.optional })) {
    const choices = Array.isArray(type) ? type : options.options;
    if (options.forceInput || !(WIDGETS.has(type) || Array.isArray(type))) continue;
    values.push([key, options.default ?? choices?.[0] ?? { STRING: "", BOOLEAN: false }[type] ?? 0]);
    if (type === "INT" && (options.control_after_generate ?? SEEDS.has(key))) values.push([control(key), "fixed"]);
  }
  known.set(name, values);
}

/** Puts the values of a workflow's nodes where they belong now; what did not exist then has its default. */
export function putInPlace(workflow) {
  const inside = workflow?.definitions?.subgraphs ?? [];
  for (const node of [workflow, ...inside].flatMap((graph) => graph?.nodes ?? [])) {
    const now = known.get(node.type);
    const then = now && savedValues(node);
    if (!then || [...then.keys()].every((key, at) => key === now[at]?.[0])) continue;
    node.widgets_values = now.map(([key, unset]) => (then.has(key) ? then.get(key) : unset));
  }
}

/** The values by name, in the order in which they were saved; null where that is not certain. */
function savedValues({ inputs, widgets_values: values }) {
  const names = (inputs ?? []).filter((input) => input.widget).map((input) => input.widget.name);
  if (!Array.isArray(values) || !names.length) return null;
  const saved = new Map();
  let at = 0;
  for (const name of names) {
    saved.set(name, values[at++]);
    if (SEEDS.has(name) && CONTROLS.has(values[at])) saved.set(control(name), values[at++]);
  }
  return at === values.length ? saved : null;
}

/** Under what name the value behind a seed is known, which says what becomes of it after a run. */
function control(seed) {
  return `${seed} after a run`;
}
