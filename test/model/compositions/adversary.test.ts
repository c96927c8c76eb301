// An adversarial autoencoder (Makhzani et al. 2016): a discriminator with an optimizer of its own tells draws of the prior from codes
// of digits, and the encoder is trained to deceive it. There is no KL term.
import { beforeAll, describe, expect, it } from "vitest";
import { add, greater, less, mean, multiply, negate, softplus, stopGradient, subtract, type Tensor } from "../../../lib/graph/index.js";
import { adam, defineObjective, dense, type FitOptions, logLikelihood, type Objective, sgd, vae } from "../../../lib/index.js";
import { type Digits, digits, expectSameAfterLoad, meanImageBound, PIXELS, sameBytes } from "../../support/digits.js";

interface Adversarial extends Objective {
  readonly kind: "compositions.adversarial";
  readonly latent: number;
  readonly weight: number;
}

defineObjective<Adversarial>("compositions.adversarial", {
  parse: (options) => ({
    kind: "compositions.adversarial",
    latent: options.number("latent", { minimum: 1, integer: true }),
    weight: options.number("weight", { minimum: 0 }),
  }),
  declare: ({ latent }) => ({
    networks: { discriminator: { layers: [dense(64, { activation: "relu" })], input: [latent], output: [1] } },
  }),
  terms: ({ weight }, { trace, scope }) => {
    const one = trace();
    const { draw, prior } = one.latents.z!;
    const discriminator = scope.network("discriminator");
    const real = discriminator(prior.draw(scope.noise).value);
    // −log σ(logit) and −log(1 − σ(logit)): what telling them apart costs.
    const asReal = (logits: Tensor): Tensor => mean(softplus(negate(logits)));
    const asFake = (logits: Tensor): Tensor => mean(softplus(logits));
    const told = discriminator(stopGradient(draw.value));
    const reconstruction = mean(logLikelihood(one));
    const deception = asReal(discriminator(draw.value));
    return {
      loss: subtract(multiply(weight, deception), reconstruction),
      discriminatorLoss: add(asReal(real), asFake(told)),
      reconstruction,
      accuracy: multiply(0.5, add(mean(greater(real, 0)), mean(less(told, 0)))),
    };
  },
});

const LATENT = 4;
const build = (weight: number) =>
  vae({
    input: [PIXELS],
    latent: LATENT,
    encoder: [dense(64, { activation: "relu" })],
    decoder: [dense(64, { activation: "relu" })],
    likelihood: "bernoulli",
    objective: { kind: "compositions.adversarial", latent: LATENT, weight },
    device: "cpu",
    seed: 1,
  });
const group = { select: ["objective"], optimizer: adam({ learningRate: 3e-3, beta1: 0.5 }), loss: "discriminatorLoss" };
const training = { steps: 600, batchSize: 100, optimizer: adam({ learningRate: 3e-3 }), groups: [group] };

/** Names of the parameters that a training moved. */
async function movedBy(model: ReturnType<typeof build>, x: Float32Array, options: FitOptions): Promise<readonly string[]> {
  const before = await model.parameters();
  await model.fit(x, options);
  const after = await model.parameters();
  return [...after].filter(([name, { data }]) => !sameBytes(data, before.get(name)!.data)).map(([name]) => name);
}

/** E[z²] of the codes of rows over all dimensions: 1 where they are distributed like the prior. */
async function secondMoment(model: ReturnType<typeof build>, x: Float32Array): Promise<number> {
  const { mean, standardDeviation } = await model.encode(x);
  return mean.reduce((total, value, index) => total + value ** 2 + standardDeviation[index]! ** 2, 0) / mean.length;
}

describe("a VAE with a discriminator", () => {
  let [train, held]: Digits[] = [];
  beforeAll(async () => {
    [train, held] = await Promise.all([digits(400), digits(200, "test")]);
  });

  it("deceives its discriminator, which tells codes from the prior where nobody deceives it", async () => {
    await using alone = build(0);
    await using opposed = build(10);
    const last = async (model: typeof alone) => (await model.fit(train!.x, training)).epochs.at(-1)!.metrics;
    const [without, against] = [await last(alone), await last(opposed)];
    expect(without.accuracy).toBeGreaterThan(0.97);
    expect(against.accuracy).toBeLessThan(0.75);
    expect(against.discriminatorLoss).toBeGreaterThan(1); // two halves of log 2 where nothing can be told
    expect(await secondMoment(alone, held!.x)).toBeGreaterThan(50);
    const moment = await secondMoment(opposed, held!.x);
    expect(moment).toBeGreaterThan(0.6);
    expect(moment).toBeLessThan(2);
    // Neither was trained on a KL term. What the adversary brings shows in it, and in the bound.
    const [one, other] = [await alone.evaluate(held!.x), await opposed.evaluate(held!.x)];
    expect(one.kl).toBeGreaterThan(other.kl + 300);
    expect(other.elbo).toBeGreaterThan(one.elbo + 300);
    expect(other.reconstruction).toBeGreaterThan(meanImageBound(train!, held!) + 30);
    await expectSameAfterLoad(opposed, held!.x, { groups: [group] });
  });

  it("moves both in one step, each by its own loss alone", async () => {
    const step = { steps: 1, batchSize: 100, optimizer: sgd({ learningRate: 1e-3 }) };
    const own = { ...group, optimizer: sgd({ learningRate: 1e-1 }) };
    await using both = build(10);
    await using first = build(10);
    await using second = build(10);
    const moved = await movedBy(both, train!.x, { ...step, groups: [own] });
    expect(moved).toEqual([...(await both.parameters()).keys()]);
    const [theVae, theDiscriminator] = [false, true].map((isIts) => moved.filter((name) => name.startsWith("objective.") === isIts));
    expect(theDiscriminator).toHaveLength(4);
    expect(await movedBy(first, train!.x, { ...step, freeze: ["objective"] })).toEqual(theVae);
    expect(await movedBy(second, train!.x, { ...step, groups: [own], freeze: ["encoder", "decoder"] })).toEqual(theDiscriminator);
    // Together they went where each goes while the other stands still.
    const [together, vaeAlone, discriminatorAlone] = [await both.parameters(), await first.parameters(), await second.parameters()];
    for (const name of theVae!) expect(sameBytes(together.get(name)!.data, vaeAlone.get(name)!.data), name).toBe(true);
    for (const name of theDiscriminator!) expect(sameBytes(together.get(name)!.data, discriminatorAlone.get(name)!.data), name).toBe(true);
  });

  it("learns to tell the codes of an encoder that is frozen", async () => {
    await using model = build(0);
    const moved = await movedBy(model, train!.x, { ...training, freeze: ["encoder", "decoder"] });
    expect(moved.every((name) => name.startsWith("objective."))).toBe(true);
    const { epochs } = await model.fit(train!.x, { ...training, steps: 100, freeze: ["encoder", "decoder"] });
    // What an untrained encoder gives lies near the prior, but not on it. Where nothing can be told, it costs 2 log 2 = 1.386.
    const { discriminatorLoss, accuracy } = epochs.at(-1)!.metrics;
    expect(discriminatorLoss).toBeLessThan(1.32);
    expect(accuracy).toBeGreaterThan(0.6);
  });

  it("names a loss that the objective does not have", async () => {
    await using model = build(1);
    const wrong = { ...training, groups: [{ ...group, loss: "discriminatorLos" }] };
    await expect(model.fit(train!.x, wrong)).rejects.toMatchObject({
      code: "argument",
      hint: expect.stringContaining('"discriminatorLoss"'),
    });
  });
});
