// What the pages share: load anew when something changed, say when the stream is lost, keys.

import { listen } from "/static/js/stream.js";

// Soon after an event, and not more often than this while they keep coming.
// All open pages hear of it at once and must not all ask at once: each adds a wait of its own.
// The longest wait, 0.6 s, leaves time to hear of it and to be answered within a second.
const SOON_MS = 50;
const SOON_SPREAD_MS = 200;
const APART_MS = 400;
const APART_SPREAD_MS = 200;
const AGAIN_MS = 2000;
const KEYS = "firstread-keys";

// Returns a function that loads `element` anew: soon, once for many calls, later in a hidden tab.
export function refresher(element) {
  let timer = null;
  let lastAt = -APART_MS;
  let isWanted = false;
  const run = () => {
    timer = null;
    if (document.hidden) return;
    isWanted = false;
    lastAt = performance.now();
    htmx.trigger(element(), "refresh");
  };
  const ask = (delay = SOON_MS + Math.random() * SOON_SPREAD_MS) => {
    isWanted = true;
    const apart = APART_MS + Math.random() * APART_SPREAD_MS;
    const wait = Math.max(delay, lastAt + apart - performance.now());
    if (timer === null) timer = setTimeout(run, wait);
  };
  document.addEventListener("visibilitychange", () => { if (!document.hidden && isWanted) ask(); });
  const failed = (event) => {
    // Logged out: the whole page leads to the log-in.
    if (event.detail.xhr && event.detail.xhr.status === 401) location.reload();
    else { show("unloaded", true); ask(AGAIN_MS); }
  };
  document.addEventListener("htmx:responseError", failed);
  document.addEventListener("htmx:sendError", failed);
  document.addEventListener("htmx:afterSwap", () => show("unloaded", false));
  return ask;
}

export function follow(onCase, onReload) {
  const { after, pingMs } = document.body.dataset;
  listen({
    after: Number(after),
    pingMs: Number(pingMs),
    onCase,
    onReload,
    onLive(isLive) {
      show("stale", !isLive);
      const sign = document.getElementById("live");
      sign.classList.toggle("stale", !isLive);
      sign.textContent = isLive ? sign.dataset.live : sign.dataset.stale;
      document.body.dataset.live = isLive;
    },
  });
  document.body.dataset.live = true;
}

function show(id, is) {
  const banner = document.getElementById(id);
  if (banner) banner.hidden = !is;
}

// Single keys, unless somebody writes, or switched them off (WCAG 2.1.4).
export function onKey(keys) {
  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.altKey || event.metaKey || event.isComposing) return;
    const isWriting = event.target.closest("input, select, textarea, [contenteditable]");
    if (isWriting) {
      if (event.key === "Escape") event.target.blur();
      return;
    }
    if (document.querySelector("dialog[open]") || localStorage.getItem(KEYS) === "off") return;
    const act = keys[event.key];
    if (act && act() !== false) event.preventDefault();
  });
}

const help = document.getElementById("help");
export const openHelp = () => help.showModal();
document.getElementById("open-help").addEventListener("click", openHelp);
const single = document.getElementById("single-keys");
single.checked = localStorage.getItem(KEYS) !== "off";
single.addEventListener("change", () => localStorage.setItem(KEYS, single.checked ? "on" : "off"));
