// The review page: a queue, one item, and the keys to go through them.
import { blank, decision, el, entry, matter, time } from "./reviews.view.js";
import { language, words } from "./reviews.words.js";

const $ = (id) => document.getElementById(id);
const REFRESH_MS = 15_000;
const RENEW_MS = 60_000;
const PAGE = 50;
const filters = { state: ["open", "decided", "all"], kind: ["", "answer", "pair"],
  reason: ["", "wrong", "incomplete", "tone", "unsafe", "other", "thumb", "held"],
  fault: ["", "generation", "retrieval_miss", "stale_policy", "missing_policy"] };
let key = sessionStorage.getItem("csqa-agent-key");
let agent = "";
let items = [];
let cursor = null;
let current = null; // the item at the right, whole
let mine = false; // whether its lease is this agent's
let leasing = Promise.resolve(); // a decision waits for the lease that is on its way
let leaving = Promise.resolve(); // and taking an item waits until it was given back
let opening = 0; // a slow answer about an item that was left meanwhile is dropped
let busy = false;
const drafts = new Map(); // corrections begun and not sent, so that looking at another item loses none
const decided = JSON.parse(sessionStorage.getItem("csqa-decided") ?? "[]");

class Refused extends Error {
  constructor(status, message) { super(message); this.status = status; }
}

async function ask(method, path, body, options = {}) {
  const response = await fetch(`v1/reviews${path}`, {
    method, headers: { Authorization: `Bearer ${key}`, ...(body && { "Content-Type": "application/json" }) },
    body: body && JSON.stringify(body), cache: "no-store", ...options });
  if (response.ok) return response.status === 204 ? null : response.json();
  const problem = await response.json().catch(() => ({}));
  if (response.status === 401) leave(words.key_wrong);
  throw new Refused(response.status, problem.detail || `${response.status} ${response.statusText}`);
}

let silence;
function say(message, wrong = false) {
  clearTimeout(silence);
  $("said").textContent = message;
  $("said").classList.toggle("error", wrong);
  silence = setTimeout(() => { $("said").textContent = ""; }, wrong ? 9000 : 5000);
}

const complain = (error) => error.status !== 401 && say(error instanceof Refused ? error.message : words.offline, true);

// --- signing in -----------------------------------------------------------------------------------------------------

function leave(reason = "") {
  giveBack();
  for (const name of ["csqa-agent-key", "csqa-decided"]) sessionStorage.removeItem(name);
  decided.length = 0;
  drafts.clear();
  [key, current, items] = [null, null, []];
  $("desk").hidden = true;
  $("door").hidden = false;
  $("key").value = "";
  $("key-error").textContent = reason;
  $("key").focus();
}

async function enter() {
  try {
    await load();
  } catch (error) {
    if (error.status !== 401) { leave(error instanceof Refused ? error.message : words.offline); }
    return;
  }
  sessionStorage.setItem("csqa-agent-key", key);
  $("door").hidden = true;
  $("desk").hidden = false;
  if (items.length) await open(items[0].review_id);
}

// --- the queue ------------------------------------------------------------------------------------------------------

async function load(more = false) {
  const asked = new URLSearchParams({ q: $("search").value, limit: more ? PAGE : Math.min(200, Math.max(PAGE, items.length)) });
  for (const name of Object.keys(filters)) asked.set(name, $(name).value);
  if (more) asked.set("after", cursor);
  const page = await ask("GET", `?${asked}`);
  items = more ? [...items, ...page.items] : page.items;
  [cursor, agent] = [page.next, page.agent];
  $("agent").textContent = agent;
  $("counts").textContent = words.counts(page.counts.answer, page.counts.pair);
  $("more").hidden = !cursor;
  list();
}

function list() {
  const focused = document.activeElement?.dataset?.id;
  $("queue").replaceChildren(...items.map((item) => entry(item, agent, item.review_id === current?.review_id, open)));
  if (focused) $("queue").querySelector(`[data-id="${CSS.escape(focused)}"]`)?.focus();
  if (!current) show(null);
}

async function refresh() {
  if (!key || document.hidden || busy) return;
  try { await load(); } catch (error) { complain(error); }
}

// --- one item -------------------------------------------------------------------------------------------------------

