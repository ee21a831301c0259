// The operators' page. Everything shown comes from the API; texts are set as text, never as markup.
import { WORDS } from "/ops/static/words.js";

const at = (id) => document.getElementById(id);
const BACKENDS_EVERY = 5000; // milliseconds between two looks at the backends
const FOLDER_EVERY = 2000; // and at the folder, in manual mode
const VERBS = { downloading: ["pause", "cancel"], queued: ["pause", "cancel"], paused: ["resume", "cancel"],
  failed: ["retry"], completed: [] };

let language = new URLSearchParams(location.search).get("lang") === "fr" ? "fr" : "en";
let backends = [];
const files = new Map(); // by model: the last event and its row
let watching = null;
let verifying = new Set();

const t = (key) => WORDS[language][key] ?? WORDS.en[key] ?? key;

function make(tag, text = "", options = {}) {
  const found = document.createElement(tag);
  found.textContent = text;
  return Object.assign(found, options);
}

function bytes(count) {
  if (count === null || count === undefined) return "?";
  const units = ["B", "KiB", "MiB", "GiB", "TiB"];
  let unit = 0;
  while (count >= 1024 && unit < 4) { count /= 1024; unit += 1; }
  return `${unit ? count.toFixed(1) : count} ${units[unit]}`;
}

function span(seconds) {
  if (seconds === null || seconds === undefined) return "";
  const whole = Math.round(seconds);
  const parts = [Math.floor(whole / 3600), Math.floor(whole / 60) % 60, whole % 60];
  return parts.map((part) => String(part).padStart(2, "0")).join(":");
}

async function ask(path, body) {
  const options = body === undefined ? {} : {
    method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify(body) };
  const answer = await fetch(path, { credentials: "same-origin", ...options });
  if (answer.status === 401) { location.href = `/auth/login?next=${encodeURIComponent(location.pathname)}`; }
  const data = await answer.json().catch(() => ({}));
  if (!answer.ok) {
    const error = data.error ?? { message: `HTTP ${answer.status}` };
    throw new Error([error.message, error.hint].filter(Boolean).join(" "));
  }
  return data;
}

function trouble(error) {
  at("problem").textContent = error ? error.message : "";
  at("problem").hidden = !error;
}

/** Run the work of a button: it cannot be pressed twice, and what goes wrong is shown. */
function button(element, work) {
  element.addEventListener("click", async () => {
    element.disabled = true;
    trouble(null);
    try { await work(); } catch (error) { trouble(error); } finally { element.disabled = false; }
  });
}

function chosen() {
  const group = at("group").value.trim();
  return { groups: group ? [group] : [], include_optional: at("optional").checked };
}

// Backends

function card(item) {
  const box = make("article", "", { className: "card" });
  box.dataset.state = item.state;
  box.append(make("h3", item.url));
  const facts = make("dl");
  const fact = (name, value) => facts.append(make("dt", t(name)), make("dd", value));
  fact("state", t(item.state) + (item.why ? `: ${item.why}` : ""));
  const known = item.fleet; // what the queue knows of it; null where no jobs are kept
  if (known) {
    box.dataset.fleet = known.state;
    fact("takesJobs", t(`f_${known.state}`) + (known.reason ? `: ${known.reason}` : ""));
    if (known.job) fact("job", known.job);
    if (known.loaded.length) fact("loaded", known.loaded.join(", "));
    if (known.tags.length) fact("tags", known.tags.join(", "));
  }
  if (item.version) fact("version", item.version);
  for (const device of item.devices ?? []) {
    fact("device", device.name);
    fact("vram", `${bytes(device.vram_free)} / ${bytes(device.vram_total)}`);
  }
  if (item.running !== null) fact("queue", `${item.running} ${t("running")}, ${item.waiting} ${t("waiting")}`);
  if (item.latency_ms !== null) fact("answered", `${item.latency_ms} ms`);
  fact("lastSeen", item.last_seen ? new Date(item.last_seen * 1000).toLocaleTimeString(language) : t("never"));
  const look = make("button", t("checkBackend"), { type: "button" });
  button(look, async () => merge((await ask("/ops/backends/check", { url: item.url })).backends));
  box.append(facts, look);
  return box;
}

