// Follows the colours of the Airflow UI around this page: its choice lies in localStorage, its background on its root.
"use strict";

(() => {
  const system = matchMedia("(prefers-color-scheme: dark)");
  const framed = window.parent !== window;

  const chosen = () => {
    try {
      return localStorage.getItem("theme");
    } catch {
      return null; // storage is switched off
    }
  };

  const around = () => {
    try {
      return framed ? window.parent.document.documentElement : null;
    } catch {
      return null; // framed by another origin
    }
  };

  const follow = () => {
    const theme = chosen();
    const dark = theme === "dark" || (theme !== "light" && system.matches);
    document.documentElement.dataset.theme = dark ? "dark" : "light";
    const root = around();
    const background = root && getComputedStyle(root).backgroundColor;
    if (background && background !== "rgba(0, 0, 0, 0)") {
      document.documentElement.style.setProperty("--page", background);
    }
  };

  follow();
  addEventListener("storage", follow);
  system.addEventListener("change", follow);
  const root = around();
  if (root) {
    new MutationObserver(follow).observe(root, { attributes: true, attributeFilter: ["class"] });
  }
})();