function show(item) {
  if (!item) {
    const filtered = $("search").value || Object.keys(filters).some((name) => $(name).value !== filters[name][0]);
    const none = items.length ? blank(words.choose, "") : filtered ? blank(words.nothing_found, words.nothing_found_hint) : blank(words.empty, words.empty_hint);
    $("item").replaceChildren(none);
    return;
  }
  $("item").replaceChildren(matter(item), decision(item, { send, approve: () => decide("approve"), reject: () => decide("reject"), undo, undoThis: () => reopen(item.review_id) }));
  if (drafts.has(item.review_id) && $("correction")) $("correction").value = drafts.get(item.review_id);
}

function giveUp(id) {
  // Where this is lost the lease ends by itself.
  leaving = ask("DELETE", `/${id}/lease`, undefined, { keepalive: true }).catch(() => {});
}

function giveBack() {
  if (current && mine && key) giveUp(current.review_id);
  mine = false;
}

async function open(id) {
  giveBack();
  const turn = ++opening;
  try {
    const item = await ask("GET", `/${id}`);
    if (turn !== opening) return;
    current = item;
    show(item);
    list();
    $("queue").querySelector("[aria-current]")?.scrollIntoView({ block: "nearest" });
    if (item.state === "open") await (leasing = lease(turn));
  } catch (error) {
    if (turn !== opening) return;
    current = null;
    complain(error);
    await refresh();
  }
}

async function lease(turn = opening) {
  const asked = current.review_id;
  let held;
  await leaving;
  try {
    held = await ask("POST", `/${asked}/lease`);
  } catch (error) {
    if (turn !== opening) return;
    if (error.status !== 409) { complain(error); return; }
    held = (await ask("GET", `/${asked}`)).lease;
  }
  if (turn !== opening || current?.review_id !== asked) {
    if (held?.agent === agent && current?.review_id !== asked) giveUp(asked);
    return;
  }
  mine = held?.agent === agent;
  $("lease").classList.toggle("taken", !mine);
  $("lease").textContent = held ? (mine ? words.yours(time(held.until)) : words.has_it(held.agent, time(held.until))) : "";
  for (const part of document.querySelectorAll("#decision :is(textarea, input, button:not(#do-undo))")) part.disabled = !mine;
}

// --- deciding -------------------------------------------------------------------------------------------------------

function send() {
  const correction = $("correction")?.value.trim();
  if (!current || correction === undefined) return;
  if (!correction) { say(words.empty_correction, true); $("correction").focus(); return; }
  if (correction === current.pair?.chosen.trim()) { say(words.unchanged, true); return; }
  decide("correct", correction);
}

async function decide(action, correction) {
  if (!current || busy || current.state !== "open" || (action === "approve" && current.kind !== "pair")) return;
  const turn = opening;
  let next;
  busy = true;
  try {
    next = await record(current.review_id, action, correction, turn);
  } finally {
    busy = false; // what is pressed while the next item's lease is on its way is meant for that item
  }
  if (!next || turn !== opening) return;
  await open(next);
  focusEntry();
}

// Publishes one decision; the item to look at afterwards, if any.
async function record(id, action, correction, turn) {
  await leasing.catch(() => {}); // told where it was asked for
  if (current?.review_id !== id || !mine) {
    if (current?.review_id === id) say($("lease").textContent, true);
    return null;
  }
  const place = items.findIndex((item) => item.review_id === id);
  try {
    const told = await ask("POST", `/${id}`, { action, note: $("note").value.trim(), ...(correction && { corrected_answer: correction }) });
    decided.push(id);
    drafts.delete(id);
    sessionStorage.setItem("csqa-decided", JSON.stringify(decided));
    const done = { correct: words.sent, approve: words.approved, reject: words.rejected_done }[action];
    say(told.in_ledger ? `${done} ${action === "correct" ? await outcome(id, told.event_id) : ""}` : `${done} ${words.on_its_way}`);
    items = items.filter((item) => item.review_id !== id);
    if (turn !== opening) { list(); return null; } // the agent went elsewhere meanwhile
    [current, mine] = [null, false];
    await load();
    const others = items.filter((item) => item.review_id !== id); // the ledger may not have the decision yet
    const next = others[Math.max(0, Math.min(place, others.length - 1))];
    if (!next && turn === opening) { list(); $("item").focus(); }
    return next?.review_id;
  } catch (error) {
    complain(error);
    return error.status === 409 ? id : null;
  }
}

