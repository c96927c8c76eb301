// A model knows its conditions.
import { expect, expectTypeOf, test } from "vitest";
import {
  type Category,
  category,
  type Elbo,
  type Given,
  type GivenValue,
  load,
  presets,
  type Real,
  real,
  type SampleOptions,
  type Vae,
  type VaeConfig,
  type VaeOptions,
  vae,
} from "../../lib/index.js";
import { compileOnly } from "../support/compile-only.js";

const base = { input: [4], latent: 1, encoder: [], decoder: [], likelihood: "gaussian", device: "cpu" } as const;
const conditions = { label: category(10), site: category(["A", "B"]), age: real() };

test("a category knows its names", () => {
  expectTypeOf(category(["A", "B"])).toEqualTypeOf<Category<"A" | "B">>();
  expectTypeOf(category(10, { at: "decoder" })).toEqualTypeOf<Category<`${number}`>>();
  expectTypeOf(category(["A"] as readonly string[])).toEqualTypeOf<Category>();
  expectTypeOf(real({ shape: [3] })).toEqualTypeOf<Real>();
  expectTypeOf<"A" | 1>().toExtend<GivenValue<Category<"A" | "B">>>();
  expectTypeOf<"C">().not.toExtend<GivenValue<Category<"A" | "B">>>();
  expectTypeOf<string>().not.toExtend<GivenValue<Real>>();
});

test("what is given goes by the model's conditions", async () => {
  using model = vae({ ...base, conditions });
  expectTypeOf(model).toEqualTypeOf<Vae<VaeConfig<typeof conditions, Elbo>>>();
  expectTypeOf(model.config.conditions).toEqualTypeOf<typeof conditions | undefined>();
  expect((await model.sample(2, { given: { label: 3, site: "A", age: 0.5 } })).length).toBe(8);
  expect((await model.decode(new Float32Array(2), { given: { label: ["3", 4], site: [1, "A"], age: Float32Array.of(1, 2) } })).length).toBe(
    8,
  );
});

test("what the model does not know does not compile", () =>
  compileOnly(() => {
    const model = vae({ ...base, conditions });
    const rest = { label: 1, age: 1 };
    // @ts-expect-error no such condition
    model.sample(2, { given: { ...rest, site: "A", colour: 1 } });
    // @ts-expect-error a condition is missing
    model.sample(2, { given: rest });
    // @ts-expect-error no such category
    model.sample(2, { given: { ...rest, site: "C" } });
    // @ts-expect-error no such category
    model.decode(new Float32Array(1), { given: { ...rest, site: ["A", "C"] } });
    // @ts-expect-error categories of a number of them are called "0", "1", …
    model.sample(2, { given: { label: "three", site: "A", age: 1 } });
    // @ts-expect-error a number is asked for
    model.interpolate(new Float32Array(4), new Float32Array(4), 3, { given: { ...rest, site: "A", age: "old" } });
    // @ts-expect-error a model without conditions
    vae(base).sample(2, { given: { label: 1 } });
    const wired = vae({ wiring: { kind: "mine" }, fields: { x: [4] }, conditions });
    // @ts-expect-error no such category
    wired.sample(2, { given: { ...rest, site: "C" } });
  }));

test("models with conditions go where any model goes", () =>
  compileOnly(async () => {
    const any = (model: Vae): Promise<Float32Array> => model.sample(2, { given: { whatever: "A" } });
    const model = vae({ ...base, conditions });
    any(model);
    any(vae(base));
    const kept: Vae[] = [model, vae(base), vae({ ...presets.image28(), conditions: { label: category(10) } })];
    kept.push(await load("model.vae"));
    const generic = <C extends VaeConfig>(one: Vae<C>): C => one.config;
    expectTypeOf(generic(model)).toEqualTypeOf<VaeConfig<typeof conditions, Elbo>>();
    // Of options that may hold any conditions, nothing is known.
    const options: VaeOptions = { ...presets.table({ columns: 4 }), conditions };
    const loose: Vae = vae(options);
    loose.sample(2, { given: { anything: 1 }, temperature: 0.5 });
    vae({ ...presets.image28(), conditions: { label: category(10) } }).sample(2, { given: { label: 3 } });
    (await load("model.vae")).sample(2, { given: { label: 3, site: ["A", "B"] } });
    const given: Given<typeof conditions> = { label: 1, site: "B", age: 2 };
    const request: SampleOptions<typeof conditions> = { given, seed: 4 };
    model.sample(2, request);
    model.sample(2, { seed: 3 });
  }));
