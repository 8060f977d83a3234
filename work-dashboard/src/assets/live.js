// Keeps the page up to date: when the server says that something changed, the page is loaded again, and the parts that
// are marked live take the place of the old ones. Without this script, everything works by loading pages.
"use strict";
(() => {
  const base = document.documentElement.dataset.base || "";
  const sign = document.getElementById("live");

  const localTimes = (root) => {
    for (const time of root.querySelectorAll("time")) {
      const local = new Date(time.dateTime).toLocaleString(undefined, { dateStyle: "medium", timeStyle: "medium" });
      if (time.dataset.local === undefined) time.title = local;
      else { time.title = time.textContent; time.textContent = local; }
    }
  };

  // How many are ticked; what is done with them waits until some are.
  const boxes = () => [...document.querySelectorAll('input[name="id"][type="checkbox"]')];
  const count = () => {
    const part = document.getElementById("selected");
    if (!part) return;
    const ticked = boxes().filter((box) => box.checked).length;
    part.querySelector("legend").textContent = ticked === 0 ? "Selected jobs" : `${ticked} selected`;
    for (const button of part.querySelectorAll("button")) button.disabled = ticked === 0;
  };
  const selectAll = () => {
    const all = document.getElementById("check-all");
    if (all) {
      all.hidden = false;
      all.onchange = () => { for (const box of boxes()) box.checked = all.checked; count(); };
    }
    count();
  };
  addEventListener("change", (event) => { if (event.target.name === "id") count(); });
  // A browser that goes back ticks again what was ticked.
  addEventListener("pageshow", count);

  // What a person is about to use stays as it is.
  const inUse = (part) =>
    part.querySelector('input[type="checkbox"]:checked') !== null ||
    (part.contains(document.activeElement) && document.activeElement !== part) ||
    String(getSelection()) !== "";

  let loading = false;
  const load = async () => {
    const parts = [...document.querySelectorAll("[data-live]")];
    if (loading || document.hidden || parts.length === 0) return;
    loading = true;
    try {
      const answer = await fetch(location.href, { headers: { accept: "text/html" }, redirect: "error" });
      if (!answer.ok) return;
      const fresh = new DOMParser().parseFromString(await answer.text(), "text/html");
      for (const part of parts) {
        const next = fresh.getElementById(part.id);
        if (!next || inUse(part)) continue;
        const open = [...part.querySelectorAll("details")].map((one) => one.open);
        part.replaceChildren(...next.childNodes);
        [...part.querySelectorAll("details")].forEach((one, place) => { if (place in open) one.open = open[place]; });
        localTimes(part);
      }
      selectAll();
    } catch { /* The next change tries again. */ } finally { loading = false; }
  };

  let source = null;
  const say = (text, off) => { sign.hidden = false; sign.textContent = text; sign.classList.toggle("off", off); };
  const watch = () => {
    if (source || document.hidden) return;
    source = new EventSource(base + "/events");
    let first = true;
    source.addEventListener("changed", () => { say("live", false); if (!first) load(); first = false; });
    source.onerror = () => { say("not live", true); };
  };
  const unwatch = () => { if (source) source.close(); source = null; };

  localTimes(document);
  selectAll();
  // On a phone, where one is may be out of sight.
  for (const here of document.querySelectorAll("nav a[aria-current]")) {
    const bar = here.parentElement;
    bar.scrollLeft = here.offsetLeft - bar.offsetLeft - (bar.clientWidth - here.clientWidth) / 2;
  }
  if (sign && document.querySelector("[data-live]")) {
    watch();
    // "5 min ago" is not true for long, even if nothing happens.
    setInterval(load, 30000);
    document.addEventListener("visibilitychange", () => { if (document.hidden) unwatch(); else { watch(); load(); } });
    addEventListener("pagehide", unwatch);
  }

  // "/" goes to the first field of the search.
  addEventListener("keydown", (event) => {
    if (event.key !== "/" || event.ctrlKey || event.metaKey || event.altKey) return;
    if (/^(INPUT|TEXTAREA|SELECT)$/.test(document.activeElement.tagName)) return;
    const field = document.querySelector('form[role="search"] input:not([type="hidden"])');
    if (field) { event.preventDefault(); field.focus(); }
  });
})();
