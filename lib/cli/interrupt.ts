import { INTERRUPTED } from "./failure.js";

/** A package runner and the terminal may both pass on the same Ctrl-C; nobody presses it twice as fast. */
const SAME_KEYPRESS_MS = 200;

/**
 * Turns Ctrl-C into an abort signal for as long as it is in scope. A second Ctrl-C ends the program at once, with nothing
 * saved.
 *
 * @example
 * ```ts
 * using interrupt = new Interrupt();
 * await model.fit(data, { signal: interrupt.signal });
 * ```
 */
export class Interrupt implements Disposable {
  readonly #controller = new AbortController();
  #pressed: number | undefined;

  constructor() {
    process.on("SIGINT", this.#press);
  }

  get signal(): AbortSignal {
    return this.#controller.signal;
  }

  [Symbol.dispose](): void {
    process.off("SIGINT", this.#press);
  }

  readonly #press = (): void => {
    const now = performance.now();
    if (this.#pressed === undefined) {
      this.#pressed = now;
      this.#controller.abort();
    } else if (now - this.#pressed > SAME_KEYPRESS_MS) {
      process.exit(INTERRUPTED);
    }
  };
}
