import { encodePlan } from "../compile/encode.js";
import { compile, compileInTurns, type SessionGraph } from "../compile/index.js";
import { checkPlanSize } from "../compile/limits.js";
import type { Plan } from "../compile/plan.js";
import { describe, VaeError } from "../errors.js";
import { checkOptions } from "../graph/arguments.js";
import type { MemoryNeeds } from "../graph/bytes.js";
import { checkShape, type DType, type Shape, sameShape, showShape, sizeOf, type Tensor } from "../graph/tensor.js";
import { checkArray, hostArray } from "./feed.js";
import { checkMemory, reserveMemory } from "./memory.js";
import {
  type Addon,
  awaitNative,
  type CudaInfo,
  callNative,
  type HostArray,
  loadAddon,
  type NativeBuffer,
  type NativeContext,
  type Precision,
} from "./native.js";
import { Session } from "./session.js";
import { checkThreads, defaultThreads } from "./threads.js";

/** Where and how to compute. */
export interface DeviceOptions {
  /**
   * `"auto"` (the default) is CUDA where it is compiled in and usable, else the CPU; {@link Device.fallback} then says why.
   * The first opening of a CUDA device in a process takes some tenths of a second.
   */
  readonly device?: "auto" | "cpu" | "cuda" | `cuda:${number}`;
  /**
   * Threads on the CPU; default `NODE_VAE_THREADS`, else the processors that this process may use, within its container's
   * quota. Results do not depend on it.
   */
  readonly threads?: number;
  /** Instruction tier, `"avx512"`, `"avx2"`, `"neon"` or `"portable"`; default `NODE_VAE_ISA`, else the best there is. */
  readonly tier?: string;
  /**
   * How products and convolutions are computed on CUDA: `"float32"` (the default), or on tensor cores with operands rounded to
   * `"tf32"` (10 bits of mantissa) or `"bfloat16"` (7 bits), summed up in float32. The CPU has `"float32"` alone.
   */
  readonly precision?: Precision;
}

const PRECISIONS: readonly Precision[] = ["float32", "tf32", "bfloat16"];

/** For whom memory is asked, and what is said where there is not enough. */
export interface MemoryRequest {
  readonly operation: string;
  /** What to do about it. */
  readonly hint: string;
  /** What the working memory is for: `"for a batchSize of 128"`. */
  readonly working?: string;
  /** What a resident is, by its name: `"of weights"`. Default `"of tensors"`. */
  readonly kindOf?: (name: string) => string;
  /** Residents that will be declared beside those of the plan. */
  readonly declared?: readonly { readonly name: string; readonly shape: Shape }[];
}

const ANY_SESSION: MemoryRequest = { operation: "session", hint: "use smaller tensors: fewer rows at a time, or a smaller batch" };

/** What is not known by a better name, in errors. */
const SCRATCH = "of scratch memory";
const PASSED = "of copies that go in and out";

const BYTES = { float32: 4, int32: 4, uint8: 1 } as const satisfies Record<DType, number>;

/** Copied at once while the event loop waits about a millisecond; more goes in pieces. */
export const WRITE_BYTES = 4 << 20;

/** Where {@link Resident.write} writes. */
export interface WriteOptions {
  /**
   * The element that the first one of the data goes to. As many elements are written as the data have, and the others stay;
   * without an offset the data are the whole content.
   */
  readonly offset?: number;
}

/** How long compiling may hold the event loop at a time. */
const TURN_MILLISECONDS = 4;

/** Memory that lives on a device between runs: weights, optimizer state, data. */
export class Resident implements Disposable {
  readonly name: string;
  readonly shape: Shape;
  readonly dtype: DType;
  /** @internal */
  readonly native: NativeBuffer;
  readonly #addon: Addon;
  readonly #onRelease: (resident: Resident) => void;
  #released = false;

