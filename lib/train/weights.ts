import { setMaxListeners } from "node:events";
import { VaeError } from "../errors.js";
import { type DType, type Shape, sizeOf, state } from "../graph/index.js";
import { isFloat32Array } from "../graph/kinds.js";
import { INITIALIZATION_STEP, initialValue, type NamedParameter, Noise } from "../nn/index.js";
import { Device, type DeviceOptions, type MemoryRequest, type Resident } from "../runtime/device.js";
import { checkMemory } from "../runtime/memory.js";
import type { HostArray } from "../runtime/native.js";
import type { Plan, RunRequest, Session, SessionGraph, SessionResult } from "../runtime/session.js";

/** Values with their shape, row-major. */
export interface NamedArray {
  readonly data: Float32Array;
  readonly shape: Shape;
}

/** Bytes that a model holds on its device. */
export interface MemoryUse {
  /** Weights. */
  readonly parameters: number;
  /** Optimizer state. */
  readonly optimizer: number;
  /** Training data, while training. */
  readonly data: number;
  /** Intermediate results of compiled graphs and, while training, the copy of the weights that divergence goes back to. */
  readonly sessions: number;
}

/** Compiled graphs kept for the next call; the least recently used one makes room. */
const CACHED_SESSIONS = 8;

const KIND_IN_WORDS = { parameters: "of weights", optimizer: "of optimizer state", data: "of data" } as const;

/** What helps where a model does not fit, whatever is done with it. */
const SMALLER_MODEL = "a smaller model (fewer filters or units, smaller images)";
/** What helps where rows go through a model. */
const FEWER_ROWS = `use fewer rows at a time, or ${SMALLER_MODEL}`;

/** What has weights: its parameters, and the seed that they begin from. */
interface Weighted {
  readonly parameters: readonly NamedParameter[];
  readonly config: { readonly seed: number };
}

/** The weights of an architecture on a device. @param tensors as they were saved; drawn from the seed when left out */
export function weightsOf({ parameters, config }: Weighted, placement: DeviceOptions, tensors?: ReadonlyMap<string, NamedArray>): Weights {
  return new Weights(parameters, config.seed, placement, tensors);
}

/** The name of the resident, and of the tensor in a file, that holds an optimizer's slot of a parameter. */
export function slotState(parameter: string, slot: string): string {
  return `${parameter}/${slot}`;
}

/** The name of the resident that holds the rows of a field; no parameter's name begins so. */
export function rowsState(field: string): string {
  return `/${field}`;
}

/** Gives every parameter its first value; to be run once, at the initialization step. */
export function initialGraph(parameters: readonly NamedParameter[]): SessionGraph {
  const noise = new Noise("initial");
  // What begins with zeros is so already.
  const drawn = parameters.filter(({ initializer }) => initializer !== "zeros");
  return { updates: drawn.map((spec) => [state(spec.name, spec.shape), initialValue(spec, noise.within(spec.name))]) };
}

interface CachedSession {
  readonly opening: Promise<Session>;
  running: number;
}

/**
 * A model's tensors on its device, and the compiled graphs that use them. Everything queues up on the device, so a read
 * behind a training run sees the weights after it.
 */
export class Weights {
  readonly #parameters: readonly NamedParameter[];
  readonly #names: ReadonlySet<string>;
  readonly #seed: number;
  /** The slots that there are, by parameter. */
  readonly #slots = new Map<string, Set<string>>();
  #options: DeviceOptions;
  #device: Device;
  /** Everything resident, by name: parameters, optimizer slots, training data. */
  readonly #residents = new Map<string, Resident>();
  readonly #sessions = new Map<string, CachedSession>();
  #initial: ReadonlyMap<string, NamedArray> | undefined;
  #ready: Promise<void> | undefined;
  /** The calls that use the device right now: a move to another one waits for them. */
  readonly #uses = new Set<Promise<unknown>>();
  /** The move in progress: what would use the device waits for it. */
  #moving: Promise<void> | undefined;
  #disposed = false;
  readonly #disposal = new AbortController();

