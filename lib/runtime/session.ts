import type { SessionGraph } from "../compile/index.js";
import type { Plan, PlanBuffer, PlanStep } from "../compile/plan.js";
import { VaeError } from "../errors.js";
import { isFloat32Array } from "../graph/kinds.js";
import { checkArray } from "./feed.js";
import { checkMemory } from "./memory.js";
import { type Addon, awaitNative, callNative, type HostArray, type NativeSession } from "./native.js";

export type { Plan, SessionGraph };

/** What a run does; every part is optional. */
export interface RunRequest {
  /** How many times the plan runs; default 1. */
  readonly steps?: number;
  /** The step counter of the first of them; noise, batch order and `step()` follow from it. Default 0. */
  readonly firstStep?: number;
  /** Seed of the noise: a whole number from 0 to 2^53 - 1; default 0. */
  readonly seed?: number;
  /** An array per input of the graph. Copied before `run` returns its promise. */
  readonly inputs?: Readonly<Record<string, HostArray>>;
  /** Aborted before: rejects with its reason. Aborted meanwhile: ends after the step in progress, with status `"stopped"`. */
  readonly signal?: AbortSignal;
  /** Measure every step of the plan. */
  readonly profile?: boolean;
}

/** What a run gave. */
export interface SessionResult {
  /** The graph's outputs after the last step, row-major. */
  readonly outputs: Readonly<Record<string, Float32Array>>;
  /** A row of terms for each completed step. */
  readonly terms: Float32Array;
  readonly termNames: readonly string[];
  /** Steps whose updates stand. */
  readonly completed: number;
  /**
   * `"done"`; `"stopped"` by {@link Session.stop} or the signal; or `"diverged"`: a term was NaN or infinite. The states are
   * then the last ones whose own terms were seen finite: the update that spoiled them was taken back.
   */
  readonly status: "done" | "stopped" | "diverged";
  /** For `"diverged"`: the counter of the step that met it, and the term's name. */
  readonly divergedStep: number;
  readonly divergedTerm: string;
  /** The step counter at which the states stand now: a run that goes on begins there. */
  readonly restoredStep: number;
  /** Nanoseconds per step of the plan, summed over the run, when asked for. */
  readonly profile: Float64Array;
}

/** Bytes that a session uses; residents may be shared with other sessions. */
export interface SessionMemory {
  readonly arena: number;
  readonly scratch: number;
  readonly residents: number;
}

/** What a session knows of the memory that it and its runs take. */
export interface SessionBacking {
  /** Who is named where memory does not suffice, and what is advised. */
  readonly request: { readonly operation: string; readonly hint: string };
  /** Copies that each run makes of what goes in and out. */
  readonly passedBytes: number;
  /** To be called once the session's memory is in use. */
  readonly release: () => void;
  readonly onDispose: (session: Session) => void;
}

/** Copies of less are not looked at before every run. */
const LEAST_LOOKED_AT = 16 * 2 ** 20;

/**
 * A compiled graph on a device. Runs queue up behind everything else queued on the device; JavaScript never waits.
 * Made by `Device.session`.
 */
export class Session implements Disposable {
  readonly plan: Plan;
  readonly #addon: Addon;
  readonly #native: NativeSession;
  readonly #backing: SessionBacking;
  /** Whether its memory is in use; until its first run has ended it is reserved. */
  #used = false;
  #disposed = false;

  /** @internal */
  constructor(addon: Addon, plan: Plan, native: NativeSession, backing: SessionBacking) {
    this.#addon = addon;
    this.plan = plan;
    this.#native = native;
    this.#backing = backing;
  }

