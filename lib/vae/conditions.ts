// What a model is told beside what it explains: categories and numbers, by the names of their fields.
import { describe, VaeError } from "../errors.js";
import { isRecord } from "../graph/arguments.js";
import { cast, type DType, oneHot, reshapeTensor, type Shape, sizeOf, type Tensor } from "../graph/index.js";
import { type Behaviour, type Branded, type Fields, Registry } from "../nn/index.js";
import { readCategories } from "../train/categories.js";

/** Where a condition comes in. */
export type ConditionPlace = "encoder" | "decoder" | "both";

/** A condition as frozen plain data. */
export interface Condition extends Branded<"condition"> {
  readonly at: ConditionPlace;
}

/** What the conditions of one kind do. */
interface ConditionBehaviour<C extends Condition = Condition> extends Behaviour {
  parse(options: Fields): C;
  /** The field that it is read from: the shape of one sample's value, and how it is stored. */
  field(condition: C): { readonly shape: Shape; readonly dtype: DType; readonly names?: readonly string[] };
  /** The shape of one sample's value as networks see it, a vector. */
  shape(condition: C): Shape;
  /** The field `[rows, …shape]` to what networks see. */
  encode(condition: C, field: Tensor): Tensor;
}

export const conditionKinds = new Registry<ConditionBehaviour>("condition", ["field", "shape", "encode"]);

/** The shape of a condition as networks see it. */
export function conditionShape(condition: Condition): Shape {
  return conditionKinds.of(condition).shape(condition);
}

/** What conditions have in common. */
export interface ConditionOptions {
  /** Which networks it comes into; default `"both"`. */
  readonly at?: ConditionPlace;
}

const PLACES = ["encoder", "decoder", "both"] as const;

/** Conditions by the names of their fields. */
export type NamedConditions = Readonly<Record<string, Condition>>;

/** One of several categories, see {@link category}. @typeParam Name their names */
export interface Category<Name extends string = string> extends Condition {
  readonly kind: "category";
  readonly names: readonly Name[];
}

/**
 * One of several categories, which networks see as a vector of one 1 and zeros otherwise. The field holds whole numbers, or has
 * names of its own, which are matched with these.
 *
 * @param names of the categories, all different; a number n stands for `"0"` … `"n − 1"`
 * @example
 * ```ts
 * vae({ …, conditions: { label: category(10), site: category(["A", "B"], { at: "decoder" }) } })
 * ```
 */
export function category<Name extends string = `${number}`>(
  names: number | readonly Name[],
  options: ConditionOptions = {},
  ...surplus: never[]
): Category<Name> {
  return conditionKinds.construct("category", { positional: { names }, options, surplus, usual: "at" }) as Category<Name>;
}

conditionKinds.define("category", {
  parse: (options): Category => ({ kind: "category", names: readCategories(options), at: options.choice("at", PLACES, "both") }),
  field: (condition) => ({ shape: [], dtype: "int32", names: (condition as Category).names }),
  shape: (condition) => [(condition as Category).names.length],
  encode: (condition, field) => oneHot(field, (condition as Category).names.length),
});

/** A number or several, see {@link real}. */
export interface Real extends Condition {
  readonly kind: "real";
  readonly shape: Shape;
}

/** Options of {@link real}. */
export interface RealOptions extends ConditionOptions {
  /** The shape of one row's value; default `[]`, a number. */
  readonly shape?: Shape;
}

/** A number for every row, or several. Numbers of about unit scale suit networks. */
export function real(options: RealOptions = {}, ...surplus: never[]): Real {
  return conditionKinds.construct("real", { options, surplus, usual: "at" }) as Real;
}

conditionKinds.define("real", {
  parse: (options): Real => {
    const shape = options.raw("shape") === undefined ? [] : options.shape("shape");
    return { kind: "real", shape: [...shape], at: options.choice("at", PLACES, "both") };
  },
  field: (condition) => ({ shape: (condition as Real).shape, dtype: "float32" }),
  shape: (condition) => [sizeOf((condition as Real).shape)],
  encode: (condition, field) => {
    const values = field.dtype === "float32" ? field : cast(field);
    return reshapeTensor(values, [field.shape[0]!, sizeOf((condition as Real).shape)]);
  },
});

/** A condition's value for all rows, or one for every row. Categories go by their names or numbers. @typeParam Value of one row */
export type GivenValue<
  C extends Condition,
  Value = C extends Category<infer Name> ? Name | number : C extends Real ? number : string | number,
> = Value | readonly Value[] | Float32Array | Int32Array;

/** Values of a model's conditions by name. @typeParam C the conditions */
export type Given<C extends NamedConditions = NamedConditions> = { readonly [Name in keyof C]: GivenValue<C[Name]> };

/** The fields that a model always has, or has for itself. */
const TAKEN = ["x", "z"];

/** Reads the option `conditions`; undefined where there are none. */
export function readConditions(fields: Fields): NamedConditions | undefined {
  const given = fields.raw("conditions");
  if (given === undefined) return undefined;
  if (!isRecord(given)) throw fields.wrong("conditions", "conditions by name: { label: category(10) }");
  const parsed = Object.entries(given).map(([name, condition]) => {
    if (!/^[\w-]{1,64}$/.test(name) || TAKEN.includes(name)) {
      const expected = `names of conditions of letters, digits, "_" and "-", and not ${TAKEN.join(" or ")}`;
      throw new VaeError({ code: "argument", operation: fields.operation, expected, received: describe(name) });
    }
    return [name, conditionKinds.parse(condition, `${fields.operation} conditions.${name}`) as Condition] as const;
  });
  return parsed.length === 0 ? undefined : Object.fromEntries(parsed);
}
