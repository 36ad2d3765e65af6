/** Numbers as the page writes them. The unit of load is cores: CPU seconds per second. */

/** Narrow no-break space: between thousands, and before a unit. */
export const NARROW_SPACE = "\u202f";

/** Cores with two decimals, `<0.01` below 0.005, and `0` only for none. */
export function cores(value: number): string {
  if (value <= 0) return "0";
  return value < 0.005 ? "<0.01" : value.toFixed(2);
}

/** A signed change with two decimals, small ones with three: a true minus, and `0` only for none. */
export function changeText(value: number): string {
  const size = Math.abs(value);
  if (size < 0.0005) return value === 0 ? "0" : "<0.001";
  return `${value < 0 ? "−" : "+"}${size.toFixed(size < 0.005 ? 3 : 2)}`;
}

/** A share in 0…1 as per cent with one decimal. */
export function share(value: number): string {
  const percent = value * 100;
  const text = percent <= 0 ? "0" : percent < 0.05 ? "<0.1" : percent.toFixed(1);
  // 99.96 % is not all of it: only the whole is written as 100.0.
  return `${text === "100.0" && value < 1 ? "99.9" : text}${NARROW_SPACE}%`;
}

/** A whole number with its thousands apart. */
export function thousands(value: number): string {
  return String(Math.round(value)).replace(/\B(?=(\d{3})+(?!\d))/g, NARROW_SPACE);
}

/** Bytes in powers of 1000. */
export function bytes(value: number): string {
  let scaled = value;
  for (const unit of ["B", "kB", "MB", "GB"]) {
    if (scaled < 999.5) {
      const decimals = unit === "B" || scaled >= 99.5 ? 0 : scaled >= 9.95 ? 1 : 2;
      return `${scaled.toFixed(decimals)} ${unit}`;
    }
    scaled /= 1000;
  }
  return `${scaled.toFixed(2)} TB`;
}

/** A count with its noun, `1 sample`, `2 samples`. */
export function count(value: number, noun: string): string {
  return `${thousands(value)} ${noun}${value === 1 ? "" : "s"}`;
}

/** A share read aloud: `31.3 percent`. */
export function spokenShare(value: number): string {
  return share(value).replace(`${NARROW_SPACE}%`, " percent").replace("<", "below ");
}
