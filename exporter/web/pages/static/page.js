// Times in the reader's zone, copy buttons, and a page that stays up to date: it is fetched again and the
// regions that have changed are replaced, without moving focus, selection or scrolling.
"use strict";
(() => {
  const EVERY = 2000;
  const seen = new Map();

  const finish = (root) => {
    for (const time of root.querySelectorAll("time")) {
      const local = new Date(time.dateTime).toLocaleString(undefined, { dateStyle: "medium", timeStyle: "long" });
      if (time.className === "exact") time.textContent = local;
      else time.title = local;
    }
    for (const button of root.querySelectorAll("button.copy")) button.hidden = false;
  };

  const regions = (root) => root.querySelectorAll("[data-live]");

  const isSelectedIn = (region) => {
    const selection = getSelection();
    return !selection.isCollapsed && selection.containsNode(region, true);
  };

  const replace = (old, fresh) => {
    const focused = old.contains(document.activeElement) ? document.activeElement : null;
    const key = focused && (focused.getAttribute("href") || focused.getAttribute("aria-label"));
    const fit = (one) => (one.getAttribute("href") || one.getAttribute("aria-label")) === key;
    const next = focused && [...fresh.querySelectorAll("a, button")].find(fit);
    if (focused && !next) return false;
    finish(fresh);
    old.replaceChildren(...fresh.childNodes);
    if (next) next.focus({ preventScroll: true });
    return true;
  };

  const refresh = async () => {
    const stale = document.getElementById("stale");
    try {
      const answer = await fetch(location.href, { cache: "no-store" });
      if (!answer.ok) throw new Error(answer.statusText);
      const fetched = new DOMParser().parseFromString(await answer.text(), "text/html");
      for (const fresh of regions(fetched)) {
        const name = fresh.dataset.live;
        const html = fresh.innerHTML;
        const old = document.querySelector(`[data-live="${name}"]`);
        if (!old || seen.get(name) === html || isSelectedIn(old)) continue;
        if (replace(old, fresh)) seen.set(name, html);
      }
      stale.hidden = true;
    } catch {
      stale.hidden = false;
    }
  };

  document.addEventListener("click", (event) => {
    const button = event.target.closest("button.copy");
    if (!button) return;
    // Not navigator.clipboard, which is missing where the page comes over plain HTTP.
    getSelection().selectAllChildren(button.previousElementSibling);
    button.textContent = document.execCommand("copy") ? "Copied" : "Selected";
    if (button.textContent === "Copied") getSelection().removeAllRanges();
  });

  for (const region of regions(document)) seen.set(region.dataset.live, region.innerHTML);
  finish(document);
  const answered = performance.getEntriesByType("navigation")[0].responseStatus;
  if (seen.size && (!answered || answered < 400)) {
    const again = async () => {
      if (!document.hidden) await refresh();
      setTimeout(again, EVERY);
    };
    setTimeout(again, EVERY);
    document.addEventListener("visibilitychange", () => { if (!document.hidden) refresh(); });
  }
})();
