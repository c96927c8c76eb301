// Behaviours of kinds: what `declare` gives is what the scope has.
import { expectTypeOf, test } from "vitest";
import { add, mean, multiply, negate, sizeOf } from "../../lib/graph/index.js";
import {
  type Declared,
  type Distribution,
  defineLayer,
  defineLikelihood,
  defineObjective,
  defineOptimizer,
  definePosterior,
  definePrior,
  defineWiring,
  dense,
  elbo,
  familyOf,
  gaussianDistribution,
  gaussianPosterior,
  type Layer,
  type LayerBehaviour,
  type Likelihood,
  logLikelihood,
  type NetworkFunction,
  type Scope,
  type Tensor,
  vae,
} from "../../lib/index.js";
import { compileOnly } from "../support/compile-only.js";

test("a layer's parameters and networks by the names that it declared", () =>
  compileOnly(() => {
    defineLayer("scale", {
      parse: (options) => ({ kind: "scale", units: options.number("units") }),
      outputShape: (_, input) => input,
      declare: ({ units }, input) => {
        expectTypeOf(units).toBeNumber();
        return {
          parameters: { gain: { shape: input, initializer: "ones" }, shift: { shape: [units], initializer: "zeros", trainable: false } },
          networks: { body: { layers: [dense(4)], input } },
        };
      },
      apply: ({ units }, x, scope) => {
        expectTypeOf(units).toBeNumber();
        expectTypeOf(scope.parameters).toEqualTypeOf<{ readonly gain: Tensor; readonly shift: Tensor }>();
        expectTypeOf(scope.network("body")).toEqualTypeOf<NetworkFunction>();
        // @ts-expect-error misspelt
        scope.parameters.gian;
        // @ts-expect-error misspelt
        scope.network("bdy");
        // @ts-expect-error no parts are declared
        scope.part("posterior");
        // @ts-expect-error misspelt
        scope.with({ conditions: {} }).parameters.gian;
        const { gain, shift } = scope.parameters;
        scope.update(shift, (current) => add(current, 1));
        return multiply(scope.network("body")(x), gain);
      },
    });
    // Methods are as good as functions.
    defineLayer("scale", {
      parse: () => ({ kind: "scale" }),
      outputShape(_, input) {
        return input;
      },
      declare(_, input) {
        return { parameters: { gain: { shape: input, initializer: "ones" } } };
      },
      // @ts-expect-error misspelt
      apply: (_, x, { parameters: { gian } }) => multiply(x, gian),
    });
  }));

test("what is declared now and then may be undefined", () =>
  compileOnly(() => {
    defineLayer("sometimes", {
      parse: (options) => ({ kind: "sometimes", bias: options.boolean("bias", true) }),
      outputShape: (_, input) => input,
      declare: ({ bias }, input) => {
        const weight = { shape: input, initializer: "ones" } as const;
        if (!bias) return { parameters: { weight } };
        return { parameters: { weight, bias: { shape: input, initializer: "zeros" } } };
      },
      apply: (_, x, { parameters: { weight, bias } }) => {
        expectTypeOf(weight).toEqualTypeOf<Tensor>();
        expectTypeOf(bias).toEqualTypeOf<Tensor | undefined>();
        return multiply(x, weight);
      },
    });
    defineLayer("none", {
      parse: (options) => ({ kind: "none", learned: options.boolean("learned", true) }),
      outputShape: (_, input) => input,
      declare: ({ learned }, input) => (learned ? { parameters: { gain: { shape: input, initializer: "ones" } } } : {}),
      apply: (_, x, { parameters: { gain } }) => {
        expectTypeOf(gain).toEqualTypeOf<Tensor | undefined>();
        return gain === undefined ? x : multiply(x, gain);
      },
    });
  }));

