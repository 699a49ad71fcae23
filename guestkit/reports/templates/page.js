"use strict";
(() => {
  const MOST_ROWS = 200; // rows of packages at once
  const MOST_GUESTS = 12; // links in a row, until more are asked for
  const collator = new Intl.Collator("en", { numeric: true });
  const all = (selector, within = document) => [...within.querySelectorAll(selector)];
  const byId = (id) => document.getElementById(id);

  // Everything is made of text nodes: what guests say is never parsed.
  function element(name, properties = {}, ...children) {
    const made = Object.assign(document.createElement(name), properties);
    made.append(...children);
    return made;
  }

  let read = null;
  function data() {
    read ??= JSON.parse(byId("data").textContent);
    return read;
  }

  for (const controls of all(".controls")) controls.hidden = false;

  // ---- sorting

  function keyOf(row, column) {
    const cell = row.cells[column];
    const key = cell.dataset.key ?? cell.textContent.trim();
    return key === "" || isNaN(key) ? key : Number(key);
  }

  const compare = (a, b) => (typeof a === "number" && typeof b === "number" ? a - b : collator.compare(a, b));

  function sort(table, header) {
    const direction = header.getAttribute("aria-sort") === "ascending" ? -1 : 1;
    for (const other of all("th[aria-sort]", table)) other.removeAttribute("aria-sort");
    header.setAttribute("aria-sort", direction === 1 ? "ascending" : "descending");
    const column = header.cellIndex;
    const body = table.tBodies[0];
    const rows = [...body.rows].map((row) => [keyOf(row, column), row]);
    rows.sort(([a], [b]) => {
      if ((a === "") !== (b === "")) return a === "" ? 1 : -1; // what is unknown comes last
      return direction * compare(a, b);
    });
    body.append(...rows.map(([, row]) => row));
  }

  for (const table of all("table.sortable")) {
    for (const header of table.tHead.rows[0].cells) {
      const button = element("button", { type: "button" }, ...header.childNodes);
      button.addEventListener("click", () => sort(table, header));
      header.append(button);
    }
  }

  // ---- guests

  const details = all("details.guest");
  const filter = byId("guest-filter");
  if (filter) {
    const rows = [...byId("guest-table").tBodies[0].rows];
    const texts = new Map();
    const tags = all("button[data-tag]");
    const show = () => {
      const words = filter.value.toLowerCase().split(/\s+/).filter(Boolean);
      const wanted = tags.filter((one) => one.getAttribute("aria-pressed") === "true").map((one) => one.dataset.tag);
      let count = 0;
      rows.forEach((row, number) => {
        if (words.length && !texts.has(row)) texts.set(row, row.textContent.toLowerCase());
        const has = row.dataset.tags.split(" ");
        const visible =
          words.every((word) => texts.get(row).includes(word)) && wanted.every((tag) => has.includes(tag));
        row.hidden = !visible;
        details[number].hidden = !visible;
        count += visible;
      });
      byId("guest-status").textContent = count === rows.length ? "" : `${count} of ${rows.length} guests`;
    };
    filter.addEventListener("input", show);
    for (const tag of tags) {
      tag.addEventListener("click", () => {
        tag.setAttribute("aria-pressed", String(tag.getAttribute("aria-pressed") !== "true"));
        show();
      });
    }
    for (const tile of all("a[data-show]")) {
      tile.addEventListener("click", () => {
        filter.value = "";
        for (const tag of tags) tag.setAttribute("aria-pressed", String(tag.dataset.tag === tile.dataset.show));
        show();
      });
    }
    if (filter.value) show(); // a browser that goes back keeps what was typed
    byId("open-all").addEventListener("click", () => details.forEach((one) => (one.open = !one.hidden)));
    byId("close-all").addEventListener("click", () => details.forEach((one) => (one.open = false)));
  }

  // A link to a guest opens it.
  function follow() {
    const match = /^#g(\d+)$/.exec(location.hash);
    const guest = match && details[Number(match[1])];
    if (!guest) return;
    guest.hidden = false;
    guest.open = true;
    guest.scrollIntoView();
    guest.querySelector("summary").focus({ preventScroll: true });
  }
  addEventListener("hashchange", follow);
  document.addEventListener("click", (event) => {
    // The same link again changes no hash.
    if (event.target instanceof HTMLAnchorElement && event.target.hash === location.hash) follow();
  });
  follow();

  // ---- packages

  function* numbers(ranges) {
    for (const range of ranges.split(",")) {
      const [first, last = first] = range.split("-").map(Number);
      for (let number = first; number <= last; number++) yield number;
    }
  }

  let versions = null;
  function packages() {
    versions ??= data().packages.flatMap(([name, found]) =>
      found.map(([version, ranges]) => ({ name, version, ranges, text: `${name} ${version}`.toLowerCase() })),
    );
    return versions;
  }

  const link = (number) => element("a", { href: `#g${number}` }, data().guests[number]);
  const separated = (links) => links.flatMap((one, place) => (place ? [", ", one] : [one]));

  function where(guests) {
    const cell = element("td", {}, ...separated(guests.slice(0, MOST_GUESTS).map(link)));
    const rest = guests.slice(MOST_GUESTS);
    if (rest.length) {
      const more = element("button", { type: "button", className: "more" }, `and ${rest.length} more`);
      more.addEventListener("click", () => more.replaceWith(...separated(rest.map(link))));
      cell.append(", ", more);
    }
    return cell;
  }

  const search = byId("package-search");
  if (search) {
    const table = byId("package-table");
    const find = () => {
      const words = search.value.toLowerCase().split(/\s+/).filter(Boolean);
      const found = words.length ? packages().filter(({ text }) => words.every((word) => text.includes(word))) : [];
      for (const header of all("th[aria-sort]", table)) header.removeAttribute("aria-sort");
      table.tBodies[0].replaceChildren(
        ...found.slice(0, MOST_ROWS).map(({ name, version, ranges }) => {
          const guests = [...numbers(ranges)];
          const count = element("td", { className: "number" }, String(guests.length));
          return element(
            "tr", {},
            element("th", { scope: "row" }, name), element("td", {}, version), count, where(guests),
          );
        }),
      );
      table.parentElement.hidden = !found.length;
      const cut = found.length > MOST_ROWS ? `; the first ${MOST_ROWS} are shown: type more of the name` : "";
      byId("package-status").textContent = words.length
        ? `${found.length} ${found.length === 1 ? "version" : "versions"}${cut}`
        : "Type a part of a name, and of a version if you like: openssl 3.0";
    };
    search.addEventListener("input", find);
    if (search.value) find();
  }

  // A guest's own list is made when it is opened.
  for (const list of all("details.packages")) {
    list.addEventListener("toggle", () => {
      if (!list.open || list.childElementCount > 1) return;
      const own = Number(list.closest("details.guest").dataset.number);
      const has = ({ ranges }) => {
        for (const number of numbers(ranges)) if (number >= own) return number === own;
        return false;
      };
      const items = packages().filter(has).map(({ name, version }) => {
        return element("li", {}, element("b", {}, name), ` ${version}`);
      });
      list.append(element("ul", {}, ...items));
    });
  }
})();