  /**
   * @param seed of the initial values
   * @param initial values of all parameters to begin with, and of optimizer slots; drawn from the seed when left out
   */
  constructor(parameters: readonly NamedParameter[], seed: number, options: DeviceOptions, initial?: ReadonlyMap<string, NamedArray>) {
    this.#parameters = parameters;
    this.#names = new Set(parameters.map(({ name }) => name));
    this.#seed = seed;
    for (const name of initial?.keys() ?? []) {
      const [parameter, slot] = name.split("/");
      if (slot !== undefined) this.#slotsOf(parameter!).add(slot);
    }
    this.#options = options;
    this.#device = Device.open(options);
    this.#initial = initial;
    // Every source that is being read listens: many at a time are no leak.
    setMaxListeners(0, this.#disposal.signal);
  }

  /** Aborted by {@link Weights.dispose}, for what is awaited outside of the device; {@link Weights.check} then says it in words. */
  get disposal(): AbortSignal {
    return this.#disposal.signal;
  }

  get device(): Device {
    return this.#device;
  }

  get disposed(): boolean {
    return this.#disposed;
  }

  /** Throws `"disposed"` after {@link Weights.dispose}. */
  check(operation: string): void {
    if (!this.#disposed) return;
    throw new VaeError({ code: "disposed", operation, problem: "the model was disposed", hint: "make a new one, or load it again" });
  }

  /** Puts the first values on the device, once; every use waits for it. */
  ready(operation: string): Promise<void> {
    this.check(operation);
    // Where there is no memory for them, the next call tries again.
    this.#ready ??= this.#initialize(operation).catch((error: unknown) => {
      this.#ready = undefined;
      throw error;
    });
    return this.#ready;
  }

