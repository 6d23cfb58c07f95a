// The console: asks the listener it came from, and shows the answers as text. Nothing is ever made of markup.
"use strict";

const EVERY = 2000;
const byId = (id) => document.getElementById(id);
let secret = "";
let reasons = new Map();

/** An element with attributes and children; texts become text. */
function make(name, attributes = {}, ...children) {
  const element = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) {
    if (value !== undefined && value !== null && value !== false) element.setAttribute(key, value === true ? "" : value);
  }
  element.append(...children.filter((child) => child !== null && child !== undefined));
  return element;
}

const whole = new Intl.NumberFormat("en");
const number = (value) => whole.format(value ?? 0);
const clock = (milliseconds) => new Date(milliseconds).toLocaleTimeString("en-GB");

function span(seconds) {
  const steps = [["d", 86400], ["h", 3600], ["min", 60]];
  for (const [unit, size] of steps) {
    if (seconds >= size * 2 || (unit === "min" && seconds >= 90)) return `${Math.round(seconds / size)} ${unit}`;
  }
  return `${Math.round(seconds)} s`;
}

function octets(value) {
  const units = ["B", "KiB", "MiB", "GiB"];
  let unit = 0;
  while (value >= 1024 && unit < units.length - 1) { value /= 1024; unit += 1; }
  return `${value < 10 && unit > 0 ? value.toFixed(1) : Math.round(value)} ${units[unit]}`;
}

async function ask(path, options = {}) {
  const headers = { ...(options.headers ?? {}) };
  if (secret) headers.Authorization = `Bearer ${secret}`;
  const response = await fetch(path, { ...options, headers, cache: "no-store", credentials: "omit" });
  if (response.status === 401) throw new Locked();
  const value = await response.json();
  if (!response.ok) throw new Error(value.error ?? `status ${response.status}`);
  return value;
}

class Locked extends Error {}

function state(text, kind) {
  const pill = byId("state");
  if (pill.textContent !== text) pill.textContent = text;
  pill.className = `pill ${kind}`;
}

/** Replaces children only if they have changed, so that nobody's place is lost. */
function put(parent, key, children) {
  if (parent.dataset.key === key) return;
  parent.dataset.key = key;
  parent.replaceChildren(...children);
}

function figures(status, refused, reported) {
  const sum = (name) => status.routes.reduce((total, route) => total + route[name], 0);
  const pairs = [
    ["requests", number(sum("requests"))],
    ["let in with a bound token", number(sum("bound"))],
    ["let in with a bearer token", number(sum("bearer"))],
    ["refused", number(refused)],
    ["connections open", number(status.connections.open)],
  ];
  if (reported > 0) pairs.splice(4, 0, ["would be refused", number(reported)]);
  put(byId("figures"), JSON.stringify(pairs), pairs.map(([name, value]) =>
    make("div", {}, make("dt", {}, name), make("dd", {}, value))));
}

const MODES = { required: "good", optional: "warn", report: "warn", open: "" };

function routes(list) {
  put(byId("route-rows"), JSON.stringify(list), list.map((route) => make("tr", {},
    make("th", { scope: "row" }, make("code", {}, route.path)),
    make("td", { "data-name": "Mode" }, make("span", { class: `tag ${MODES[route.mode] ?? ""}` }, route.mode)),
    make("td", { "data-name": "Scope", "data-none": route.scope.length === 0 }, route.scope.join(" ")),
    make("td", { "data-name": "Upstream" }, ...route.upstreams.map(upstream)),
    make("td", { "data-name": "Requests", class: "number" }, number(route.requests)),
    make("td", { "data-name": "Bound", class: "number" }, number(route.bound)),
    make("td", { "data-name": "Bearer", class: "number" }, number(route.bearer)),
    make("td", { "data-name": route.mode === "report" ? "Would be refused" : "Refused", class: "number" },
      route.mode === "report" ? `(${number(route.would_refuse)})` : number(route.refused)))));
}

