// Sets the theme before the first paint. Classic script, in the head: a module would run too late and flash.
(() => {
  const root = document.documentElement;
  const dark = window.matchMedia("(prefers-color-scheme: dark)");
  const apply = () => {
    const choice = root.dataset.themeChoice;
    root.dataset.bsTheme = choice === "auto" ? (dark.matches ? "dark" : "light") : choice;
    document.dispatchEvent(new CustomEvent("theme"));
  };
  dark.addEventListener("change", apply);
  document.addEventListener("theme-choice", (event) => {
    root.dataset.themeChoice = event.detail;
    apply();
  });
  apply();
})();
