import { type GenericBar, Presets, SingleBar } from "cli-progress";
import type { Progress } from "../train/fit.js";

const BAR_SIZE = 14;

/** Without a terminal lines come after 1 s, 1.5 s, 2.25 s, …: soon at first, and few in the log of a long run. */
const FIRST_LINE_MS = 1000;
const GROWTH = 1.5;
const SLOWEST_LINES_MS = 30_000;

/** `loss` is left out: at β = 1 it is the ELBO with the other sign. */
const SHOWN_METRICS = ["elbo", "reconstruction", "kl"];

/**
 * Shows how a training gets on: as a bar on a terminal, otherwise as a line now and then, for logs. It goes to standard
 * error, so that standard output can be piped.
 *
 * @example
 * ```ts
 * using display = new ProgressDisplay();
 * await model.fit(data, { onProgress: display.show });
 * ```
 */
export class ProgressDisplay implements Disposable {
  readonly #stream: NodeJS.WriteStream;
  #bar: GenericBar | undefined;
  #last: Progress | undefined;
  #interval = FIRST_LINE_MS;
  #printed = { time: performance.now(), completed: 0 };

  constructor(stream: NodeJS.WriteStream = process.stderr) {
    this.#stream = stream;
  }

  /** Shows where the training stands; made for `onProgress`. */
  readonly show = (progress: Progress): void => {
    this.#last = progress;
    if (this.#stream.isTTY) {
      this.#bar ??= startBar(progress.steps, this.#stream);
      const width = (this.#stream.columns || 80) - BAR_SIZE - " 100% | ".length;
      this.#bar.update(progress.completed, { status: describeProgress(progress, width) });
      return;
    }
    if (performance.now() - this.#printed.time < this.#interval) return;
    this.#interval = Math.min(SLOWEST_LINES_MS, this.#interval * GROWTH);
    this.#printLine(progress);
  };

  /** Shows the last state and leaves the bar's line. */
  [Symbol.dispose](): void {
    this.#bar?.stop();
    const last = this.#last;
    if (this.#bar === undefined && last !== undefined && last.completed > this.#printed.completed) this.#printLine(last);
    this.#bar = this.#last = undefined;
  }

  #printLine(progress: Progress): void {
    this.#printed = { time: performance.now(), completed: progress.completed };
    this.#stream.write(`step ${progress.completed}/${progress.steps} | ${describeProgress(progress)}\n`);
  }
}

function startBar(steps: number, stream: NodeJS.WriteStream): GenericBar {
  // gracefulExit would answer Ctrl-C by itself: that is the Interrupt's task.
  const options = {
    format: "{bar} {percentage}% | {status}",
    barsize: BAR_SIZE,
    hideCursor: true,
    linewrap: false,
    gracefulExit: false,
    stream,
  };
  const bar = new SingleBar(options, Presets.shades_classic);
  bar.start(steps, 0, { status: "" });
  return bar;
}

/**
 * `epoch 3/10 | elbo -108.51 | reconstruction -83.22 | kl 25.29 | 190 steps/s | 24,320 samples/s | 18 s left`
 *
 * @param width where this is too narrow, what says least is left out first
 */
export function describeProgress(progress: Progress, width = Number.POSITIVE_INFINITY): string {
  const { epoch, epochs, metrics, stepsPerSecond, samplesPerSecond, secondsLeft } = progress;
  const known = SHOWN_METRICS.filter((name) => metrics[name] !== undefined);
  // An objective of the user's own may record other metrics.
  const shown = known.length > 0 ? known : Object.keys(metrics);
  // The first term, the time left and the speed say most.
  const parts: { readonly text: string; readonly importance: number }[] = [
    { text: `epoch ${epoch}/${epochs}`, importance: 3 },
    ...shown.map((name, place) => ({ text: `${name} ${metrics[name]!.toFixed(2)}`, importance: place === 0 ? 6 : 2 })),
    { text: `${rate(stepsPerSecond)} steps/s`, importance: 4 },
    { text: `${rate(samplesPerSecond)} samples/s`, importance: 1 },
  ];
  if (secondsLeft > 0 && Number.isFinite(secondsLeft)) parts.push({ text: `${duration(secondsLeft)} left`, importance: 5 });
  const line = () => parts.map(({ text }) => text).join(" | ");
  while (line().length > width && parts.length > 1) {
    const least = Math.min(...parts.map(({ importance }) => importance));
    parts.splice(
      parts.findLastIndex(({ importance }) => importance === least),
      1,
    );
  }
  return line();
}

function rate(value: number): string {
  return value >= 100 ? Math.round(value).toLocaleString("en-US") : value.toPrecision(2);
}

/** Seconds for people: `4.2 s`, `45 s`, `3 min 20 s`, `2 h 5 min`. */
export function duration(seconds: number): string {
  if (seconds < 9.95) return `${seconds.toFixed(1)} s`;
  const whole = Math.round(seconds);
  if (whole < 60) return `${whole} s`;
  if (whole < 3600) return `${Math.floor(whole / 60)} min ${whole % 60} s`;
  return `${Math.floor(whole / 3600)} h ${Math.floor((whole % 3600) / 60)} min`;
}
