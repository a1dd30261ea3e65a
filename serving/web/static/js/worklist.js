// The list: fresh rows that leave the reader's place alone, and keys to walk through them.

import { follow, onKey, openHelp, refresher } from "/static/js/live.js";

const form = document.getElementById("filters");
const search = document.getElementById("search");
const list = () => document.getElementById("worklist");
const rows = () => [...document.querySelectorAll("#worklist tr[data-case]")];
const link = (row) => row.querySelector("a");
const refresh = refresher(() => form);

follow(() => refresh(), () => refresh());

// --- requests: where the list stands, and what was searched, which is in no address ---

form.addEventListener("htmx:configRequest", (event) => {
  const cause = event.detail.triggeringEvent;
  // htmx does not see buttons that stand outside of their form.
  const button = cause && cause.submitter;
  if (button && button.name) event.detail.parameters[button.name] = button.value;
  if (cause && cause.type === "refresh") {
    const { after, before } = list().dataset;
    if (after) event.detail.parameters.after = after;
    if (before) event.detail.parameters.before = before;
    event.detail.parameters.refresh = "yes";
  }
});

const remember = () => history.replaceState({ ...history.state, search: search.value }, "");
document.addEventListener("htmx:afterSettle", remember);
if (history.state && history.state.search) {
  search.value = history.state.search;
  refresh();
}

// --- rows: what changed flashes, what is under the cursor stays ---

let known = new Map();
let kept = null;

document.addEventListener("htmx:beforeSwap", (event) => {
  if (event.target !== list() && event.detail.target !== list()) return;
  known = new Map(rows().map((row) => [row.id, row.dataset.version]));
  const current = document.activeElement.closest("tr[data-case]");
  kept = current && { row: current, place: rows().indexOf(current), x: scrollX, y: scrollY };
});

document.addEventListener("htmx:afterSwap", (event) => {
  if (event.detail.target.id !== "worklist" && event.target.id !== "worklist") return;
  if (event.detail.requestConfig.parameters.refresh !== "yes") return;
  for (const row of rows()) row.classList.toggle("changed", known.get(row.id) !== row.dataset.version);
  if (!kept) return;
  if (!document.getElementById(kept.row.id)) {
    const all = rows();
    const body = document.querySelector("#worklist tbody");
    if (body) body.insertBefore(kept.row, all[kept.place] || null);
    kept.row.classList.add("gone");
  }
  const row = document.getElementById(kept.row.id);
  if (row) link(row).focus({ preventScroll: true });
  scrollTo(kept.x, kept.y);
});

// --- keys and clicks ---

function move(step) {
  const all = rows();
  if (!all.length) return false;
  const now = all.indexOf(document.activeElement.closest("tr[data-case]"));
  const next = now < 0 ? (step > 0 ? 0 : all.length - 1) : Math.min(Math.max(now + step, 0), all.length - 1);
  link(all[next]).focus();
  all[next].scrollIntoView({ block: "nearest" });
}

onKey({
  j: () => move(1),
  k: () => move(-1),
  "/": () => { search.focus(); search.select(); },
  "?": openHelp,
});

document.addEventListener("click", (event) => {
  const row = event.target.closest("#worklist tr[data-case]");
  if (!row || event.target.closest("a, button") || getSelection().toString()) return;
  link(row).click();
});