test("names that are not known are strings", () =>
  compileOnly(() => {
    interface Scale extends Layer {
      readonly kind: "scale";
    }
    // With the type of the layer alone, with a declaration of any names, and without one.
    defineLayer<Scale>("scale", {
      parse: () => ({ kind: "scale" }),
      outputShape: (_, input) => input,
      declare: (_, input) => ({ parameters: { gain: { shape: input, initializer: "ones" } } }),
      apply: (_, x, { parameters: { gain } }) => multiply(x, gain!),
    });
    defineLayer("scale", {
      parse: () => ({ kind: "scale" }),
      outputShape: (_, input) => input,
      declare: (): Declared => ({}),
      apply: (_, x, { parameters: { gain } }) => {
        expectTypeOf(gain).toEqualTypeOf<Tensor | undefined>();
        return multiply(x, gain!);
      },
    });
    defineLayer("plain", { parse: () => ({ kind: "plain" }), outputShape: (_, input) => input, apply: (_, x) => x });
    const kept: LayerBehaviour = {
      parse: () => ({ kind: "kept" }),
      outputShape: (_, input) => input,
      apply: (_, x, scope) => multiply(x, scope.parameters.gain!),
    };
    defineLayer("kept", kept);
    defineLayer("named", {
      parse: () => ({ kind: "named" }),
      outputShape: (_, input) => input,
      declare: (_, input) => ({
        parameters: Object.fromEntries(["a", "b"].map((name) => [name, { shape: input, initializer: "ones" }] as const)),
      }),
      apply: (_, x, { parameters: { a } }) => multiply(x, a!),
    });
    // What is declared behind its use is not known there yet.
    defineLayer("late", {
      parse: () => ({ kind: "late" }),
      outputShape: (_, input) => input,
      apply: (_, x, { parameters: { gain } }) => multiply(x, gain!),
      declare: (_, input) => ({ parameters: { gain: { shape: input, initializer: "ones" } } }),
    });
    expectTypeOf<Scope["parameters"]>().toEqualTypeOf<{ readonly [x: string]: Tensor }>();
    expectTypeOf<Parameters<Scope["network"]>[0]>().toEqualTypeOf<string>();
  }));

test("declarations are checked", () =>
  compileOnly(() => {
    defineLayer("wrong", {
      parse: () => ({ kind: "wrong" }),
      outputShape: (_, input) => input,
      // @ts-expect-error an unknown initializer
      declare: (_, input) => ({ parameters: { gain: { shape: input, initializer: "one" } } }),
      apply: (_, x) => x,
    });
    defineLayer("wrong", {
      parse: () => ({ kind: "wrong" }),
      outputShape: (_, input) => input,
      // @ts-expect-error a misspelt sort
      declare: (_, input) => ({ parametres: { gain: { shape: input, initializer: "ones" } } }),
      apply: (_, x) => x,
    });
  }));

test("families", () =>
  compileOnly(() => {
    definePrior("mixture", {
      parse: (options) => ({ kind: "mixture", components: options.number("components", { minimum: 1, integer: true }, 10) }),
      declare: ({ components }, event) => ({
        parameters: { centres: { shape: [components, sizeOf(event)], initializer: "glorotNormal" } },
        networks: { pseudo: { layers: [dense(4)], input: [components] } },
      }),
      distribution: ({ components }, _head, { scope }) => {
        expectTypeOf(components).toBeNumber();
        expectTypeOf(scope.parameters.centres).toEqualTypeOf<Tensor>();
        // @ts-expect-error misspelt
        scope.parameters.centers;
        // @ts-expect-error misspelt
        scope.network("psuedo");
        return gaussianDistribution(scope.network("pseudo")(scope.parameters.centres), scope.parameters.centres);
      },
    });
    definePosterior("flow", {
      parse: () => ({ kind: "flow" }),
      headShape: (_, event) => [2 * sizeOf(event)],
      declare: (_, event) => ({ parameters: { shift: { shape: event, initializer: "zeros" } } }),
      distribution: (_, head, { scope: { parameters } }) => {
        // @ts-expect-error misspelt
        parameters.shfit;
        return gaussianDistribution(head!, parameters.shift);
      },
    });
    defineLikelihood("scaled", {
      parse: () => ({ kind: "scaled" }),
      headShape: (_, event) => event,
      declare: () => ({ parameters: { logScale: { shape: [], initializer: "zeros" } } }),
      distribution: (_, head, { scope: { parameters } }) => {
        // @ts-expect-error misspelt
        parameters.scale;
        return gaussianDistribution(head!, parameters.logScale);
      },
    });
  }));

