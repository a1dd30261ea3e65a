// The page of a case: loads itself anew when its case changes.

import { follow, onKey, openHelp, refresher } from "/static/js/live.js";

const element = () => document.getElementById("case");
const refresh = refresher(element);

follow(
  (id) => { if (id === element().dataset.case) refresh(); },
  () => refresh(),
);

onKey({ u: () => { location.href = "/"; }, "?": openHelp });
