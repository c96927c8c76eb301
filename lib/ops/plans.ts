// One-op plans, compiled at the first call of a kind and kept for the next: an op is a graph of one function on inputs of
// the call's types, and runs through the same compiler, session and kernels as a training step.
import { setImmediate } from "node:timers/promises";
import { describe, VaeError } from "../errors.js";
import { checkOptions, isRecord } from "../graph/arguments.js";
import { isTooLarge, memoryError, newArray } from "../graph/bytes.js";
import { cast } from "../graph/identity.js";
import { isArray } from "../graph/kinds.js";
import { input } from "../graph/leaves.js";
import { calledBy, checkWhole } from "../graph/table.js";
import { sizeOf, type Tensor, type TensorType, topological } from "../graph/tensor.js";
import { Device, type DeviceOptions } from "../runtime/device.js";
import { dtypeOf } from "../runtime/feed.js";
import type { HostArray } from "../runtime/native.js";
import type { Session } from "../runtime/session.js";
import { type NdArray, toNdArray } from "./ndarray.js";

/** Where a family of ops runs and how much it keeps. */
export interface OpsOptions extends DeviceOptions {
  /** Compiled plans kept at most, the least recently used going first; default 64. */
  readonly maximumPlans?: number;
  /** Bytes of working memory that kept plans hold at most; default 256 MiB. A larger plan is dropped after its run. */
  readonly maximumBytes?: number;
}

/** What is kept, and what happened so far. */
export interface OpsStatistics {
  /** Plans kept now, and the bytes of working memory that they hold. */
  readonly plans: number;
  readonly bytes: number;
  /** Plans compiled, and calls that ran one, so far. */
  readonly compiled: number;
  readonly calls: number;
}

/** Which numbers a draw gives: pure functions of seed, step, stream and element, as in training. */
export interface Draw {
  /** The key of the noise, a whole number from 0; default 0. */
  readonly seed?: number;
  /** The step counter, from 0; default 0. */
  readonly step?: number;
  /** Tells draws of one step apart, from 0 to 2³¹ − 1; default 0. */
  readonly stream?: number;
}

/** The names of {@link Draw}. */
export const drawOptions = ["seed", "step", "stream"] as const satisfies readonly (keyof Draw)[];

/** A call of a graph function on arrays; the function gives a tensor, or several by name. */
export interface OpCall<Result extends Tensor | Parts = Tensor> {
  /** The function's public name, for errors and for the key of the plan. */
  readonly operation: string;
  /** The function that the user called: errors point at the line that did. */
  readonly caller: (...inputs: never[]) => unknown;
  /** Arrays wherever `build` takes tensors; everything else becomes part of the plan. */
  readonly arguments: readonly unknown[];
  /** The graph function. */
  readonly build: (...inputs: never[]) => Result;
  readonly draw?: Draw | undefined;
  /** Looks at values that the graph has no say in; called once shapes and types are found right. */
  readonly check?: (() => void) | undefined;
}

/** The tensors of a result that has several. */
type Parts<Name extends string = string> = { readonly [Part in Name]: Tensor };

/** What helps where arrays do not fit. */
const SMALLER = "use smaller arrays, or a part of them at a time";

interface KeptPlan {
  readonly session: Session;
  /** Of each output, by its name. */
  readonly types: ReadonlyMap<string, TensorType>;
  readonly bytes: number;
  running: number;
}

export class Plans {
  readonly #options: OpsOptions;
  readonly #maximumPlans: number;
  readonly #maximumBytes: number;
  /** By key; the first is the least recently used. */
  readonly #kept = new Map<string, KeptPlan>();
  #device: Device | undefined;
  #bytes = 0;
  #compiled = 0;
  #calls = 0;
  #disposed = false;

  constructor(options: OpsOptions) {
    checkOptions("createOps", options, ["device", "threads", "tier", "precision", "maximumPlans", "maximumBytes"]);
    const { maximumPlans = 64, maximumBytes = 2 ** 28, ...device } = options;
    checkWhole("createOps", "maximumPlans", maximumPlans, 0);
    checkWhole("createOps", "maximumBytes", maximumBytes, 0);
    this.#maximumPlans = maximumPlans;
    this.#maximumBytes = maximumBytes;
    this.#options = { device: "cpu", ...device };
  }