async function outcome(id, event) {
  const made = (await ask("GET", `/${id}`)).made.find((pair) => pair.event_id === event);
  return made ? (words[`pair_${made.state}`] ?? words.pair_made) : "";
}

async function reopen(id) {
  if (busy) return;
  const before = current?.review_id;
  let back = before;
  busy = true;
  if (decided.includes(id)) decided.splice(decided.lastIndexOf(id), 1);
  sessionStorage.setItem("csqa-decided", JSON.stringify(decided));
  giveBack();
  opening++; // an item on its way is not wanted any more
  current = null;
  try {
    await ask("POST", `/${id}/lease`);
    await ask("POST", `/${id}`, { action: "reopen" });
    say(words.reopened);
    back = id;
    await load();
  } catch (error) {
    complain(error);
  } finally {
    busy = false;
  }
  if (back) await open(back);
}

async function undo() {
  if (busy) return;
  if (decided.length) await reopen(decided.at(-1)); else say(words.nothing_to_undo, true);
}

// --- keys -----------------------------------------------------------------------------------------------------------

function focusEntry() {
  // Whoever writes already, goes on writing.
  if (!document.activeElement.matches("input, textarea, select")) $("queue").querySelector("[aria-current]")?.focus();
}

async function step(by) {
  if (!items.length) return;
  const place = items.findIndex((item) => item.review_id === current?.review_id);
  const next = place < 0 ? 0 : Math.min(items.length - 1, Math.max(0, place + by));
  if (next === place) return;
  await open(items[next].review_id);
  focusEntry();
}

const keys = { j: () => step(1), k: () => step(-1), e: () => $("correction")?.focus(), x: () => decide("reject"), a: () => decide("approve"), u: undo,
  "/": () => $("search").select(), "?": () => $("keys").showModal() };

addEventListener("keydown", (event) => {
  if (event.isComposing || $("desk").hidden || $("keys").open) return;
  const typing = event.target.matches("input, textarea, select");
  if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) {
    if (event.target.closest("#filters")) return;
    event.preventDefault();
    send();
  } else if (event.key === "Escape" && typing) {
    event.target.blur();
    focusEntry();
  } else if (!typing && !event.ctrlKey && !event.metaKey && !event.altKey && Object.hasOwn(keys, event.key)) {
    event.preventDefault();
    keys[event.key]();
  }
});

// --- the page -------------------------------------------------------------------------------------------------------

document.documentElement.lang = language;
document.title = words.title;
for (const part of document.querySelectorAll("[data-word]")) part.textContent = words[part.dataset.word];
for (const part of document.querySelectorAll("[data-placeholder]")) part.placeholder = words[part.dataset.placeholder];
for (const part of document.querySelectorAll("[data-label]")) part.ariaLabel = words[part.dataset.label];
for (const [name, values] of Object.entries(filters)) {
  $(name).append(...values.map((value) => el("option", { value }, words[`${name}_${value}`])));
  $(name).addEventListener("change", restart);
}
$("key-list").append(...words.keys_list.flatMap(([pressed, does]) => [el("dt", {}, el("kbd", {}, pressed)), el("dd", {}, does)]));

let typed;
async function restart() {
  giveBack();
  [items, current] = [[], null];
  opening++;
  $("item").replaceChildren();
  try { await load(); } catch (error) { complain(error); }
}
$("item").addEventListener("input", (event) => { if (event.target.id === "correction") drafts.set(current.review_id, event.target.value); });
$("search").addEventListener("input", () => { clearTimeout(typed); typed = setTimeout(restart, 250); });
$("filters").addEventListener("submit", (event) => { event.preventDefault(); clearTimeout(typed); $("search").blur(); restart().then(() => step(1)); });
$("more").addEventListener("click", () => load(true).catch(complain));
$("show-keys").addEventListener("click", () => $("keys").showModal());
$("sign-out").addEventListener("click", () => leave());
$("sign-in").addEventListener("submit", (event) => { event.preventDefault(); key = $("key").value.trim(); enter(); });
addEventListener("pagehide", giveBack);
setInterval(refresh, REFRESH_MS);
setInterval(() => { if (current && mine && !document.hidden) lease().catch(complain); }, RENEW_MS);

if (key) enter(); else leave();
