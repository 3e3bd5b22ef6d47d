// Shows the states that the monitor sends. Text is only ever set as text; every list has a bound; nodes are used again.
"use strict";

const MARK = { "x-trilane-dashboard": "1" };
const PAUSE_S = 3600;
const SILENCE_MS = 30_000; // The monitor speaks every 10 s at least.
const RETRY_MS = 3_000;
const SWITCH_MS = 20_000; // How long a switched lane may take to show it.
const MOST = { lanes: 24, alerts: 50, budgets: 50, decisions: 40, workers: 100, entries: 300 };

const byId = (id) => document.getElementById(id);
const numbers = new Intl.NumberFormat("en");
const clock = new Intl.DateTimeFormat("en-GB", { hour: "2-digit", minute: "2-digit", second: "2-digit" });
const dayAndTime = new Intl.DateTimeFormat("en-GB", { day: "numeric", month: "short", hour: "2-digit", minute: "2-digit" });

// ── Words ──────────────────────────────────────────────────────────────────────────────────────────────

const count = (value) => numbers.format(value);
const rate = (value) => (value === null ? "–" : `${value < 10 ? +value.toFixed(1) : count(Math.round(value))}/s`);
const usd = (value) => `$${value.toFixed(value !== 0 && value < 0.1 ? 4 : 2)}`;
const time = (at) => clock.format(new Date(at));

function length(seconds) {
  if (seconds === null) return "–";
  if (seconds < 10) return `${+seconds.toFixed(1)} s`;
  if (seconds < 90) return `${Math.round(seconds)} s`;
  if (seconds < 5400) return `${Math.round(seconds / 60)} min`;
  if (seconds < 129600) return `${Math.round(seconds / 3600)} h`;
  return `${Math.round(seconds / 86400)} days`;
}

// ── Nodes ──────────────────────────────────────────────────────────────────────────────────────────────

function say(node, text) {
  if (node.textContent !== text) node.textContent = text;
}

function mark(node, name, value) {
  if (node.dataset[name] !== value) node.dataset[name] = value;
}

/** The parts of a template's copy, by the names of their data attributes. */
function copy(template) {
  const root = byId(`${template}-template`).content.firstElementChild.cloneNode(true);
  const parts = { root };
  for (const node of root.querySelectorAll("*")) {
    for (const name of Object.keys(node.dataset)) parts[name] = node;
  }
  return parts;
}

/** Shows `items` in order, a node each. What goes makes room for what comes, so that no node is ever thrown away
    while one like it is needed. */
function list(parent, template, most, keyOf, show, prepare = () => {}) {
  const shown = new Map();
  return (items) => {
    const kept = items.slice(0, most);
    const keys = new Set(kept.map(keyOf));
    const free = [];
    for (const [key, parts] of shown) {
      if (keys.has(key)) continue;
      shown.delete(key);
      free.push(parts);
    }
    kept.forEach((item, index) => {
      const key = keyOf(item);
      let parts = shown.get(key);
      if (!parts) {
        parts = free.pop() ?? prepared(template, prepare);
        shown.set(key, parts);
      }
      parts.item = item;
      if (parent.children[index] !== parts.root) parent.insertBefore(parts.root, parent.children[index] ?? null);
      show(parts, item);
    });
    for (const parts of free) parts.root.remove();
    const empty = byId(`no-${parent.id}`);
    if (empty) empty.hidden = kept.length > 0;
  };
}

function prepared(template, prepare) {
  const parts = copy(template);
  prepare(parts);
  return parts;
}

function announce(text) {
  byId("announcer").textContent = text;
}

// ── Lanes ──────────────────────────────────────────────────────────────────────────────────────────────

const switching = new Map();
let view = null;