function merge(found) {
  backends = backends.map((item) => found.find((other) => other.url === item.url) ?? item);
  at("backends").replaceChildren(...backends.map(card));
}

async function lookAtBackends() {
  if (document.hidden) return;
  try {
    backends = (await ask("/ops/backends")).backends;
    merge([]);
  } catch (error) { trouble(error); }
}

// Models

function row(cells, className = "") {
  const found = make("tr", "", { className });
  found.append(...cells.map((cell) => cell instanceof Node ? cell : make("td", cell)));
  return found;
}

function showModels(data) {
  const rows = data.models.map((item) => {
    const state = item.state === "missing" && !item.required ? "optional" : item.state;
    const words = t(`s_${state}`) + (item.why ? `: ${item.why}` : "");
    return row([item.model, make("td", words, { className: item.bad ? "bad" : state === "optional" ? "" : "good" }),
      bytes(item.size ?? item.expected_size), item.path]);
  });
  at("models").querySelector("tbody").replaceChildren(...rows);
  at("models").hidden = false;
  const bad = data.models.filter((item) => item.bad).length;
  at("summary").textContent = bad ? `${bad} ${t("problems")} (${data.root})` : `${t("allThere")} (${data.root})`;
}

function showPlan(plan) {
  const unknown = plan.unknown_sizes ? ` + ${plan.unknown_sizes} ${t("unknownSize")}` : "";
  const parts = [plan.fetch.length ? `${plan.fetch.length} ${t("toFetch")}, ${bytes(plan.bytes)}${unknown}` : t("nothing")];
  for (const item of plan.blocked) parts.push(`${item.model} ${t("blocked")}: ${item.message} ${item.hint}`);
  at("summary").textContent = parts.join(" — ");
  at("models").querySelector("tbody").replaceChildren(...plan.fetch.map((item) =>
    row([item.model, t("toFetch"), bytes(item.size), item.target])));
  at("models").hidden = !plan.fetch.length;
}

async function check() {
  const query = new URLSearchParams({ include_optional: at("optional").checked });
  for (const group of chosen().groups) query.append("group", group);
  showModels(await ask(`/ops/models/check?${query}`));
}

// Downloads

function showFile(item) {
  at("downloads-section").hidden = false;
  let known = files.get(item.model);
  if (!known) {
    known = { row: make("tr") };
    files.set(item.model, known);
    at("downloads").append(known.row);
  }
  const before = known.item;
  known.item = item;
  const state = make("td", t(`s_${item.status}`) + (item.errorMessage ? `: ${item.errorMessage}` : ""));
  state.className = item.status === "failed" ? "bad" : item.status === "completed" ? "good" : "";
  const bar = make("progress", "", { max: 100 });
  if (item.percent !== null) bar.value = item.percent;
  const amount = make("td");
  amount.append(bar, ` ${item.percent === null ? "" : `${item.percent.toFixed(1)} %`} ${bytes(item.downloadedBytes)}`);
  const cells = [make("td", item.model), state, amount,
    make("td", item.status === "downloading" ? `${item.speedMbps.toFixed(1)} MB/s` : ""), make("td", span(item.etaSeconds))];
  if (before && before.status === item.status && before.language === language) {
    [...known.row.children].slice(0, 5).forEach((old, index) => old.replaceWith(cells[index]));
  } else {
    known.row.replaceChildren(...cells, actions(item)); // the buttons stay in place while only figures move
  }
  known.item.language = language;
  known.row.dataset.status = item.status;
}

function actions(item) {
  const cell = make("td");
  for (const verb of VERBS[item.status] ?? []) {
    const press = make("button", t(verb), { type: "button" });
    button(press, () => steer(verb, item.model));
    cell.append(press, " ");
  }
  if (item.status === "failed") {
    const press = make("button", t("viaManager"), { type: "button" });
    button(press, () => byManager({ models: [item.model] }));
    cell.append(press);
  }
  return cell;
}

async function steer(verb, model = null) {
  for (const item of (await ask(`/ops/models/downloads/${verb}`, { model })).downloads) showFile(item);
}

function listen() {
  const source = new EventSource("/ops/models/events");
  source.addEventListener("download", (event) => showFile(JSON.parse(event.data)));
  source.addEventListener("open", () => trouble(null));
  source.addEventListener("error", () => {
    if (source.readyState === EventSource.CLOSED) setTimeout(listen, 5000);
    else trouble(new Error(t("lost")));
  });
}