/** An address, and whether it is healthy where somebody asks it. */
function upstream({ url, healthy, trouble }) {
  const mark = healthy === null ? null
    : make("span", { class: `tag ${healthy ? "good" : "bad"}`, title: trouble }, healthy ? "healthy" : "unhealthy");
  return make("div", {}, make("code", { class: "quiet" }, url), mark ? " " : null, mark);
}

const SOURCES = { embedded: "in this process", discovered: "fetched from the issuer", file: "from a file" };

function issuers(list) {
  const items = list.map((issuer) => {
    const age = issuer.age === null ? "" : `, ${span(issuer.age)} ago`;
    const words = issuer.usable ? ["usable", "good"] : ["missing", "bad"];
    return make("li", {},
      make("div", { class: "split" }, make("code", {}, issuer.issuer), make("span", { class: `tag ${words[1]}` }, `keys ${words[0]}`)),
      make("p", { class: "quiet" }, `Keys ${SOURCES[issuer.keys] ?? issuer.keys}${age}.`),
      issuer.trouble ? make("p", { class: "bad" }, `Last fetch failed (${number(issuer.failures)} in a row): ${issuer.trouble}`) : null);
  });
  const none = [make("li", { class: "quiet" }, "No issuer: nothing here looks at tokens.")];
  put(byId("issuer-list"), JSON.stringify(list), items.length ? items : none);
}

function replay(status) {
  const { replay: memory, proof } = status;
  byId("replay-entries").textContent = `${number(memory.entries)} used proofs remembered`;
  byId("replay-bytes").textContent = `${octets(memory.bytes)} of ${octets(memory.limit)}`;
  const fill = byId("replay-fill");
  fill.value = memory.bytes / memory.limit;
  fill.textContent = `${Math.round(100 * fill.value)} %`;
  const now = status.now / 1000;
  const barrier = !memory.barrier ? ["none stands", ""]
    : now < memory.barrier_from ? [`every proof needs a nonce, for ${span(memory.barrier_from - now)} more`, "warn"]
    : [`only proofs from before it need a nonce, for ${span(memory.barrier_until - now)} more`, ""];
  const facts = [
    ["Epoch", `began ${span(Math.max(0, now - memory.epoch_opened))} ago`, ""],
    ["Barrier", ...barrier],
    ["Proof window", `${span(proof.max_age)} back, ${span(proof.max_future)} ahead; nonces: ${proof.nonce}`, ""],
    ["When full or away", memory.when_unavailable === "refuse" ? "503" : "fresh nonces of this process only", ""],
    ...(memory.nonce_only ? [["Fresh nonces only", memory.nonce_only.now
      ? `now; ${number(memory.nonce_only.admitted)} admitted so` : `${number(memory.nonce_only.entered)} times before`,
      memory.nonce_only.now ? "bad" : ""]] : []),
    ["Refused for room", number(memory.no_room), memory.no_room > 0 ? "bad" : ""],
  ];
  put(byId("replay-facts"), JSON.stringify(facts), facts.flatMap(([name, value, kind]) =>
    [make("dt", {}, name), make("dd", { class: kind || null }, value)]));
}

function offset(seconds) {
  if (seconds === null) return "";
  return seconds === 0 ? "0 s" : `${seconds > 0 ? "+" : "\u2212"}${Math.abs(seconds)} s`;
}