function showLane(parts, lane) {
  const reading = view.readings[lane.name];
  mark(parts.root, "tone", reading.tone);
  mark(parts.root, "lane", lane.name);
  mark(parts.root, "paused", lane.is_paused ? "yes" : "no");
  say(parts.name, lane.name);
  say(parts.zone, `${lane.zone} zone`);
  say(parts.state, reading.word);
  mark(parts.state, "tone", reading.tone);
  say(parts.why, reading.sentence);
  say(parts.waiting, count(lane.waiting));
  say(parts.capacity, `${count(lane.in_flight)} in hand · fullest priority ${count(lane.fullest)} of ${count(lane.capacity)}`);
  say(parts.arrivals, rate(lane.arrivals_per_s));
  say(parts.served, rate(lane.served_per_s));
  say(parts.oldest, length(lane.oldest_s));
  say(parts.wait, length(lane.wait_s));
  say(parts.workers, count(lane.workers));
  say(parts.slots, `${count(lane.busy)} of ${count(lane.slots)}`);
  showBar(parts.root, lane);
  showTrend(parts.root.querySelector(".trend"), view.trends[lane.name] ?? []);
  say(parts.span, `last ${length(view.trend_looks * view.look_s)}`);
  showSwitch(parts, lane);
}

function showBar(root, lane) {
  const share = (value) => `${Math.min(100, (100 * value) / Math.max(1, lane.capacity))}%`;
  const inFlight = Math.min(lane.in_flight, lane.fullest);
  root.querySelector(".in-flight").style.width = inFlight ? `max(3px, ${share(inFlight)})` : "0";
  const waiting = lane.fullest - inFlight;
  root.querySelector(".waiting").style.width = waiting ? `max(3px, ${share(waiting)})` : "0";
}

function showTrend(svg, trend) {
  const most = 1.2 * Math.max(10, ...trend);
  const x = (index) => (150 * (view.trend_looks - trend.length + index)) / Math.max(1, view.trend_looks - 1);
  const points = trend.map((depth, index) => `${x(index).toFixed(1)} ${(39 - (37 * depth) / most).toFixed(1)}`);
  const line = points.length ? `M${points.join("L")}` : "";
  svg.querySelector(".line").setAttribute("d", line);
  svg.querySelector(".area").setAttribute("d", line && `${line}L150 40L${x(0).toFixed(1)} 40Z`);
  const span = length(trend.length * view.look_s);
  const told = trend.length
    ? `Tasks on the lane over the last ${span}: from ${count(trend[0])} to ${count(trend.at(-1))}, ${count(Math.max(...trend))} at most`
    : "No trend yet";
  svg.setAttribute("aria-label", told);
}

function showSwitch(parts, lane) {
  const wanted = switching.get(lane.name);
  if (wanted && (wanted.paused === lane.is_paused || Date.now() > wanted.until)) switching.delete(lane.name);
  const busy = switching.get(lane.name);
  const node = parts.switch;
  node.setAttribute("aria-disabled", busy ? "true" : "false");
  node.setAttribute("aria-label", `${lane.is_paused ? "Resume" : "Pause"} ${lane.name}`);
  if (busy) say(node, busy.paused ? "Pausing …" : "Resuming …");
  else say(node, lane.is_paused ? "Resume" : "Pause for 1 h");
}

async function throwSwitch(parts) {
  const lane = parts.item;
  if (switching.has(lane.name) || document.body.dataset.fresh === "no") return;
  const paused = !lane.is_paused;
  switching.set(lane.name, { paused, until: Date.now() + SWITCH_MS });
  showSwitch(parts, lane);
  const problem = await ask(`/api/lanes/${lane.name}/${paused ? "pause" : "resume"}`, {
    method: "POST",
    headers: MARK,
    body: paused ? JSON.stringify({ seconds: PAUSE_S }) : "",
  }).then(() => null, (error) => error.message);
  if (problem) switching.delete(lane.name);
  announce(problem ? `${lane.name}: ${problem}` : `${lane.name} is ${paused ? "paused for an hour" : "resumed"}`);
  if (problem) say(parts.why, problem);
}

const showLanes = list(byId("lanes"), "lane", MOST.lanes, (lane) => lane.name, showLane, (parts) => {
  parts.switch.addEventListener("click", () => throwSwitch(parts));
});