  /** @internal */
  constructor(addon: Addon, native: NativeBuffer, name: string, shape: Shape, dtype: DType, onRelease: (resident: Resident) => void) {
    this.#addon = addon;
    this.native = native;
    this.name = name;
    this.shape = Object.freeze([...shape]);
    this.dtype = dtype;
    this.#onRelease = onRelease;
  }

  get released(): boolean {
    return this.#released;
  }

  /**
   * Overwrites the content, or the part of it behind an offset, once everything queued on the device before is done.
   *
   * Up to 4 MiB are copied and queued before the promise is returned. More goes in pieces between turns of the event loop:
   * leave the array alone, and queue nothing that reads the resident, until the promise resolves.
   *
   * @param data a typed array of the resident's dtype: all elements, or with an offset as many as fit behind it
   * @throws `VaeError` `"dtype"`, `"shape"` for data that do not fit, `"argument"` for options; `"detached"` when the buffer is
   *   transferred or resized before its content is copied (a part may have been written then); `"disposed"`
   */
  async write(data: HostArray, options: WriteOptions = {}): Promise<void> {
    const operation = `write "${this.name}"`;
    const what = "data";
    const elements = sizeOf(this.shape);
    this.#check(operation);
    const { offset } = checkOptions(operation, options, ["offset"]);
    checkArray(operation, what, data, this.dtype, offset === undefined ? elements : undefined);
    const begin = offset === undefined ? 0 : checkOffset(operation, offset);
    const { length } = data;
    if (begin + length > elements) {
      const room = Math.max(0, elements - begin);
      const expected = `at most ${room} element${room === 1 ? "" : "s"} from offset ${begin} on, in a resident of ${elements}`;
      throw new VaeError({ code: "shape", operation, expected, received: String(length) });
    }
    const isPart = length < elements; // and others will follow
    const piece = WRITE_BYTES / data.BYTES_PER_ELEMENT;
    for (let at = 0; at < length; at += piece) {
      this.#check(operation);
      checkArray(operation, what, data, this.dtype, length);
      const part = data.subarray(at, at + piece);
      await awaitNative(operation, () => this.#addon.write(this.native, begin + at, part, isPart));
    }
  }

  /** Copies the content out, behind everything queued on the device. */
  async read(): Promise<HostArray> {
    const operation = `read "${this.name}"`;
    this.#check(operation);
    return awaitNative(operation, () => this.#addon.read(this.native));
  }

  /** Forgets the resident; its memory goes with the last session that uses it. May be called again. */
  release(): void {
    if (this.#released) return;
    this.#released = true;
    this.#addon.release(this.native);
    this.#onRelease(this);
  }

  [Symbol.dispose](): void {
    this.release();
  }

  #check(operation: string): void {
    if (this.#released) throw new VaeError({ code: "disposed", operation, problem: "the resident was released" });
  }
}

/** One device queue with resident tensors by name. Everything queued on it runs in order, on threads of its own. */
export class Device implements Disposable {
  /** `"cpu"` or `"cuda:0"`, … */
  readonly name: string;
  readonly threads: number;
  /** The instruction tier of the processor's kernels. */
  readonly tier: string;
  /** How products and convolutions are computed. */
  readonly precision: Precision;
  /** Why `"auto"` is the CPU; undefined when it is not, or another device was asked for. */
  readonly fallback: string | undefined;
  readonly #addon: Addon;
  readonly #context: NativeContext;
  readonly #residents = new Map<string, Resident>();
  readonly #sessions = new Set<Session>();
  #disposed = false;

  /**
   * Opens a device.
   *
   * @throws `VaeError` `"device"` for a device or tier that is unknown or not usable here, with what is missing; `"argument"`
   *   for threads outside 1 to 1024 or a precision that the device does not have; `"native"` when the addon cannot be loaded
   */
  static open(options: DeviceOptions = {}): Device {
    return new Device(options);
  }

  private constructor({ device = "auto", threads, tier = "", precision = "float32" }: DeviceOptions) {
    const operation = "device";
    if (!PRECISIONS.includes(precision)) {
      const expected = `precision as ${PRECISIONS.map((name) => `"${name}"`).join(", ")}`;
      throw new VaeError({ code: "argument", operation, expected, received: String(precision) });
    }
    this.threads = threads === undefined ? defaultThreads() : checkThreads(operation, threads);
    this.#addon = loadAddon();
    const info = callNative(operation, () => this.#addon.info());
    const { name, fallback } = chooseDevice(device, () => callNative(operation, () => info.cuda));
    if (name === "cpu" && precision !== "float32") {
      const problem = `the CPU computes in float32 alone, not in ${precision}${fallback === undefined ? "" : `, and CUDA is not usable: ${fallback}`}`;
      throw new VaeError({ code: "argument", operation, problem, hint: 'leave precision out, or set it to "float32"' });
    }
    this.name = name;
    this.fallback = fallback;
    this.precision = precision;
    this.tier = tier === "" ? info.tier : tier;
    this.#context = callNative(operation, () => this.#addon.openContext(name, this.threads, tier, precision));
  }

  get disposed(): boolean {
    return this.#disposed;
  }

  /** Whether there is a resident of that name. */
  has(name: string): boolean {
    return this.#residents.has(name);
  }

  /**
   * The resident of that name; when there is none, it is allocated, filled with zeros.
   *
   * @throws `VaeError` `"shape"` or `"dtype"` when there is one of another type
   */
  resident(name: string, shape: Shape, dtype: DType): Resident {
    const operation = `resident "${name}"`;
    this.#check(operation);
    checkShape(operation, shape);
    const there = this.#residents.get(name);
    if (there) {
      if (there.dtype !== dtype) throw new VaeError({ code: "dtype", operation, expected: there.dtype, received: dtype });
      if (sameShape(there.shape, shape)) return there;
      throw new VaeError({ code: "shape", operation, expected: showShape(there.shape), received: showShape(shape) });
    }
    const native = callNative(operation, () => this.#addon.allocate(this.#context, dtype, sizeOf(shape)));
    const resident = new Resident(this.#addon, native, name, shape, dtype, () => this.#residents.delete(name));
    this.#residents.set(name, resident);
    return resident;
  }

  /**
   * Compiles a graph for this device. Its `state` tensors are the residents of their names; those not there yet are
   * allocated, filled with zeros.
   *
   * @param request names the caller where memory does not suffice
   * @throws `VaeError` of `compile` and {@link Device.reserve}
   */
  session(graph: SessionGraph, request: MemoryRequest = ANY_SESSION): Session {
    this.#check("session");
    return this.#open(graph, compile(graph), request);
  }

  /** The same, letting the event loop turn while the graph is compiled. */
  async sessionInTurns(graph: SessionGraph, request: MemoryRequest = ANY_SESSION): Promise<Session> {
    return this.#open(graph, await this.plan(graph), request);
  }

  /** Compiles a graph, letting the event loop turn meanwhile; nothing is allocated yet. */
  async plan(graph: SessionGraph): Promise<Plan> {
    this.#check("session");
    const work = compileInTurns(graph);
    for (let since = performance.now(); ; ) {
      const turn = work.next();
      if (turn.done) {
        this.#check("session");
        return turn.value;
      }
      if (performance.now() - since < TURN_MILLISECONDS) continue;
      await new Promise((resolve) => setImmediate(resolve));
      since = performance.now();
    }
  }

  #open(graph: SessionGraph, plan: Plan, request: MemoryRequest): Session {
    const release = this.reserve(plan, request);
    try {
      for (const { attributes, shape, dtype } of statesOf(graph)) this.resident(String(attributes.name), shape, dtype);
      return this.load(plan, request, release);
    } catch (error) {
      release();
      throw error;
    }
  }

  /**
   * Compares all that a plan needs with what there is, before any of it is allocated: residents that are not there yet, working
   * memory, copies of what the plan writes, and of what goes in and out. Only the host's memory is looked at; a CUDA device
   * refuses by itself.
   *
   * @param plan undefined for residents alone
   * @returns to be called when the memory is in use or not wanted any more; {@link Device.load} does so
   * @throws `VaeError` `"memory"`, and `"shape"` for a plan of more than native code can address
   */
  reserve(plan: Plan | undefined, request: MemoryRequest): () => void {
    const { operation, hint } = request;
    this.#check(operation);
    const needs = this.#needs(plan, request);
    if (plan === undefined) return reserveMemory(operation, needs, hint);
    // In three steps of growing cost; what is refused by the first or second is not looked at by the next.
    checkPlanSize(plan, { operation, hint, needs });
    checkMemory(operation, needs, hint);
    const words = encodePlan(plan, this.#addon.info());
    const scratch = callNative(operation, () => this.#addon.scratchBytes(this.#context, words));
    return reserveMemory(operation, { ...needs, [SCRATCH]: scratch }, hint);
  }

  /** All but the scratch memory of kernels. */
  #needs(plan: Plan | undefined, { working, kindOf = () => "of tensors", declared = [] }: MemoryRequest): MemoryNeeds {
    const passed = { [PASSED]: plan === undefined ? 0 : passedBytes(plan) };
    if (this.name !== "cpu") return passed;
    const residents: Record<string, number> = {};
    const counted = new Set<string>();
    const count = (name: string, kind: string, bytes: number): void => {
      if (counted.has(name)) return;
      counted.add(name);
      residents[kind] = (residents[kind] ?? 0) + bytes;
    };
    let copies = 0;
    for (const { name, shape } of declared) if (!this.has(name)) count(name, kindOf(name), sizeOf(shape) * BYTES.float32);
    for (const buffer of plan?.buffers ?? []) {
      if (buffer.kind !== "resident") continue;
      const { name, dtype, elements, data, writable } = buffer;
      const bytes = elements * BYTES[dtype];
      if (data !== undefined) count(name, "of constants", bytes);
      else if (!this.has(name)) count(name, kindOf(name), bytes);
      if (writable) copies += bytes;
    }
    const workingMemory = working === undefined ? "of working memory" : `of working memory ${working}`;
    return { ...residents, [workingMemory]: plan?.arenaBytes ?? 0, "of copies of the weights to fall back to": copies, ...passed };
  }

  /** Bytes of the arenas and scratch of all sessions that are open. */
  sessionBytes(): number {
    return [...this.#sessions].reduce((sum, session) => sum + session.memory().arena + session.memory().scratch, 0);
  }

  /**
   * Makes a plan ready to run. Its resident buffers are the residents of their names, which must be there, but for
   * constants, whose content the plan carries.
   *
   * @param request names the caller where memory does not suffice
   * @param release of what {@link Device.reserve} found to fit; called when the session has run once, or is disposed of
   * @throws `VaeError` `"plan"` for a plan that native validation refuses, `"argument"` for a resident that is not there,
   *   `"memory"`
   */
  load(plan: Plan, request: MemoryRequest = ANY_SESSION, release: () => void = () => undefined): Session {
    const operation = "session";
    this.#check(operation);
    const words = encodePlan(plan, this.#addon.info());
    const residents: NativeBuffer[] = [];
    const constants: NativeBuffer[] = [];
    for (const buffer of plan.buffers) {
      if (buffer.kind !== "resident") continue;
      const { name, data, dtype, elements, slot } = buffer;
      if (data === undefined) residents[slot] = this.#existing(name).native;
      else {
        const constant = callNative(operation, () => this.#addon.allocate(this.#context, dtype, elements));
        const content = hostArray(dtype, data);
        // Queued ahead of every run, which would report a fault of the queue itself.
        awaitNative(operation, () => this.#addon.write(constant, 0, content)).catch(() => undefined);
        constants.push(constant);
        residents[slot] = constant;
      }
    }
    const native = callNative(operation, () => this.#addon.compile(this.#context, words, residents));
    for (const constant of constants) this.#addon.release(constant); // the session keeps the memory
    const session = new Session(this.#addon, plan, native, {
      request,
      passedBytes: passedBytes(plan),
      release,
      onDispose: (disposed) => this.#sessions.delete(disposed),
    });
    this.#sessions.add(session);
    return session;
  }

  /** Stops what runs, and frees sessions and residents behind it. May be called again. */
  dispose(): void {
    if (this.#disposed) return;
    this.#disposed = true;
    for (const session of [...this.#sessions]) session.dispose();
    for (const resident of [...this.#residents.values()]) resident.release();
    this.#addon.closeContext(this.#context);
  }

  [Symbol.dispose](): void {
    this.dispose();
  }

  #existing(name: string): Resident {
    const resident = this.#residents.get(name);
    if (resident) return resident;
    const hint = "declare it first with device.resident(name, shape, dtype)";
    throw new VaeError({ code: "argument", operation: "session", problem: `there is no resident "${name}" on the device`, hint });
  }

  #check(operation: string): void {
    if (this.#disposed) throw new VaeError({ code: "disposed", operation, problem: "the device was disposed" });
  }
}

function checkOffset(operation: string, offset: unknown): number {
  if (Number.isSafeInteger(offset) && (offset as number) >= 0) return offset as number;
  const expected = "offset to be a whole number of at least 0";
  throw new VaeError({ code: "argument", operation, expected, received: describe(offset) });
}

/** Bytes of the copies that a run makes: of its inputs once, of its outputs twice. */
function passedBytes({ inputs, outputs, buffers }: Plan): number {
  const bytes = ({ buffer }: { readonly buffer: number }): number => buffers[buffer]!.elements * BYTES[buffers[buffer]!.dtype];
  const sum = (list: readonly { readonly buffer: number }[]): number => list.reduce((total, one) => total + bytes(one), 0);
  return sum(inputs) + 2 * sum(outputs);
}

/** All `state` tensors that a graph uses or updates. */
function statesOf({ outputs = {}, updates = [], terms = {} }: SessionGraph): readonly Tensor[] {
  const states: Tensor[] = [];
  const seen = new Set<Tensor>();
  const pending = [...Object.values(outputs), ...Object.values(terms), ...updates.flat()];
  for (let node = pending.pop(); node !== undefined; node = pending.pop()) {
    if (seen.has(node)) continue;
    seen.add(node);
    if (node.op === "state") states.push(node);
    for (const input of node.inputs) pending.push(input);
  }
  return states;
}

/** The native device for what was asked for; the driver is only asked where CUDA comes into question. */
function chooseDevice(device: string, askCuda: () => CudaInfo): { name: "cpu" | `cuda:${number}`; fallback: string | undefined } {
  const operation = "device";
  if (device === "cpu") return { name: "cpu", fallback: undefined };
  const named = /^cuda(?::(\d{1,4}))?$/.exec(device);
  if (named === null && device !== "auto") {
    throw new VaeError({ code: "device", operation, expected: '"auto", "cpu", "cuda" or "cuda:0", …', received: `"${device}"` });
  }
  const { devices, problem } = askCuda();
  const usable = devices.flatMap((description) => /^cuda:(\d+)/.exec(description)?.[1] ?? []);
  const [first] = usable;
  if (first === undefined) {
    if (device === "auto") return { name: "cpu", fallback: problem };
    throw new VaeError({ code: "device", operation, problem: `"${device}" is not usable: ${problem}`, hint: 'use "auto" or "cpu"' });
  }
  const chosen = String(Number(named?.[1] ?? first));
  if (!usable.includes(chosen)) {
    const expected = `one of the usable devices: ${devices.join(", ")}`;
    throw new VaeError({ code: "device", operation, expected, received: `"${device}"` });
  }
  return { name: `cuda:${Number(chosen)}`, fallback: undefined };
}
