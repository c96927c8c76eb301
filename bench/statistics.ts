/** The value below which `fraction` of the values lie, linear between neighbours. NaN of nothing. */
export function quantile(values: readonly number[], fraction: number): number {
  const sorted = [...values].sort((a, b) => a - b);
  const position = (sorted.length - 1) * fraction;
  const low = Math.floor(position);
  const below = sorted[low] ?? Number.NaN;
  return below + (position - low) * ((sorted[low + 1] ?? below) - below);
}

export function median(values: readonly number[]): number {
  return quantile(values, 0.5);
}

/** Three significant digits, as people write them: 0.0123, 4.56, 171, 25300. */
export function threeDigits(value: number): string {
  if (!Number.isFinite(value)) return "–";
  return value >= 100 ? String(Math.round(value)) : String(Number(value.toPrecision(3)));
}