function showHeadline(lanes) {
  const told = (tone) => lanes.filter((lane) => view.readings[lane.name].tone === tone);
  const [bad, watch] = [told("bad"), told("watch")];
  const worst = bad.length ? bad : watch;
  const names = worst.map((lane) => `${lane.name} is ${view.readings[lane.name].word}`);
  const node = byId("headline");
  mark(node, "tone", bad.length ? "bad" : watch.length ? "watch" : "calm");
  say(node, names.length ? names.join(", ") : "All lanes keep up");
  const title = bad.length ? `▲ ${names.join(", ")} · Trilane` : "Trilane";
  if (document.title !== title) document.title = title;
}

// ── Alerts, spend, decisions, workers ──────────────────────────────────────────────────────────────────

const alertKey = (alert) => `${alert.kind} ${alert.lane} ${alert.since}`;
let firing = null;

const showAlerts = list(byId("alerts"), "alert", MOST.alerts, alertKey, (parts, alert) => {
  const isOver = alert.state === "resolved";
  mark(parts.root, "over", isOver ? "yes" : "no");
  say(parts.state, isOver ? "resolved" : "firing");
  mark(parts.state, "tone", isOver ? "calm" : "bad");
  say(parts.message, alert.message);
  say(parts.meaning, isOver ? "" : alert.meaning ?? "");
  say(parts.action, isOver ? "" : alert.action ?? "");
  say(parts.kind, `${alert.kind.replaceAll("_", " ")}, ${alert.lane}`);
  say(parts.since, isOver ? `over since ${time(alert.at)}` : `since ${dayAndTime.format(new Date(alert.since))}`);
});

/** New alerts are told once, not with each number that changes in them. */
function announceAlerts(alerts) {
  const now = new Map(alerts.filter((alert) => alert.state !== "resolved").map((alert) => [`${alert.kind} ${alert.lane}`, alert]));
  const fresh = [...now].filter(([key]) => firing && !firing.has(key)).map(([, alert]) => alert.message);
  const over = [...(firing ?? [])].filter(([key]) => !now.has(key)).map(([, alert]) => alert);
  if (fresh.length) announce(`Alert: ${fresh.slice(0, 3).join(". ")}`);
  else if (over.length) announce(`Resolved: ${over[0].kind.replaceAll("_", " ")} of ${over[0].lane}`);
  firing = now;
}

const budgetKey = (budget) => `${budget.agent ?? ""} ${budget.window}`;
const showBudgets = list(byId("budgets"), "budget", MOST.budgets, budgetKey, (parts, budget) => {
  const { limit_usd: limit, spent_usd: spent, reserved_usd: reserved, expected_usd: expected } = budget;
  const share = (value) => (limit ? Math.min(100, (100 * value) / limit) : 0);
  const isOver = limit !== null && spent + reserved >= limit;
  const willBe = limit !== null && expected > limit;
  mark(parts.root, "tone", isOver ? "bad" : willBe ? "watch" : "calm");
  say(parts.whose, `${budget.agent ?? "All agents"}, this ${budget.window}`);
  say(parts.amount, limit === null ? usd(spent) : `${usd(spent)} of ${usd(limit)}`);
  const set = reserved ? `${usd(reserved)} set aside · ` : "";
  const pace = isOver ? "the budget is spent" : `${usd(expected)} by its end at this pace${willBe ? ": more than the budget" : ""}`;
  say(parts.pace, `${set}${pace}`);
  parts.root.querySelector(".spent").style.width = `${share(spent)}%`;
  parts.root.querySelector(".reserved").style.width = `${Math.min(share(reserved), 100 - share(spent))}%`;
  const tick = parts.root.querySelector("i");
  tick.hidden = limit === null || willBe;
  tick.style.left = `calc(${share(expected)}% - 1px)`;
});

const decisionKey = (decided) => `${decided.agent} ${decided.task_id} ${decided.at}`;
const showDecisions = list(byId("decisions"), "decision", MOST.decisions, decisionKey, (parts, decided) => {
  say(parts.time, time(decided.at));
  say(parts.task, `${decided.agent}/${decided.task_id}`);
  say(parts.lane, decided.lane);
  say(parts.reason, `${decided.sensitivity}, ${decided.reason.replaceAll("_", " ")}`);
  say(parts.explanation, decided.explanation);
  say(parts.complexity, decided.complexity.toFixed(2));
}, (parts) => {
  parts.task.addEventListener("click", () => lookUp(parts.item.agent, parts.item.task_id, true));
});

