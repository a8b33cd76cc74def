// Numbers for people, as jobs/core/units.py writes them on the server.

const GIB = 2 ** 30;

export function gib(bytes) {
  if (bytes == null) return "–";
  return (bytes / GIB).toFixed(1).replace(/\.0$/, "");
}

export function percent(share) {
  return share == null ? "–" : `${Math.round(share * 100)} %`;
}

export function duration(seconds) {
  const whole = Math.round(seconds);
  const pad = (number) => String(number).padStart(2, "0");
  for (const [unit, name, below, belowName] of [
    [86400, "d", 3600, "h"],
    [3600, "h", 60, "m"],
    [60, "m", 1, "s"],
  ]) {
    if (whole >= unit) {
      const rest = Math.floor((whole % unit) / below);
      if (!rest) return `${Math.floor(whole / unit)}${name}`;
      return `${Math.floor(whole / unit)}${name}${belowName === "h" ? rest : pad(rest)}${belowName}`;
    }
  }
  return `${whole}s`;
}

// In the time zone that the reader chose with their account, else in the browser's.
export function clockTime(date) {
  const zone = globalThis.document?.documentElement.dataset.zone;
  const form = { year: "numeric", month: "2-digit", day: "2-digit", hour: "2-digit", minute: "2-digit", hourCycle: "h23" };
  const parts = new Intl.DateTimeFormat("en", { ...form, timeZone: zone }).formatToParts(date);
  const part = Object.fromEntries(parts.map(({ type, value }) => [type, value]));
  return `${part.year}-${part.month}-${part.day} ${part.hour}:${part.minute}`;
}

// A time of today without its date.
export function shortTime(date) {
  const text = clockTime(date);
  return text.startsWith(clockTime(new Date()).slice(0, 10)) ? text.slice(11) : text;
}

// A time that is left, no more exact than it is known.
export function about(seconds) {
  return duration(seconds > 300 ? Math.round(seconds / 60) * 60 : seconds);
}