function decisions(list) {
  const shown = byId("only-refused").checked ? list.filter((row) => row.reason) : list;
  byId("no-decisions").hidden = shown.length > 0;
  const rows = shown.map((row) => {
    const kind = !row.reason ? "good" : row.mode === "report" ? "warn" : "bad";
    const said = row.reason
      ? make("a", { href: `#reason-${row.reason}`, class: `tag ${kind}`, title: reasons.get(row.reason)?.meaning }, row.reason)
      : make("span", { class: "tag good" }, row.jkt ? "admitted" : "admitted, bearer");
    const report = row.reason && row.mode === "report" ? make("span", { class: "quiet" }, " not enforced") : null;
    return make("tr", {},
      make("td", { class: "quiet time" }, clock(row.at)),
      make("th", { scope: "row" }, make("span", { class: "quiet" }, `${row.method} `), make("code", {}, row.route ?? "no route")),
      make("td", { class: "number", "data-name": "Status" }, row.status === null ? "gone" : String(row.status)),
      make("td", { "data-name": "Decision" }, make("span", {}, said, report)),
      make("td", { "data-name": "Client", "data-none": !row.client }, row.client ?? ""),
      make("td", { "data-name": "Key", title: row.jkt, "data-none": !row.jkt }, make("code", { class: "quiet" }, row.jkt ? `${row.jkt.slice(0, 8)}…` : "")),
      make("td", { "data-name": "Clock", class: "number quiet", "data-none": row.iat_offset === null }, offset(row.iat_offset)));
  });
  put(byId("decision-rows"), JSON.stringify([shown, reasons.size]), rows);
}

const SVG = "http://www.w3.org/2000/svg";

function bar(part, kind) {
  const box = make("span", { class: `bar ${kind}`, "aria-hidden": "true" });
  const svg = document.createElementNS(SVG, "svg");
  const rect = document.createElementNS(SVG, "rect");
  svg.setAttribute("preserveAspectRatio", "none");
  svg.setAttribute("viewBox", "0 0 100 1");
  rect.setAttribute("width", String(Math.max(1, 100 * part)));
  rect.setAttribute("height", "1");
  svg.append(rect);
  box.append(svg);
  return box;
}

function explanation(code) {
  const row = reasons.get(code) ?? {};
  const facts = [["Found", row.meaning], ["Rule", row.rule], ["Answer", row.answer], ["What to do", row.advice]];
  return make("dl", { class: "facts" }, ...facts.filter(([, value]) => value).flatMap(([name, value]) =>
    [make("dt", {}, name), make("dd", {}, value)]));
}

function refusals(refused, reported) {
  const rows = [...refused.map((row) => ({ ...row, kind: "" })), ...reported.map((row) => ({ ...row, kind: "warn" }))];
  const list = byId("refusal-list");
  const key = JSON.stringify([rows, reasons.size]);
  if (list.dataset.key === key) return;
  const open = new Set([...list.querySelectorAll("details[open]")].map((details) => details.id));
  const most = Math.max(1, ...rows.map((row) => row.count));
  const items = rows.map((row) => {
    const id = `${row.kind ? "report" : "reason"}-${row.reason}`;
    return make("details", { id, open: open.has(id) },
      make("summary", {},
        make("span", {}, make("code", {}, row.reason), row.kind ? make("span", { class: "quiet" }, " in report, not enforced") : null),
        bar(row.count / most, row.kind), make("span", { class: "number" }, number(row.count))),
      explanation(row.reason));
  });
  put(list, key, items.length ? items : [make("p", { class: "quiet" }, "Nothing has been refused.")]);
}

/** A link to a reason opens it, whether it is in force or only reported. */
function reveal(event) {
  const link = event.target.closest?.("a[href^='#reason-']");
  if (!link) return;
  const code = link.getAttribute("href").slice("#reason-".length);
  const details = byId(`reason-${code}`) ?? byId(`report-${code}`);
  if (!details) return;
  event.preventDefault();
  details.open = true;
  details.scrollIntoView({ block: "center" });
  details.querySelector("summary").focus({ preventScroll: true });
}