const ILL = { hung: "bad", silent: "bad" };
const showWorkers = list(byId("workers"), "worker", MOST.workers, (worker) => worker.name, (parts, worker) => {
  const isWell = worker.health === "alive";
  say(parts.name, worker.name);
  say(parts.lane, worker.lane);
  const stalled = worker.health === "hung" ? ` for ${length(worker.stalled_s)}` : "";
  say(parts.health, isWell ? worker.state : `${worker.health}${stalled}`);
  mark(parts.health, "tone", ILL[worker.health] ?? (worker.state === "ready" ? "calm" : "watch"));
  say(parts.busy, `${worker.busy} of ${worker.slots}`);
  say(parts.finished, count(worker.finished));
  say(parts.models, worker.models.join(", "));
  say(parts.host, `${worker.host} · ${worker.pid}`);
  say(parts.heard, `${length(Math.round(worker.heard_s))} ago`);
});

/** Those that are unwell first: where there are too many, they must not be among those left out. */
function byHealth(workers) {
  const rank = (worker) => (worker.health === "alive" ? 1 : 0);
  return [...workers].sort((a, b) => rank(a) - rank(b));
}

// ── A task's life ──────────────────────────────────────────────────────────────────────────────────────

const showEntries = list(byId("life-entries"), "life", MOST.entries, (entry) => entry.index, (parts, entry) => {
  say(parts.what, entry.what.replaceAll("_", " ").replace(/^./, (first) => first.toUpperCase()));
  say(parts.at, `${time(entry.at)}.${String(new Date(entry.at).getMilliseconds()).padStart(3, "0")}`);
  parts.at.dateTime = entry.at;
  say(parts.detail, entry.detail);
  mark(parts.root, "tone", entry.tone);
});

let latest = 0;

async function lookUp(agent, id, isToShow) {
  const asked = ++latest;
  [byId("life-agent").value, byId("life-id").value] = [agent, id];
  history.replaceState(null, "", `#task/${agent}/${id}`);
  const standing = byId("life-standing");
  let life;
  try {
    life = await ask(`/api/tasks/${encodeURIComponent(agent)}/${encodeURIComponent(id)}`);
  } catch (error) {
    life = { state: "not known", tone: "bad", sentence: error.message, entries: [] };
  }
  if (asked !== latest) return;
  const state = document.createElement("span");
  state.className = "state";
  state.textContent = life.state;
  state.dataset.tone = life.tone;
  standing.className = "";
  standing.replaceChildren(state, ` ${life.sentence}`);
  const isBad = (entry) => entry.what === "died" || (entry.what === "finished" && life.tone === "bad");
  showEntries(life.entries.map((entry, index) => ({ ...entry, index, tone: isBad(entry) ? "bad" : "calm" })));
  if (isToShow) byId("life-section").scrollIntoView({ block: "nearest" });
}

function lookUpLinked() {
  const [kind, agent, id] = location.hash.slice(1).split("/");
  if (kind === "task" && agent && id) lookUp(agent, id, true);
}

byId("life-form").addEventListener("submit", (event) => {
  event.preventDefault();
  lookUp(byId("life-agent").value, byId("life-id").value, false);
});

/** Asks the monitor. A session that has ended leads to the form. */
async function ask(path, options = {}) {
  const response = await fetch(path, { ...options, cache: "no-store" });
  if (response.status === 401) location.reload();
  const body = await response.json();
  if (!response.ok) throw new Error(body.error ?? `the monitor answers ${response.status}`);
  return body;
}

// ── The stream ─────────────────────────────────────────────────────────────────────────────────────────

let [source, heardAt, lostAt, isFrozen, waiting, retry] = [null, Date.now(), null, false, null, null];