// By hand

function step(item) {
  const found = make("li");
  const state = item.state === "verified" ? t("verified") : item.arrived ? t("arrived") : t("awaited");
  found.append(make("strong", item.model), ` (${bytes(item.size)}) `,
    make("span", state + (item.why && item.present ? `: ${item.why}` : ""), { className: item.arrived ? "good" : "warn" }));
  const list = make("ul");
  for (const url of item.urls) {
    const line = make("li");
    line.append(/^https?:/.test(url) ? make("a", url, { href: url, target: "_blank", rel: "noopener noreferrer" }) : url);
    list.append(line);
  }
  if (item.page && /^https?:/.test(item.page)) {
    const line = make("li", `${t("page")}: `);
    line.append(make("a", item.page, { href: item.page, target: "_blank", rel: "noopener noreferrer" }));
    list.append(line);
  }
  const place = make("p", `${t("saveAs")} `);
  place.append(make("code", item.path));
  found.append(list, place);
  return found;
}

async function lookAtFolder(wanted) {
  const { steps } = await ask("/ops/models/manual", wanted);
  at("steps").replaceChildren(...steps.map(step));
  const come = steps.filter((item) => item.arrived && item.state === "present" && !verifying.has(item.model));
  for (const item of come) verifying.add(item.model);
  if (come.length) await ask("/ops/models/verify", { models: come.map((item) => item.model) });
  if (steps.every((item) => item.state === "verified" || (item.arrived && verifying.has(item.model)))) {
    if (!come.length) stopWatching();
    await check();
  }
}

function stopWatching() {
  clearInterval(watching);
  watching = null;
}

async function byHand() {
  stopWatching();
  verifying = new Set();
  const wanted = chosen();
  at("manual-section").hidden = false;
  await lookAtFolder(wanted);
  watching = setInterval(() => lookAtFolder(wanted).catch(trouble), FOLDER_EVERY);
}

// ComfyUI-Manager

async function byManager(wanted) {
  const server = (backends.find((item) => ["ok", "busy"].includes(item.state)) ?? backends[0])?.url;
  if (!server) throw new Error(t("noBackend"));
  showErrand(await ask("/ops/models/manager", { ...wanted, server }));
}

function showErrand(errand) {
  if (!errand) return;
  at("manager-section").hidden = false;
  const words = errand.error ? `${errand.error.message} ${errand.error.hint}` : t(errand.running ? "asking" : "done");
  at("manager-state").textContent = `${errand.server}: ${words}`;
  at("manager-outcomes").replaceChildren(...errand.outcomes.map((item) =>
    make("li", `${item.model}: ${item.there ? t("s_present") : item.why}`, { className: item.there ? "good" : "bad" })));
  if (errand.running) {
    setTimeout(() => ask("/ops/models/manager").then((data) => showErrand(data.errand)).catch(trouble), FOLDER_EVERY);
  }
}

// The whole

function speak() {
  document.documentElement.lang = language;
  for (const element of document.querySelectorAll("[data-t]")) element.textContent = t(element.dataset.t);
  at("language").textContent = t("other");
  at("language").lang = language === "fr" ? "en" : "fr";
  merge([]);
  for (const known of files.values()) showFile({ ...known.item });
}

at("language").addEventListener("click", () => {
  language = language === "fr" ? "en" : "fr";
  speak();
});
button(at("check-backends"), async () => merge((await ask("/ops/backends/check", {})).backends));
button(at("check"), check);
button(at("plan"), async () => showPlan(await ask("/ops/models/plan", chosen())));
button(at("download"), async () => showPlan(await ask("/ops/models/downloads", chosen())));
button(at("manual"), byHand);
button(at("manager"), () => byManager(chosen()));
at("manual-close").addEventListener("click", () => { stopWatching(); at("manual-section").hidden = true; });
for (const element of document.querySelectorAll("[data-verb]")) button(element, () => steer(element.dataset.verb));

speak();
lookAtBackends();
setInterval(lookAtBackends, BACKENDS_EVERY);
ask("/ops/models/groups").then((data) => {
  at("groups").replaceChildren(...data.groups.map((group) => make("option", "", { value: group.name })));
  listen();
  return check();
}).catch(trouble);