  /**
   * Runs the graph some steps.
   *
   * @returns once the last step is done, or the run was stopped or has diverged; see {@link SessionResult}
   * @throws `VaeError` `"argument"`, `"shape"`, `"dtype"`, `"detached"` for what is handed over, `"disposed"` after
   *   {@link Session.dispose}, `"native"` for a fault in a kernel such as an index outside its table (the states are then
   *   as before this run), `"memory"` where what goes in and out does not fit; the signal's reason when it was aborted before
   */
  async run(request: RunRequest = {}): Promise<SessionResult> {
    const { signal } = request;
    signal?.throwIfAborted();
    this.#check("run");
    const options = {
      steps: checkInteger("steps", request.steps ?? 1, 1),
      firstStep: checkInteger("firstStep", request.firstStep ?? 0, 0),
      ...splitSeed(request.seed ?? 0),
      inputs: this.#inputs(request.inputs ?? {}),
      profile: request.profile ?? false,
    };
    const { request: asker, passedBytes } = this.#backing;
    if (this.#used && passedBytes >= LEAST_LOOKED_AT) {
      checkMemory(asker.operation, { "of copies that go in and out": passedBytes }, asker.hint);
    }
    const stop = () => this.stop();
    signal?.addEventListener("abort", stop, { once: true });
    try {
      const result = await awaitNative("run", () => this.#addon.run(this.#native, options));
      const { outputs, terms } = this.plan;
      return {
        ...result,
        outputs: Object.fromEntries(outputs.map(({ name }, i) => [name, toFloat32(name, result.outputs[i]!)])),
        termNames: terms.names,
        divergedTerm: result.status === "diverged" ? (terms.names[result.divergedTerm] ?? "") : "",
      };
    } finally {
      this.#used = true;
      this.#backing.release();
      signal?.removeEventListener("abort", stop);
    }
  }

  /** Ends the run in progress, and those of this session queued behind it, after the step it is in. */
  stop(): void {
    this.#addon.stop(this.#native);
  }

  /** @throws `VaeError` `"disposed"` */
  memory(): SessionMemory {
    this.#check("memory");
    return callNative("memory", () => this.#addon.memory(this.#native));
  }

  /** Stops what runs and frees the arena behind it. May be called again. */
  dispose(): void {
    if (this.#disposed) return;
    this.#disposed = true;
    this.#addon.disposeSession(this.#native);
    this.#backing.release();
    this.#backing.onDispose(this);
  }

  [Symbol.dispose](): void {
    this.dispose();
  }

  #check(operation: string): void {
    if (!this.#disposed) return;
    throw new VaeError({ code: "disposed", operation, problem: "the session was disposed" });
  }

  #inputs(given: Readonly<Record<string, HostArray>>): readonly HostArray[] {
    const { inputs, buffers } = this.plan;
    const unknown = Object.keys(given).find((name) => !inputs.some((input) => input.name === name));
    if (unknown !== undefined) {
      const expected = inputs.length === 0 ? "no inputs" : `inputs ${inputs.map(({ name }) => `"${name}"`).join(", ")}`;
      throw new VaeError({ code: "argument", operation: "run", expected, received: `"${unknown}"` });
    }
    return inputs.map(({ name, buffer }) => {
      const array = given[name];
      if (array === undefined) throw new VaeError({ code: "argument", operation: "run", problem: `the input "${name}" is missing` });
      const { dtype, elements } = buffers[buffer] as PlanBuffer;
      checkArray("run", `input "${name}"`, array, dtype, elements);
      return array;
    });
  }
}

function checkInteger(name: string, value: number, minimum: number): number {
  if (Number.isSafeInteger(value) && value >= minimum) return value;
  const expected = `${name} as a whole number of at least ${minimum}`;
  throw new VaeError({ code: "argument", operation: "run", expected, received: String(value) });
}

/** The two words of a seed. */
function splitSeed(seed: number): { readonly seedLow: number; readonly seedHigh: number } {
  checkInteger("seed", seed, 0);
  return { seedLow: seed % 2 ** 32, seedHigh: Math.floor(seed / 2 ** 32) };
}

function toFloat32(name: string, array: HostArray): Float32Array {
  if (isFloat32Array(array)) return array;
  throw new VaeError({ code: "dtype", operation: "run", expected: `output "${name}" as float32`, received: array.constructor.name });
}

/** What a step runs over, without the leading dimensions of extent 1. */
export function extentOf({ space }: Pick<PlanStep, "space">): readonly number[] {
  const first = space.findIndex((size) => size !== 1);
  return first < 0 ? [1] : space.slice(first);
}
