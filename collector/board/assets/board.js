// Keeps the page up to date: asks for its main part every few seconds and changes only what differs, so that focus,
// scroll position, selection and opened details stay. Without this script the page reloads itself.
"use strict";
(() => {
  const main = document.getElementById("main");
  const lost = document.getElementById("lost");
  const clock = document.getElementById("clock");
  const every = 3000, longest = 30000, patience = 10000;
  let tag = "", wait = every, timer = 0, since = "", asking = false;

  const hour = (date) => new Date(date).toLocaleTimeString("vi-VN", { timeZone: "Asia/Ho_Chi_Minh", hour12: false });

  const alike = (a, b) => a.nodeType === b.nodeType && a.nodeName === b.nodeName && a.id === b.id;

  // morph makes the node have like want, which is alike.
  function morph(have, want) {
    if (have.nodeType !== Node.ELEMENT_NODE) {
      if (have.nodeValue !== want.nodeValue) have.nodeValue = want.nodeValue;
      return;
    }
    if (have.isEqualNode(want)) return;
    const opened = have.nodeName === "DETAILS" ? "open" : "";
    for (const a of [...have.attributes]) if (a.name !== opened && !want.hasAttribute(a.name)) have.removeAttribute(a.name);
    for (const a of want.attributes) if (have.getAttribute(a.name) !== a.value) have.setAttribute(a.name, a.value);
    children(have, want);
  }

  // children makes the children of have like those of want. One that has an id is found again wherever it stood.
  function children(have, want) {
    let at = have.firstChild;
    for (const n of [...want.childNodes]) {
      const mine = n.id && [...have.children].find((c) => alike(c, n));
      if (mine && mine !== at) at = have.insertBefore(mine, at);
      if (at && alike(at, n)) {
        const next = at.nextSibling;
        morph(at, n);
        at = next;
      } else {
        have.insertBefore(n, at);
      }
    }
    while (at) {
      const next = at.nextSibling;
      at.remove();
      at = next;
    }
  }

  function show(html) {
    const focused = document.activeElement && document.activeElement.id;
    // With line breaks around it, as in the page.
    const page = new DOMParser().parseFromString("<main>\n" + html + "\n</main>", "text/html");
    children(main, document.importNode(page.querySelector("main"), true));
    const again = focused && document.activeElement.id !== focused && document.getElementById(focused);
    if (again) again.focus({ preventScroll: true });
  }

  async function ask() {
    if (asking || document.hidden) return;
    asking = true;
    clearTimeout(timer);
    try {
      const resp = await fetch(location.pathname + "?part=main", {
        cache: "no-store", credentials: "same-origin", signal: AbortSignal.timeout(patience),
        headers: tag ? { "If-None-Match": tag } : {},
      });
      if (resp.status === 401) return location.reload();
      if (resp.status !== 200 && resp.status !== 304) throw new Error(String(resp.status));
      if (resp.status === 200) {
        show(await resp.text());
        tag = resp.headers.get("ETag") || "";
      }
      since = hour(resp.headers.get("Date") || Date.now());
      clock.textContent = document.body.dataset.checked.replace("{}", since);
      clock.hidden = false;
      lost.hidden = true;
      wait = every;
    } catch {
      lost.textContent = document.body.dataset.lost.replace("{}", since || hour(Date.now()));
      lost.hidden = false;
      wait = Math.min(wait * 2, longest);
    }
    asking = false;
    timer = setTimeout(ask, wait);
  }

  document.addEventListener("visibilitychange", ask);
  addEventListener("online", ask);
  timer = setTimeout(ask, every);
})();
