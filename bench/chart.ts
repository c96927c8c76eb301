import { bestPeers, type Measurement, type Race } from "./rounds.js";
import { threeDigits } from "./statistics.js";

const BAR = 18;
const GAP = 8;
const NAMES = 210;
const BARS = 400;
const WIDTH = 760;

const colours: Readonly<Record<string, string>> = { "node-vae": "#2f6fdb", PyTorch: "#dd5b2a" };

/**
 * Training steps per second as bars, a group for each workload, fastest first: node-vae on every instruction tier, the others in
 * their best configuration, all on the same number of threads. A standalone SVG, readable on white and on dark pages.
 */
export function chart(races: readonly Race[], caption: string): string {
  let y = 30;
  const groups = races.map(({ workload, measurements }) => {
    const shown = onEqualThreads(measurements);
    const fastest = Math.max(...shown.map(({ stepsPerSecond }) => stepsPerSecond));
    const title = text(0, y, `${workload.name}: ${workload.network}, batch ${workload.batch}, training steps per second`, "title");
    y += 14;
    const bars = shown
      .sort((a, b) => b.stepsPerSecond - a.stepsPerSecond)
      .map((measurement) => {
        const drawn = bar(measurement, y, fastest);
        y += BAR + GAP;
        return drawn;
      });
    y += 30;
    return [title, ...bars].join("\n");
  });
  return `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${WIDTH} ${y + 10}" role="img" font-family="system-ui, sans-serif" font-size="13">
<title>Training steps per second of node-vae and others</title>
<style>text { fill: #24292f } .title { font-weight: 600 } .note { font-size: 11px; fill: #6e7781 }
@media (prefers-color-scheme: dark) { text { fill: #e6edf3 } .note { fill: #8d96a0 } }</style>
${groups.join("\n")}
${text(0, y - 8, caption, "note")}
</svg>
`;
}

/** Bars side by side claim to be comparable: node-vae's runs on more threads than the others had are left to the table. */
function onEqualThreads(measurements: readonly Measurement[]): Measurement[] {
  const peers = bestPeers(measurements);
  const own = measurements.filter(({ family }) => family === "node-vae");
  const comparable = own.filter(({ threads }) => peers.length === 0 || peers.some((peer) => peer.threads === threads));
  return [...comparable, ...peers];
}

function bar({ name, library, family, threads, stepsPerSecond, fractionOfPeak }: Measurement, y: number, fastest: number): string {
  const width = Math.max(1, (BARS * stepsPerSecond) / fastest);
  const label = `${threeDigits(stepsPerSecond)} (${Math.round(100 * fractionOfPeak)} % of peak)`;
  const who = `${family === "node-vae" ? name.replace(/-\d+$/, "") : library}, ${threads} thread${threads > 1 ? "s" : ""}`;
  return [
    text(0, y + BAR - 5, who),
    `<rect x="${NAMES}" y="${y}" width="${width.toFixed(1)}" height="${BAR}" rx="2" fill="${colours[family] ?? "#8c959f"}"/>`,
    text(NAMES + width + 6, y + BAR - 5, label),
  ].join("");
}

function text(x: number, y: number, content: string, style?: string): string {
  const escaped = content.replace(/&/g, "&amp;").replace(/</g, "&lt;");
  return `<text x="${x.toFixed(1)}" y="${y}"${style === undefined ? "" : ` class="${style}"`}>${escaped}</text>`;
}