  get statistics(): OpsStatistics {
    return { plans: this.#kept.size, bytes: this.#bytes, compiled: this.#compiled, calls: this.#calls };
  }

  /** Runs a call that gives one array. The arrays are copied before this returns its promise. */
  async run(call: OpCall): Promise<NdArray<HostArray>> {
    return (await this.runParts({ ...call, build: (...inputs) => ({ result: call.build(...inputs) }) })).result;
  }

  /** Runs a call that gives several arrays, all from one plan. */
  async runParts<Name extends string>(call: OpCall<Parts<Name>>): Promise<{ readonly [Part in Name]: NdArray<HostArray> }> {
    const { operation } = call;
    const { seed = 0, step = 0 } = call.draw ?? {};
    const [plan, arrays] = calledBy(call.caller, [], () => {
      this.#check(operation);
      checkWhole(operation, "the seed", seed, 0);
      checkWhole(operation, "the step", step, 0);
      const found: NdArray<HostArray>[] = [];
      const key = `${operation}${keyOf(operation, call.arguments, found)}`;
      const kept = this.#plan(key, call);
      call.check?.();
      return [kept, found] as const;
    });
    this.#calls++;
    plan.running++;
    try {
      const inputs = Object.fromEntries(plan.session.plan.inputs.map(({ name }) => [name, arrays[Number(name)]!.data]));
      const { outputs, status } = await plan.session.run({ inputs, seed, firstStep: step });
      if (status !== "done") this.#check(operation);
      const results: [string, NdArray<HostArray>][] = [];
      for (const [name, type] of plan.types) {
        results.push([name, { data: await asType(operation, outputs[name]!, type), shape: type.shape }]);
      }
      this.#check(operation);
      return Object.fromEntries(results) as { readonly [Part in Name]: NdArray<HostArray> };
    } catch (error) {
      // The arrays of the results, which the engine could not make.
      if (!isTooLarge(error)) throw error;
      const needs = { "of results": [...plan.types.values()].reduce((sum, { shape }) => sum + 4 * sizeOf(shape), 0) };
      throw memoryError(operation, { needs, hint: SMALLER, cause: error });
    } finally {
      plan.running--;
      this.#evict();
    }
  }

  /** Drops everything. Calls in progress reject, and so do later ones. */
  dispose(): void {
    if (this.#disposed) return;
    this.#disposed = true;
    for (const { session } of this.#kept.values()) session.dispose();
    this.#kept.clear();
    this.#bytes = 0;
    this.#device?.dispose();
  }

  #check(operation: string): void {
    if (this.#disposed)
      throw new VaeError({ code: "disposed", operation, problem: "these ops were disposed", hint: "createOps() makes new ones" });
  }

  /** The plan of a key, now the most recently used. */
  #plan(key: string, call: OpCall<Parts>): KeptPlan {
    const plan = this.#kept.get(key) ?? this.#compile(call);
    this.#kept.delete(key);
    this.#kept.set(key, plan);
    return plan;
  }

  #compile(call: OpCall<Parts>): KeptPlan {
    const asked = build(call, (tensor) => tensor);
    const outputs = Object.entries(asked).map(([name, tensor]) => [name, asFloat(tensor, () => build(call, cast)[name]!)] as const);
    this.#device ??= Device.open(this.#options);
    const session = this.#device.session({ outputs: Object.fromEntries(outputs) }, { operation: call.operation, hint: SMALLER });
    const { arena, scratch } = session.memory();
    const bytes = arena + scratch;
    this.#compiled++;
    this.#bytes += bytes;
    return {
      session,
      types: new Map(Object.entries(asked).map(([name, { shape, dtype }]) => [name, { shape, dtype }])),
      bytes,
      running: 0,
    };
  }

  /** A plan that runs is kept until it has: disposing of it would stop the run. */
  #evict(): void {
    for (const [key, { session, bytes, running }] of this.#kept) {
      if (this.#kept.size <= this.#maximumPlans && this.#bytes <= this.#maximumBytes) return;
      if (running > 0) continue;
      this.#kept.delete(key);
      this.#bytes -= bytes;
      session.dispose();
    }
  }
}

/** Kernels that store whole numbers: rows of a table, or places. */
const STORES_WHOLE_NUMBERS: ReadonlySet<string> = new Set(["gather", "shuffled_indices", "sort_indices"]);

/**
 * The tensor as sessions give it, in float32, through which whole numbers pass and come back as what they were. Tile programs
 * compute in it too, so what they only move is cast on the way in.
 */
function asFloat(tensor: Tensor, castOnTheWayIn: () => Tensor): Tensor {
  if (tensor.dtype === "float32") return tensor;
  return topological([tensor]).some(({ op }) => STORES_WHOLE_NUMBERS.has(op)) ? cast(tensor) : castOnTheWayIn();
}

/** The call's graph, with an input for every array. */
function build(call: OpCall<Parts>, enter: (tensor: Tensor) => Tensor): Parts {
  let count = 0;
  const symbolic = (value: unknown): unknown => {
    const array = toNdArray(call.operation, value);
    if (array) return enter(input(String(count++), array.shape, dtypeOf(array.data)));
    return isArray(value) ? value.map(symbolic) : value;
  };
  return call.build(...(call.arguments.map(symbolic) as never[]));
}

/** All that a plan depends on, as text: types of arrays, and everything else by value. Collects the arrays in `found`. */
function keyOf(operation: string, value: unknown, found: NdArray<HostArray>[], depth = 0): string {
  if (depth > DEEPEST) throw unsuitable(operation, `a value nested more than ${DEEPEST} deep`);
  const array = toNdArray(operation, value);
  if (array) {
    found.push(array);
    return `${dtypeOf(array.data)}[${array.shape}]`;
  }
  if (isArray(value)) return `(${Array.from(value, (item) => keyOf(operation, item, found, depth + 1)).join()})`;
  if (typeof value === "string") return JSON.stringify(value);
  if (typeof value !== "object" || value === null) return Object.is(value, -0) ? "-0" : String(value);
  // The entries of a Map or an instance are none of its properties: two that differ would look alike here.
  if (!isRecord(value)) throw unsuitable(operation, describe(value));
  const entries = Object.entries(value).filter(([, item]) => item !== undefined);
  return `{${entries.map(([name, item]) => `${JSON.stringify(name)}:${keyOf(operation, item, found, depth + 1)}`).join()}}`;
}

/** Nothing that an op takes nests deeper: a list of pairs in options. */
const DEEPEST = 8;

function unsuitable(operation: string, received: string): VaeError {
  return new VaeError({ code: "argument", operation, expected: "arrays, numbers and plain options", received });
}

/** From 2²⁴ on float32 skips whole numbers. */
const EXACT = 2 ** 24;

/** Values handled between two turns of the event loop: about a millisecond. */
const VALUES_PER_TURN = 1 << 20;

/** A session's result as the type that the graph gives it, made in turns. */
async function asType(operation: string, data: Float32Array, { dtype }: TensorType): Promise<HostArray> {
  if (dtype === "float32") return data;
  const room = { operation, what: `of ${dtype} results`, hint: SMALLER };
  const result = dtype === "uint8" ? newArray(Uint8Array, data.length, room) : newArray(Int32Array, data.length, room);
  for (let begin = 0; begin < data.length; begin += VALUES_PER_TURN) {
    if (begin > 0) await setImmediate();
    const part = data.subarray(begin, begin + VALUES_PER_TURN);
    const index = dtype === "uint8" ? -1 : part.findIndex((value) => Math.abs(value) >= EXACT);
    if (index >= 0) {
      throw new VaeError({
        code: "data",
        operation,
        expected: "int32 values between -2^24 and 2^24, which float32 holds exactly",
        received: `about ${part[index]} at index ${begin + index} of the result`,
      });
    }
    result.set(part, begin);
  }
  return result;
}
