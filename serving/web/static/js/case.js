// The page of a case: loads itself anew when its case changes.

import { follow, onKey, openHelp, refresher } from "/static/js/live.js";

const element = () => document.getElementById("case");
const refresh = refresher(element);

follow(
  (id) => { if (id === element().dataset.case) refresh(); },
  () => refresh(),
);

// Back to the list as it was left: what was searched there stands in no address.
function back() {
  const from = document.referrer && new URL(document.referrer);
  const isOfList = from && from.origin === location.origin && ["/", "/worklist"].includes(from.pathname);
  if (isOfList && history.length > 1) history.back();
  else location.href = "/";
}

document.addEventListener("click", (event) => {
  if (!event.target.closest("#back") || event.ctrlKey || event.metaKey || event.shiftKey) return;
  event.preventDefault();
  back();
});

onKey({ u: back, "?": openHelp });