  /**
   * Who asks for memory, for {@link Weights.open} and {@link Weights.reserve}.
   *
   * @param advice what helps beside a smaller model: `"a smaller batchSize"`
   */
  request(operation: string, advice?: string, working?: string): MemoryRequest {
    return {
      operation,
      hint: advice === undefined ? FEWER_ROWS : `use ${advice}, or ${SMALLER_MODEL}`,
      kindOf: (name) => KIND_IN_WORDS[this.#kindOf(name)],
      declared: this.#parameters,
      ...(working === undefined ? {} : { working }),
    };
  }

  /** Compiles a graph while the event loop goes on; nothing is allocated yet. */
  plan(graph: SessionGraph): Promise<Plan> {
    return this.#device.plan(graph);
  }

  /** See {@link Device.reserve}. */
  reserve(plan: Plan | undefined, request: MemoryRequest): () => void {
    return this.#device.reserve(plan, request);
  }

  /** Makes a plan ready to run, for which memory is reserved; the caller disposes of the session. */
  load(plan: Plan, request: MemoryRequest, release: () => void): Session {
    return this.#device.load(plan, request, release);
  }

  /** Declares a float32 tensor, zero-filled when new. */
  declare(name: string, shape: Shape, dtype: DType = "float32"): Resident {
    const resident = this.#residents.get(name) ?? this.#device.resident(name, shape, dtype);
    this.#residents.set(name, resident);
    return resident;
  }

  has(name: string): boolean {
    return this.#residents.has(name);
  }

  release(name: string): void {
    this.#residents.get(name)?.release();
    this.#residents.delete(name);
  }

  /** The optimizer's slots that there are of a parameter. */
  slots(parameter: string): readonly string[] {
    return [...(this.#slots.get(parameter) ?? [])];
  }

  /** Names of all slots' residents. */
  slotStates(): readonly string[] {
    return [...this.#slots].flatMap(([parameter, slots]) => [...slots].map((slot) => slotState(parameter, slot)));
  }

  /** Declares a slot of a parameter, zero-filled when new. */
  declareSlot(parameter: string, slot: string, shape: Shape): void {
    this.#slotsOf(parameter).add(slot);
    this.declare(slotState(parameter, slot), shape);
  }

  releaseSlot(parameter: string, slot: string): void {
    this.#slotsOf(parameter).delete(slot);
    this.release(slotState(parameter, slot));
  }

  #slotsOf(parameter: string): Set<string> {
    const slots = this.#slots.get(parameter) ?? new Set();
    this.#slots.set(parameter, slots);
    return slots;
  }

  /** What a resident is: rows of a field, a slot, or a parameter. */
  #kindOf(name: string): "parameters" | "optimizer" | "data" {
    if (this.#names.has(name)) return "parameters";
    return name.startsWith("/") ? "data" : "optimizer";
  }

  /**
   * Copies tensors out, behind everything queued.
   *
   * @param names which; a function is asked when the reads are queued, for names that come and go, such as an optimizer's slots
   */
  read(names: readonly string[] | (() => readonly string[]), operation: string): Promise<Map<string, NamedArray>> {
    return this.#use(operation, async () => {
      const asked = typeof names === "function" ? names() : names;
      const bytes = asked.reduce((sum, name) => sum + 4 * sizeOf(this.#residents.get(name)?.shape ?? []), 0);
      // A copy made on the device's thread, and the array that JavaScript gets.
      checkMemory(operation, { "of copies of the weights": 2 * bytes }, "free what you can, or use a smaller model");
      const reading = asked.map(async (name) => {
        const resident = this.#residents.get(name)!;
        return [name, { data: float32(await resident.read()), shape: resident.shape }] as const;
      });
      return new Map(await Promise.all(reading));
    });
  }

  /** Overwrites tensors, behind everything queued. */
  write(values: ReadonlyMap<string, { readonly data: Float32Array }>, operation: string): Promise<void> {
    return this.#use(operation, async () => {
      await Promise.all([...values].map(([name, { data }]) => this.#residents.get(name)!.write(data)));
    });
  }

  /** Compiles a graph, which the caller disposes of, while the event loop goes on. */
  open(graph: SessionGraph, request: MemoryRequest): Promise<Session> {
    return this.#device.sessionInTurns(graph, request);
  }

  /**
   * Runs a graph, compiled at its first use under this key.
   *
   * @param advice what helps where there is too little memory, beside a smaller model; default: fewer rows at a time
   */
  run(key: string, build: () => SessionGraph, request: RunRequest, operation: string, advice?: string): Promise<SessionResult> {
    return this.#use(operation, async () => {
      const cached = this.#sessions.get(key) ?? { opening: this.open(build(), this.request(operation, advice)), running: 0 };
      this.#sessions.delete(key);
      this.#sessions.set(key, cached);
      cached.running++;
      try {
        const session = await cached.opening.catch((error: unknown) => {
          this.#sessions.delete(key); // the next call tries again
          throw error;
        });
        const { inputs } = request;
        // What a program was given and does not use, such as the temperature where nothing is drawn, is not in its plan.
        const used = inputs === undefined ? {} : { inputs: pick(inputs, session.plan.inputs) };
        const result = await session.run({ ...request, ...used });
        // A run that a disposal stopped gives what the memory held before it.
        if (result.status !== "done") this.check(operation);
        return result;
      } finally {
        cached.running--;
        this.#evict();
      }
    });
  }

  /**
   * Moves everything to as many threads, which only the CPU computes with; compiled graphs are dropped. Calls in progress
   * end first, and later ones wait: none of them meets a device that is gone, or writes to one that was read already.
   */
  async useThreads(threads: number, operation: string): Promise<void> {
    this.check(operation);
    if (threads === this.#device.threads || this.#device.name !== "cpu") return;
    if (this.#ready === undefined) {
      // Nothing is there yet that would have to move.
      const device = Device.open({ ...this.#options, threads });
      this.#close();
      this.#options = { ...this.#options, threads };
      this.#device = device;
      return;
    }
    await this.ready(operation);
    const bytes = [...this.#residents.values()].reduce((sum, { shape, dtype }) => sum + sizeOf(shape) * (dtype === "uint8" ? 1 : 4), 0);
    checkMemory(operation, { "of copies to move to other threads": 2 * bytes }, "leave the number of threads as it is");
    const move = this.#reopen({ ...this.#options, threads }, operation);
    const end = (): void => {
      this.#moving = undefined;
    };
    this.#moving = move.then(end, end);
    await move;
  }

  /** Makes a call that uses the device: never during a move, and `"disposed"` by whatever error a disposal cuts it off. */
  async #use<T>(operation: string, call: () => Promise<T>): Promise<T> {
    try {
      await this.ready(operation);
      while (this.#moving !== undefined) await this.#moving;
      this.check(operation);
      const use = call();
      this.#uses.add(use);
      return await use.finally(() => this.#uses.delete(use));
    } catch (error) {
      this.check(operation);
      throw error;
    }
  }

  memory(): MemoryUse {
    const use = { parameters: 0, optimizer: 0, data: 0, sessions: 0 };
    for (const { name, shape, dtype } of this.#residents.values()) use[this.#kindOf(name)] += sizeOf(shape) * (dtype === "uint8" ? 1 : 4);
    return { ...use, sessions: this.#device.sessionBytes() };
  }

  dispose(): void {
    if (this.#disposed) return;
    this.#disposed = true;
    this.#disposal.abort();
    this.#close();
  }

  async #initialize(operation: string): Promise<void> {
    const parameters = this.#parameters;
    const request = this.request(operation, "a smaller latent");
    const initial = this.#initial;
    const graph = initial === undefined ? initialGraph(parameters) : {};
    const plan = graph.updates === undefined || graph.updates.length === 0 ? undefined : await this.plan(graph);
    this.check(operation);
    const declared = [...parameters, ...[...(initial ?? [])].map(([name, { shape }]) => ({ name, shape }))];
    const release = this.reserve(plan, { ...request, declared });
    try {
      for (const { name, shape } of declared) this.declare(name, shape);
      if (initial !== undefined) await Promise.all([...initial].map(([name, { data }]) => this.#residents.get(name)!.write(data)));
      this.#initial = undefined;
      if (plan === undefined) return;
      const drawing = this.load(plan, request, release);
      await drawing.run({ firstStep: INITIALIZATION_STEP, seed: this.#seed }).finally(() => drawing.dispose());
    } catch (error) {
      for (const { name } of declared) this.release(name);
      throw error;
    } finally {
      release();
    }
  }

  async #reopen(options: DeviceOptions, operation: string): Promise<void> {
    await Promise.allSettled(this.#uses);
    this.check(operation);
    const old = [...this.#residents.values()];
    const values = await Promise.all(old.map((resident) => resident.read()));
    this.check(operation);
    const device = Device.open(options); // where this fails, the model stays where it is
    this.#close();
    this.#residents.clear();
    this.#options = options;
    this.#device = device;
    await Promise.all(old.map(({ name, shape, dtype }, index) => this.declare(name, shape, dtype).write(values[index]!)));
  }

  #evict(): void {
    for (const [key, { opening, running }] of this.#sessions) {
      if (this.#sessions.size <= CACHED_SESSIONS) return;
      if (running > 0) continue;
      this.#sessions.delete(key);
      opening.then((session) => session.dispose()).catch(() => undefined);
    }
  }

  #close(): void {
    this.#sessions.clear();
    this.#device.dispose();
  }
}

function pick(inputs: NonNullable<RunRequest["inputs"]>, used: Plan["inputs"]): NonNullable<RunRequest["inputs"]> {
  const names = new Set(used.map(({ name }) => name));
  return Object.fromEntries(Object.entries(inputs).filter(([name]) => names.has(name)));
}

function float32(array: HostArray): Float32Array {
  return isFloat32Array(array) ? array : Float32Array.from(array);
}