function show(next) {
  view = next;
  const { fleet, alerts } = view;
  showHeadline(fleet.lanes);
  showLanes(fleet.lanes);
  const { waiting: atIntake, in_flight: inHand, capacity, decided_per_s: decided } = fleet.intake;
  const letters = fleet.new_dead_letters ? `${count(fleet.new_dead_letters)} dead letters in ten minutes, ` : "";
  const zombies = fleet.zombies ? ` · ${count(fleet.zombies)} messages are stuck` : "";
  say(byId("intake"), `Intake: ${count(atIntake)} wait for a classifier, ${count(inHand)} in hand, of ${count(capacity)} · ${rate(decided)} decided · ${letters}${count(fleet.dead_letters)} dead letters kept${zombies}`);
  showAlerts(alerts);
  announceAlerts(alerts);
  showBudgets(fleet.budgets);
  showDecisions(fleet.decisions);
  const workers = byHealth(fleet.workers);
  showWorkers(workers);
  const left = workers.length - MOST.workers;
  byId("more-workers").hidden = left <= 0;
  if (left > 0) say(byId("more-workers"), `${count(left)} more that are well are not shown`);
}

/** Says how fresh the figures are; old ones never look new. */
function showLink() {
  const { dataset } = document.body;
  const silent = view?.fleet.silent_s ?? 0;
  const isSilent = view !== null && silent > Math.max(10, 3 * view.look_s);
  const isOld = lostAt !== null || isSilent;
  mark(document.body, "link", lostAt !== null ? "lost" : view ? "live" : "waiting");
  dataset.fresh = isOld && view ? "no" : "yes";
  const banner = byId("banner");
  banner.hidden = !isOld;
  if (lostAt !== null) {
    say(banner, `Not connected to the monitor since ${time(lostAt)}. ${view ? "What is shown is from then." : ""} Trying again …`);
  } else if (isSilent) {
    say(banner, `The queue server has not answered since ${time(new Date(view.fleet.at) - silent * 1000)}. What is shown is from then.`);
  }
  const shown = view ? time(view.fleet.at) : "";
  if (lostAt !== null) say(byId("link"), `Not connected since ${time(lostAt)}`);
  else if (!view) say(byId("link"), "Waiting for the monitor’s first look …");
  else say(byId("link"), isFrozen ? `Frozen at ${shown}` : `Live · ${shown}`);
}

function heard() {
  heardAt = Date.now();
  lostAt = null;
}

function connect() {
  clearTimeout(retry);
  source?.close();
  source = new EventSource("/api/events");
  source.addEventListener("fleet", (event) => {
    heard();
    const next = JSON.parse(event.data);
    if (isFrozen) waiting = next;
    else show(next);
    showLink();
  });
  source.addEventListener("alive", () => {
    heard();
    showLink();
  });
  source.addEventListener("error", lose);
}

function lose() {
  lostAt ??= Date.now();
  showLink();
  source.close();
  clearTimeout(retry);
  retry = setTimeout(reconnect, RETRY_MS);
}

/** Where the session has ended, the stream would fail for ever: the page leads to the form then. */
async function reconnect() {
  const response = await fetch("/api/fleet", { cache: "no-store" }).catch(() => null);
  if (response?.status === 401) location.reload();
  else connect();
}

setInterval(() => {
  if (document.hidden) return;
  if (lostAt === null && Date.now() - heardAt > SILENCE_MS) lose();
  showLink();
}, 1000);

byId("freeze").addEventListener("click", () => {
  isFrozen = !isFrozen;
  byId("freeze").setAttribute("aria-pressed", String(isFrozen));
  if (!isFrozen && waiting) show(waiting);
  waiting = null;
  showLink();
});

/** A browser has six connections for all tabs of a page together: those that nobody looks at give theirs back. */
document.addEventListener("visibilitychange", () => {
  if (document.hidden) {
    clearTimeout(retry);
    source?.close();
    document.title = "Trilane";
  } else {
    if (view) lostAt ??= heardAt;
    connect();
  }
});

addEventListener("hashchange", lookUpLinked);
connect();
lookUpLinked();
