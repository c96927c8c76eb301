// What every model can be asked, whatever it computes: where it lives, how far its training is, its weights.
import { VaeError } from "../errors.js";
import { isRecord, noMore } from "../graph/arguments.js";
import { isMap } from "../graph/kinds.js";
import type { Shape } from "../graph/tensor.js";
import type { Precision } from "../runtime/native.js";
import { checkParameters, checkWeights } from "./check-weights.js";
import type { Trainee, TrainingState } from "./state.js";
import { parametersOf } from "./trainable.js";
import type { MemoryUse, NamedArray } from "./weights.js";

/** Where training stands; see {@link TrainedModel.training}. */
export interface TrainingStatus extends Readonly<TrainingState> {
  readonly seed: number;
}

/** What all models have in common: device, training, weights, lifetime. */
export abstract class TrainedModel implements AsyncDisposable, Disposable {
  readonly #trainee: Trainee;

  /** @internal */
  constructor(trainee: Trainee) {
    this.#trainee = trainee;
  }

  /** `"cpu"` or the CUDA device, in words. */
  get device(): string {
    return this.#trainee.weights.device.name;
  }

  /** How products and convolutions are computed. */
  get precision(): Precision {
    return this.#trainee.weights.device.precision;
  }

  /** Why `device: "auto"` is the CPU; undefined when it is not, or another device was asked for. */
  get fallback(): string | undefined {
    return this.#trainee.weights.device.fallback;
  }

  /** Steps made in all, the seed and the optimizer. */
  get training(): TrainingStatus {
    return { ...this.#trainee.state, seed: this.#trainee.seed };
  }

  /**
   * Names of a row's values, in the order in which the model takes and gives them; undefined until a training with data that have
   * names. Every method brings the columns of a {@link Dataset} into this order; results have it too, whatever the order of the
   * columns that went in.
   */
  get columns(): readonly string[] | undefined {
    return this.#trainee.names.columns;
  }

  /** Names of the classes of the training data, where they had some: by label, new ones of later trainings behind the others. */
  get labelNames(): readonly string[] | undefined {
    return this.#trainee.names.labelNames;
  }

  /** Copies of all weights by name (`"encoder.0.weight"`), row-major; dense weights are `[inputs, units]`. */
  async parameters(...surplus: never[]): Promise<Map<string, NamedArray>> {
    noMore("parameters", surplus);
    const { trainable, weights } = this.#trainee;
    return weights.read(
      parametersOf(trainable).map(({ name }) => name),
      "parameters",
    );
  }

  /**
   * Replaces all weights; the optimizer's state stays. Throws `"architecture"` unless names, sizes and, where given, shapes are
   * the model's, `"data"` for weights that are not finite.
   */
  async setParameters(
    values: ReadonlyMap<string, { readonly data: Float32Array; readonly shape?: Shape }>,
    ...surplus: never[]
  ): Promise<void> {
    noMore("setParameters", surplus);
    const parameters = parametersOf(this.#trainee.trainable);
    const given = isMap(values) ? new Map([...values].map(([name, value]) => [name, partsOf(value)])) : values;
    checkParameters(parameters, given, "setParameters");
    const copies = new Map([...given].map(([name, { data }]) => [name, { data: Float32Array.from(data) }]));
    checkWeights(parameters, copies, "setParameters");
    await this.#trainee.weights.write(copies, "setParameters");
  }

  /** Bytes held on the device. */
  memory(...surplus: never[]): MemoryUse {
    noMore("memory", surplus);
    this.#trainee.weights.check("memory");
    return this.#trainee.weights.memory();
  }

  /** Ends a training in progress, which rejects with `"disposed"`, and frees the device's memory. May be called twice. */
  dispose(): void {
    const problem = "the model was disposed during training";
    this.#trainee.training?.stop(new VaeError({ code: "disposed", operation: "dispose", problem }));
    this.#trainee.weights.dispose();
  }

  [Symbol.dispose](): void {
    this.dispose();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.dispose();
  }
}

/** Reads a caller's weights once, so that what is checked is what is used, whatever their getters say the next time. */
function partsOf<Value extends { readonly data: Float32Array; readonly shape?: Shape }>(value: Value): Value {
  if (!isRecord(value)) return value; // refused as it is, by what checks it
  const { data, shape } = value as Value;
  return { data, ...(shape === undefined ? {} : { shape }) } as Value;
}