test("objectives", () =>
  compileOnly(() => {
    defineObjective("adversarial", {
      parse: (options) => ({ kind: "adversarial", weight: options.number("weight", {}, 1) }),
      declare: (_, { x }) => ({ networks: { discriminator: { layers: [dense(1)], input: x!, output: [1] } } }),
      terms: ({ weight }, { trace, batch, scope }) => {
        const bound = mean(logLikelihood(trace()));
        const discriminatorLoss = mean(scope.network("discriminator")(batch.x!));
        // @ts-expect-error misspelt
        scope.network("discriminatr");
        // @ts-expect-error none are declared
        scope.parameters.gain;
        return { loss: negate(add(bound, multiply(weight, discriminatorLoss))), bound, discriminatorLoss };
      },
    });
    defineObjective("no-loss", {
      parse: () => ({ kind: "no-loss" }),
      // @ts-expect-error no loss
      terms: (_, { trace }) => ({ bound: mean(logLikelihood(trace())) }),
    });
  }));

test("wirings", () =>
  compileOnly(() => {
    /** What takes any scope takes one of known names. */
    const encoded = (x: Tensor, scope: Scope): Tensor => scope.network("encoder")(x);
    defineWiring("mine", {
      parse: (options) => ({ kind: "mine", latent: options.number("latent") }),
      observations: () => ({ x: { kind: "bernoulli" } }),
      declare: ({ latent }, { x }) => ({
        networks: {
          encoder: { layers: [dense(4)], input: x!, output: [2 * latent] },
          decoder: { layers: [], input: [latent], output: x! },
        },
        parts: {
          posterior: familyOf("posterior", gaussianPosterior()).declare([latent]),
          level: { parameters: { gain: { shape: [latent], initializer: "ones" } } },
        },
      }),
      trace: ({ latent }, { x }, scope) => {
        const rows = x!.shape[0]!;
        const context = { event: [latent], rows, scope: scope.part("posterior") };
        const posterior = familyOf("posterior", "gaussian").distribution(encoded(x!, scope), context);
        expectTypeOf(scope.part("level").parameters).toEqualTypeOf<{ readonly gain: Tensor }>();
        // @ts-expect-error misspelt
        scope.network("encodr");
        // @ts-expect-error misspelt
        scope.part("prior");
        // @ts-expect-error misspelt in a part
        scope.part("level").parameters.gian;
        const draw = posterior.draw(scope.noise);
        return { latents: { z: { posterior, prior: posterior, draw } }, observations: { x: { distribution: posterior, value: x! } } };
      },
      generate: (_, { z }, _rows, scope) => {
        // @ts-expect-error misspelt
        scope.network("decode");
        return { x: gaussianDistribution(scope.network("decoder")(z!), z!) };
      },
    });
    vae({ wiring: { kind: "mine", latent: 2 }, fields: { x: [4] } });
    expectTypeOf(familyOf("likelihood", {} as Likelihood).distribution).returns.toEqualTypeOf<Distribution>();
    // @ts-expect-error an objective is no prior
    familyOf("prior", elbo());
    // @ts-expect-error a posterior is no prior
    familyOf("prior", gaussianPosterior());
  }));

test("optimizers", () =>
  compileOnly(() => {
    defineOptimizer("heavy-ball", {
      parse: (options) => ({ kind: "heavy-ball", rate: options.number("rate") }),
      slots: () => ["velocity"],
      begin:
        ({ rate }) =>
        (parameter, gradient, slots) => {
          expectTypeOf(slots).toEqualTypeOf<Readonly<Record<"velocity", Tensor>>>();
          // @ts-expect-error misspelt
          slots.velocty;
          const velocity = add(multiply(0.9, slots.velocity), gradient);
          return { parameter: add(parameter, multiply(-rate, velocity)), slots: { velocity } };
        },
    });
    defineOptimizer("forgetful", {
      parse: () => ({ kind: "forgetful" }),
      slots: () => ["velocity", "mass"],
      // @ts-expect-error the next value of a slot is missing
      begin: () => (parameter, _gradient, slots) => ({ parameter, slots: { mass: slots.mass } }),
    });
    defineOptimizer("plain", {
      parse: () => ({ kind: "plain" }),
      slots: () => [],
      begin: () => (parameter, gradient) => ({ parameter: add(parameter, gradient), slots: {} }),
    });
    defineOptimizer("either", {
      parse: (options) => ({ kind: "either", momentum: options.number("momentum") }),
      slots: ({ momentum }) => (momentum === 0 ? [] : ["velocity"]),
      begin:
        () =>
        (parameter, _gradient, { velocity }) => ({ parameter: add(parameter, velocity), slots: { velocity } }),
    });
  }));
