// Checkpoints of earlier versions, read as those of today.
//
// Version 1: layers within `sequential` and `residual` had no `layers.` before their places; and the command line kept how it had
// prepared a table beside the model, whose methods took prepared rows.
import { Fields } from "../graph/arguments.js";
import { isArray } from "../graph/kinds.js";
import type { JsonValue, LoadedCheckpoint } from "../io/checkpoint.js";
import type { StoredTensor } from "../io/safetensors.js";
import type { NamedParameter } from "../nn/index.js";
import { slotState } from "../train/weights.js";

/** A checkpoint's description as of today, with its tensors under their old names. */
export function migrateDescription(checkpoint: LoadedCheckpoint): Required<Omit<LoadedCheckpoint, "version">> {
  const { version, preparation, config, data, tensors } = checkpoint;
  if (version > 1 || preparation === null) return checkpoint;
  const fields = new Fields("preparation", preparation);
  const numbers = (name: string, least: number): readonly number[] => {
    const list = fields.raw(name);
    const isRight = isArray(list) && Array.from(list).every((value) => Number.isFinite(value) && (value as number) > least);
    if (!isRight) throw fields.wrong(name, "an array of numbers");
    return list as readonly number[];
  };
  const [mean, standardDeviation] = [numbers("mean", Number.NEGATIVE_INFINITY), numbers("standardDeviation", 0)];
  const columns = fields.raw("columns") as JsonValue;
  const categories = fields.raw("categories") as JsonValue;
  fields.finish();
  const names = {
    ...(isArray(columns) && columns.length > 0 ? { columns } : {}),
    ...(categories === undefined || Object.keys(categories as object).length === 0 ? {} : { categories }),
  };
  const known = { ...(data as { readonly [key: string]: JsonValue } | null), ...names };
  const described = { ...checkpoint, data: Object.keys(known).length === 0 ? null : known, preparation: null };
  if (mean.every((value) => value === 0) && standardDeviation.every((value) => value === 1)) return described;
  const tensor = (values: readonly number[]): StoredTensor => ({
    dtype: "float32",
    data: Float32Array.from(values),
    shape: [values.length],
  });
  return {
    ...described,
    config: { ...(config as { readonly [key: string]: JsonValue }), prepare: { kind: "standardize", except: [] } },
    tensors: new Map([...tensors, ["prepare.mean", tensor(mean)], ["prepare.standardDeviation", tensor(standardDeviation)]]),
  };
}

/** The tensors of a file of version 1 under their names of today. */
export function migrateNames<T>(parameters: readonly NamedParameter[], stored: ReadonlyMap<string, T>): ReadonlyMap<string, T> {
  const names = new Map(parameters.map(({ name }) => [name.replace(/\.layers(?=\.)/g, ""), name]));
  return new Map(
    [...stored].map(([name, tensor]) => {
      const [parameter, slot] = name.split("/") as [string, string?];
      const renamed = names.get(parameter) ?? parameter;
      return [slot === undefined ? renamed : slotState(renamed, slot), tensor];
    }),
  );
}