function show(status) {
  const total = (list) => list.reduce((sum, row) => sum + row.count, 0);
  if (status.draining) state("draining", "warn");
  else state(status.ready ? "ready" : "not ready", status.ready ? "good" : "bad");
  const missing = byId("missing");
  const troubles = status.missing.length ? status.missing : status.degraded;
  missing.hidden = troubles.length === 0;
  missing.textContent = troubles.join("; ");
  byId("summary").textContent =
    `${status.origins.join(", ")}, served on ${status.listen} for ${span((status.now - status.started) / 1000)}` +
    status.asked.map((listener) => `; other proxies ask at ${listener.address} (${listener.setting})`).join("");
  byId("version").textContent = `keybound ${status.version}` + (status.log_level ? `, log level ${status.log_level}` : "");
  figures(status, total(status.refusals), total(status.reports));
  routes(status.routes);
  issuers(status.issuers);
  replay(status);
  refusals(status.refusals, status.reports);
}

async function refresh() {
  try {
    if (reasons.size === 0) {
      const table = await ask("/reasons.json");
      reasons = new Map(table.reasons.map((row) => [row.code, row]));
    }
    const [status, latest] = await Promise.all([ask("/status.json"), ask("/decisions.json")]);
    byId("unlock").hidden = true;
    byId("content").hidden = false;
    show(status);
    if (!byId("pause").checked) decisions(latest.decisions);
  } catch (error) {
    if (error instanceof Locked) {
      byId("wrong").hidden = secret === "";
      secret = "";
      byId("unlock").hidden = false;
      byId("content").hidden = true;
      state("locked", "warn");
      return;
    }
    state("no answer", "bad");
  }
  setTimeout(refresh, document.hidden ? EVERY * 5 : EVERY);
}

const VERDICTS = { passed: ["pass", "good"], refused: ["fail", "bad"], open: ["open", ""] };

function verdict(check) {
  const [word, kind] = VERDICTS[check.verdict];
  const words = make("div", {});
  if (check.reason) {
    words.append(make("p", {}, make("code", { class: "bad" }, check.reason), `: ${check.meaning}`));
    if (check.detail) words.append(make("p", { class: "mono" }, check.detail));
    if (check.advice) words.append(make("p", { class: "quiet" }, check.advice));
  } else {
    words.append(make("p", { class: "quiet" }, check.note ?? check.step));
  }
  return make("li", {}, make("span", {}, make("span", { class: `tag ${kind}` }, word)), make("span", {}, check.check), words);
}

function part(title, value) {
  const text = value === null ? "cannot be decoded" : JSON.stringify(value, null, 2);
  return make("div", {}, make("h3", {}, title), make("pre", { tabindex: "0" }, text));
}

function report(found) {
  const failed = found.checks.filter((check) => check.verdict === "refused").length;
  const words = failed === 0 ? "No check fails" : failed === 1 ? "One check fails" : `${failed} checks fail`;
  byId("report").replaceChildren(make("div", { class: "card" },
    make("p", { class: "split" }, make("strong", { class: failed ? "bad" : "good" }, words),
      make("span", { class: "quiet" }, `as of ${new Date(found.at * 1000).toISOString().replace(".000", "")}`)),
    make("div", { class: "parts" }, part("Header", found.header), part("Payload", found.payload)),
    found.jkt ? make("p", { class: "mono quiet" }, `jkt ${found.jkt}`) : null,
    make("h3", {}, "Checks"),
    make("ul", { class: "checks" }, ...found.checks.map(verdict))));
}

async function explain(event) {
  event.preventDefault();
  const button = event.target.querySelector("button");
  button.disabled = true;
  const asked = {};
  for (const name of ["proof", "method", "url", "token"]) {
    const value = byId(name).value.trim();
    if (value) asked[name] = name === "method" ? value.toUpperCase() : value;
  }
  try {
    report(await ask("/explain", { method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify(asked) }));
  } catch (error) {
    byId("report").replaceChildren(make("p", { class: "notice" }, error.message || "no answer"));
  }
  button.disabled = false;
}

byId("unlock").addEventListener("submit", (event) => {
  event.preventDefault();
  secret = byId("secret").value;
  byId("secret").value = "";
  refresh();
});
byId("explain").addEventListener("submit", explain);
document.addEventListener("click", reveal);
refresh();
