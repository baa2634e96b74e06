// Keeps a card per model, as the server tells of them. Everything that comes from a cluster is set as text, never as HTML.

import { interval, pp, replicas } from "./chart.js";

const SHOWN = 200, REDRAW_MS = 5000;
const models = new Map(), cards = new Map();
const page = Object.fromEntries(["models", "none", "more", "totals", "find", "link"].map((id) => [id, document.getElementById(id)]));

function element(kind, className, ...content) {
  const made = document.createElement(kind);
  if (className) made.className = className;
  made.append(...content.filter((part) => part !== null && part !== undefined));
  return made;
}

function bytes(count) {
  const units = ["B", "KiB", "MiB", "GiB"];
  let unit = 0;
  for (; count >= 1024 && unit < units.length - 1; unit++) count /= 1024;
  return `${count.toFixed(unit ? 1 : 0)} ${units[unit]}`;
}

function times(before, after) {
  return after > 0 ? `${(before / after).toFixed(1)}×` : "";
}

function facts(model) {
  const list = element("dl");
  const add = (label, ...content) => list.append(element("dt", "", label), element("dd", "", ...content));
  if (model.compression) add("recipe", model.compression);
  if (model.size) add("size", `${bytes(model.size.before)} → ${bytes(model.size.after)} (${times(model.size.before, model.size.after)} smaller)`);
  if (model.latency) add("inference", `${model.latency.before} → ${model.latency.after} ms (${times(model.latency.before, model.latency.after)} as fast)`);
  const proof = model.guardrail;
  if (proof) {
    const tone = proof.verdict === "Passed" ? "good" : "bad";
    add("guardrail", element("span", tone, proof.verdict), `: ${proof.metric} ${proof.drop < 0 ? "rose" : "fell"} ${pp(Math.abs(proof.drop))}, n=${proof.samples.toLocaleString("en")}`);
  }
  if (model.replicas) {
    const { ready = 0, desired = 0, onDemand = 0, spot = 0 } = model.replicas;
    add("replicas", `${ready} of ${desired}: ${onDemand} on demand, ${spot} on spot`);
  }
  if (model.cost) {
    const { perHour, allOnDemandPerHour, currency } = model.cost;
    const saved = allOnDemandPerHour > 0 ? `, ${Math.round(100 * (1 - perHour / allOnDemandPerHour))} % below all on demand` : "";
    add("cost", `${perHour.toFixed(3)} ${currency}/h${saved}`);
  }
  if (model.url) add("url", element("small", "", `${model.url}/v2/models/${model.name}/infer`));
  return list;
}

function run(model) {
  if (!model.run) return null;
  const bar = element("progress");
  bar.max = 100;
  bar.value = model.run.percent;
  const left = model.run.remainingSeconds === null ? "" : `, about ${model.run.remainingSeconds} s left`;
  return element("div", "", element("small", "", `${model.run.step ?? model.run.phase}, ${model.run.percent} %${left}`), bar);
}

function traffic(model) {
  if ((model.traffic ?? []).length < 2) return null;
  const bar = element("div", "shares");
  for (const share of model.traffic) {
    const part = element("div", "", `${share.revision} ${share.weight} %`);
    part.style.width = `${share.weight}%`;
    part.title = part.textContent;
    bar.append(part);
  }
  const rollout = model.rollout;
  const step = rollout?.steps ? `canary step ${(rollout.stepsPassed ?? 0) + 1} of ${rollout.steps}. ${rollout.analysis ?? ""}` : "";
  return element("div", "", bar, step ? element("small", "", step) : null);
}

function capacity(model) {
  if (!model.replicas) return null;
  const legend = element("div", "legend");
  for (const [kind, text] of [["on-demand", "on demand"], ["spot", "spot"], ["desired", "wanted"]]) legend.append(element("span", kind, text));
  return element("div", "", replicas(model.history, Date.now() / 1000), legend);
}

function decisions(model) {
  if (!(model.decisions ?? []).length) return null;
  const list = element("ol");
  for (const decision of model.decisions) list.append(element("li", "", element("small", "", new Date(decision.time).toLocaleTimeString()), ` ${decision.message}`));
  return element("details", "", element("summary", "", `why: ${model.decisions[0].message}`), list);
}

