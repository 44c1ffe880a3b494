// What things look like. Everything that comes from the server becomes a text node, never HTML.
import { words } from "./reviews.words.js";

const clock = new Intl.DateTimeFormat(navigator.language, { hour: "2-digit", minute: "2-digit" });
const day = new Intl.DateTimeFormat(navigator.language, { month: "short", day: "numeric", hour: "2-digit", minute: "2-digit" });
const policyFaults = new Set(["retrieval_miss", "stale_policy", "missing_policy"]);

export const time = (moment) => clock.format(new Date(moment));

export function el(tag, attributes = {}, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (name === "on") for (const [event, call] of Object.entries(value)) made.addEventListener(event, call);
    else if (value === true) made.setAttribute(name, "");
    else if (value !== false && value != null) made.setAttribute(name, value);
  }
  made.append(...children.flat().filter((child) => child != null && child !== false));
  return made;
}

const chip = (text, tone = "") => el("span", { class: `chip ${tone}` }, text);
const text = (value, tone) => el("p", { class: `text panel ${tone ?? ""}` }, value);
const section = (title, ...children) => el("section", {}, el("h2", {}, title), ...children);
const named = (group, name) => words[`${group}_${name}`] ?? name;

export function entry(item, agent, chosen, open) {
  const taken = item.lease && item.lease.agent !== agent;
  return el("li", {}, el("button", { type: "button", "data-id": item.review_id, "aria-current": chosen && "true", on: { click: () => open(item.review_id) } },
    el("span", { class: "asked" }, item.question || item.review_id),
    el("span", { class: "chips" },
      chip(named("reason", item.reason), item.reason === "thumb" ? "warn" : item.reason === "held" ? "" : "bad"),
      item.fault && chip(named("fault", item.fault)),
      item.state === "decided" && chip(words.state_decided, "good"),
      taken && chip(item.lease.agent, "warn"),
      el("time", { datetime: item.opened_at }, day.format(new Date(item.opened_at))))));
}

export function matter(item) {
  const earlier = item.conversation.slice(0, -1);
  return el("div", { class: "matter" },
    el("p", { id: "lease", class: "lease quiet" }),
    section(words.asked, el("p", { class: "text question", id: "question" }, item.question),
      earlier.length > 0 && el("details", {}, el("summary", {}, words.before),
        earlier.map((message) => el("p", { class: "text" }, el("b", {}, `${named("role", message.role)}: `), message.content)))),
    item.pair ? pairOf(item) : section(words.answered, text(item.answer, "bad")),
    complaints(item),
    retrieved(item),
    item.blame && section(words.blame, el("p", {}, named("blame", item.blame.fault)), el("p", { class: "quiet" }, evidence(item.blame))),
    item.history.length > 0 && section(words.history, history(item)));
}

function pairOf({ pair }) {
  return el("section", {},
    el("div", { class: "two" },
      el("div", {}, el("h2", {}, words.chosen), text(pair.chosen, "good")),
      el("div", {}, el("h2", {}, words.rejected), text(pair.rejected, "bad"))),
    el("h2", {}, words.held),
    pair.held.map((reason) => text(reason, "warn")),
    pair.rival && [el("p", { class: "quiet" }, `${words.rival} (${pair.rival.pair_id})`), text(pair.rival.chosen, "warn")]);
}

function complaints(item) {
  const comments = item.feedback.filter((given) => given.comment);
  return [
    comments.length > 0 && section(words.comment, comments.map((given) => text(given.comment))),
    item.bad_cases.length > 0 && el("section", {}, item.bad_cases.map((report) =>
      el("p", { class: "quiet" }, words.complaint(report.reviewer, named("reason", report.reason))))),
  ];
}

function retrieved(item) {
  const cut = item.retrieved.length > 0 && item.retrieved.every((passage) => passage.text != null);
  return section(words.retrieved,
    item.retrieved.map((passage) => el("div", { class: "panel" },
      el("p", { class: "source" }, el("b", {}, passage.policy_id), el("span", {}, passage.section),
        el("span", {}, `${words.version} ${passage.version}`), el("span", {}, `${words.score} ${passage.score.toFixed(2)}`),
        !passage.current && chip(words.changed, "warn")),
      passage.text != null && el("p", { class: "text" }, passage.text))),
    !cut && item.prompt && [el("p", { class: "quiet" }, words.whole_prompt), text(item.prompt)],
    item.retrieved.length === 0 && !item.prompt && el("p", { class: "quiet" }, words.nothing_retrieved));
}

function evidence(blame) {
  const place = [blame.policy_id, blame.section].filter(Boolean).join(", ");
  return policyFaults.has(blame.fault) || !place ? blame.detail : `${blame.detail} (${place})`;
}

function history(item) {
  const made = new Map(item.made.map((pair) => [pair.event_id, pair]));
  return el("ol", {}, item.history.map((past) => {
    const pair = made.get(past.event_id);
    return el("li", {},
      el("p", { class: "quiet" }, `${day.format(new Date(past.occurred_at))} · ${past.reviewer} · ${named("act", past.action)}`,
        pair ? ` · ${words.made(pair.pair_id, pair.state)}` : "", past.note ? ` · ${past.note}` : ""),
      past.corrected_answer && text(past.corrected_answer, "good"));
  }));
}

export function decision(item, act) {
  const button = (name, key, call, attributes = {}) =>
    el("button", { type: "button", id: `do-${name}`, ...attributes, on: { click: call } }, `${words[name]} `, el("kbd", {}, key));
  if (item.state === "decided") {
    return el("div", { class: "decision" }, el("div", { class: "actions" },
      el("button", { type: "button", id: "do-undo-this", on: { click: act.undoThis } }, words.undo_this)));
  }
  const pair = item.kind === "pair";
  const form = el("form", { class: "decision", id: "decision", on: { submit: (event) => { event.preventDefault(); act.send(); } } },
    item.imported ? el("p", { class: "quiet" }, words.imported) : [
      el("label", { for: "correction" }, pair ? words.correction_pair : words.correction),
      el("textarea", { id: "correction", placeholder: words.correction_hint, lang: "", spellcheck: "true" }),
    ],
    el("div", { class: "note" }, el("label", { for: "note" }, words.note), el("input", { id: "note", maxlength: 1000, autocomplete: "off" })),
    el("div", { class: "actions" },
      !item.imported && el("button", { class: "main", id: "do-send" }, `${words.send} `, el("kbd", {}, "Ctrl+Enter")),
      pair && button("approve", "a", act.approve),
      button("reject", "x", act.reject),
      button("undo", "u", act.undo, { class: "last" })));
  if (pair && !item.imported) form.querySelector("#correction").value = item.pair.chosen;
  return form;
}

export const blank = (title, hint) => el("div", { class: "blank" }, el("strong", {}, title), hint);
