// Kinds by their names alone: the library's, and those that a program declares.
import { describe, expect, expectTypeOf, test } from "vitest";
import { defineLikelihood, type KindName, type VaeOptions, vae } from "../../lib/index.js";
import { compileOnly } from "../support/compile-only.js";

declare module "../../lib/index.js" {
  interface UserKinds {
    likelihood: "types.laplace";
  }
}

const base = { input: [4], latent: 1, encoder: [], decoder: [], device: "cpu" } as const;

test("built-in and declared kinds are known by name", () => {
  expectTypeOf<KindName<"likelihood", "bernoulli">>().toEqualTypeOf<"bernoulli" | "types.laplace">();
  expectTypeOf<KindName<"objective", "elbo">>().toEqualTypeOf<"elbo">();
  expectTypeOf<{ likelihood: "types.laplace" }>().toExtend<Pick<VaeOptions, "likelihood">>();
});

describe("names of kinds", () => {
  test("a declared kind may be given by name, and runs", () => {
    defineLikelihood("types.laplace", {
      parse: () => ({ kind: "types.laplace" }),
      headShape: (_, event) => event,
      distribution: () => {
        throw new Error("nothing is built here");
      },
    });
    using model = vae({ ...base, likelihood: "types.laplace" });
    expect(model.config.likelihood).toEqual({ kind: "types.laplace" });
    using other = vae({ ...base, likelihood: { kind: "types.laplace" } });
    expect(other.config).toEqual(model.config);
  });

  test("others do not compile", () =>
    compileOnly(() => {
      // @ts-expect-error misspelt
      vae({ ...base, likelihood: "bernouli" });
      // @ts-expect-error a likelihood's name is no objective's
      vae({ ...base, likelihood: "gaussian", objective: "gaussian" });
      // @ts-expect-error not declared for objectives
      vae({ ...base, likelihood: "gaussian", objective: "types.laplace" });
      // @ts-expect-error a schedule's name is no prior's
      vae({ ...base, likelihood: "gaussian", prior: "linear" });
    }));
});