function draw(model) {
  const report = element("a", "", "report");
  report.href = `/reports/${encodeURIComponent(model.namespace)}/${encodeURIComponent(model.name)}`;
  report.target = "_blank";
  report.rel = "noopener";
  const made = element(
    "article", "",
    element("div", "head",
      element("div", "", element("h2", "", model.name), element("small", "place", `${model.namespace} · `, report)),
      element("span", `pill ${model.tone}`, model.status)),
    model.message ? element("p", "message", model.message) : null,
    run(model), facts(model), model.guardrail ? interval(model.guardrail) : null, traffic(model), capacity(model), decisions(model),
  );
  made.dataset.key = model.key;
  return made;
}

function matches(model) {
  const text = `${model.key} ${model.status}`.toLowerCase();
  return page.find.value.toLowerCase().split(/\s+/).every((word) => text.includes(word));
}

function replace(key) {
  const old = cards.get(key), open = old?.querySelector("details")?.open;
  const made = draw(models.get(key));
  if (open) made.querySelector("details")?.setAttribute("open", "");
  old?.replaceWith(made);
  cards.set(key, made);
  return made;
}

// Cards are put in order when the list changes; a model that only changed is drawn anew where it is.
function arrange() {
  const found = [...models.values()].filter(matches).sort((a, b) => (a.key < b.key ? -1 : 1));
  const shown = found.slice(0, SHOWN);
  cards.clear();
  page.models.replaceChildren(...shown.map((model) => replace(model.key)));
  page.none.hidden = models.size > 0;
  page.more.hidden = found.length <= SHOWN;
  page.more.textContent = `${found.length - SHOWN} more: search for a name`;
}

function total() {
  const all = [...models.values()];
  const bad = all.filter((model) => model.tone === "bad").length;
  const costs = new Map();
  for (const { cost } of all) {
    if (!cost) continue;
    const sum = costs.get(cost.currency) ?? [0, 0];
    costs.set(cost.currency, [sum[0] + cost.perHour, sum[1] + cost.allOnDemandPerHour]);
  }
  const money = [...costs].map(([currency, [now, alternative]]) => `${now.toFixed(2)} ${currency}/h, ${(alternative - now).toFixed(2)} ${currency}/h saved`);
  page.totals.textContent = [`${all.length} model${all.length === 1 ? "" : "s"}`, bad ? `${bad} stalled` : null, ...money].filter(Boolean).join(" · ");
}

let waiting = false;
const changed = new Set();
let rearrange = true;

function soon() {
  if (waiting) return;
  waiting = true;
  requestAnimationFrame(() => {
    waiting = false;
    if (rearrange) arrange();
    else for (const key of changed) if (cards.has(key)) replace(key);
    rearrange = false;
    changed.clear();
    total();
  });
}

function connect() {
  const stream = new EventSource("/api/changes");
  stream.addEventListener("open", () => {
    // What was deleted while there was no connection is not told again.
    models.clear();
    rearrange = true;
    link("live", "good");
    soon();
  });
  stream.addEventListener("error", () => {
    link("connecting", "busy");
    // Lost connections are made again by the browser; refusals are not.
    if (stream.readyState === EventSource.CLOSED) setTimeout(connect, REDRAW_MS);
  });
  stream.addEventListener("model", (event) => {
    const model = JSON.parse(event.data), old = models.get(model.key);
    models.set(model.key, model);
    changed.add(model.key);
    rearrange ||= !old || matches(old) !== matches(model);
    soon();
  });
  stream.addEventListener("gone", (event) => {
    rearrange = models.delete(JSON.parse(event.data)) || rearrange;
    soon();
  });
}

function link(text, tone) {
  page.link.textContent = text;
  page.link.className = `pill ${tone}`;
}

page.find.addEventListener("input", () => {
  rearrange = true;
  soon();
});
// Time passes in the charts, too.
setInterval(() => {
  for (const [key, model] of models) if (model.replicas) changed.add(key);
  soon();
}, REDRAW_MS);
connect();
