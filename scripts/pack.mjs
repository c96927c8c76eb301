// Makes the packages that install without a compiler: one of the library, and one per platform with nothing but its addon.
//
//   npm run pack:prebuild     builds the addon of this machine into prebuilds/PLATFORM-ARCH/node_vae.node
//   npm run pack:platforms    packs what stands in prebuilds/ and the library into build/packages/*.tgz
//   npm run pack:verify       installs these into an empty folder, install scripts disabled, and trains there
//
// A release gathers prebuilds/ from one machine per platform and packs once. The platform packages are optional dependencies of
// the packed library only: in the repository's own package.json, `npm ci` would look for versions that are not published yet.
import { execFileSync } from "node:child_process";
import { cpSync, existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";

const root = fileURLToPath(new URL("../", import.meta.url));
const { scripts: _, devDependencies: __, ...library } = JSON.parse(readFileSync(join(root, "package.json"), "utf8"));
const prebuilds = join(root, "prebuilds");
const packages = join(root, "build", "packages");
const here = `${process.platform}-${process.arch}`;

/** Runs a program of npm (by way of npm's own script: `npm.cmd` cannot be started without a shell on Windows). */
function npm(folder, ...args) {
  const { npm_execpath: script } = process.env;
  if (!script) throw new Error("run this as `npm run pack:…`");
  return execFileSync(process.execPath, [script, ...args], { cwd: folder, encoding: "utf8", stdio: ["ignore", "pipe", "inherit"] });
}

function prebuild() {
  const output = join(root, "build", "prebuild");
  // The C++ runtime inside and symbols left out: only the C library is asked of the machine that it will run on.
  const linking = process.platform === "linux" ? ["--CDCMAKE_SHARED_LINKER_FLAGS=-static-libstdc++ -static-libgcc -s"] : [];
  npm(root, "exec", "--", "cmake-js", "build", "--silent", "--out", output, ...linking);
  const target = join(prebuilds, here, "node_vae.node");
  mkdirSync(join(prebuilds, here), { recursive: true });
  cpSync(join(output, "Release", "node_vae.node"), target);
  console.log(target);
}

function pack() {
  const platforms = existsSync(prebuilds) ? readdirSync(prebuilds).sort() : [];
  if (platforms.length === 0) throw new Error("prebuilds/ is empty: npm run pack:prebuild");
  if (!existsSync(join(root, "dist", "index.js"))) throw new Error("dist/ is empty: npm run build:ts");
  rmSync(packages, { recursive: true, force: true });
  for (const platform of platforms) packFolder(platform, platformManifest(platform), { [join("prebuilds", platform)]: "." });
  const files = library.files.filter((name) => name !== "prebuilds");
  const optionalDependencies = Object.fromEntries(platforms.map((platform) => [`@node-vae/${platform}`, library.version]));
  const content = Object.fromEntries([...files, "README.md"].map((name) => [name, name]));
  packFolder("library", { ...library, files, optionalDependencies }, content);
}

/** A package that npm installs on its own platform only. */
function platformManifest(platform) {
  const [os, cpu] = platform.split("-");
  return {
    name: `@node-vae/${platform}`,
    version: library.version,
    description: `The native addon of node-vae for ${platform}`,
    license: library.license,
    engines: library.engines,
    os: [os],
    cpu: [cpu],
    ...(os === "linux" ? { libc: ["glibc"] } : {}),
    main: "node_vae.node",
    files: ["node_vae.node"],
  };
}

/** Lays a package out under build/packages and packs it beside. `content` maps the repository's paths to the package's. */
function packFolder(name, manifest, content) {
  const folder = join(packages, name);
  mkdirSync(folder, { recursive: true });
  for (const [from, to] of Object.entries({ ...content, LICENSE: "LICENSE" })) {
    cpSync(join(root, from), join(folder, to), { recursive: true });
  }
  writeFileSync(join(folder, "package.json"), `${JSON.stringify(manifest, undefined, 2)}\n`);
  const [{ filename, size }] = JSON.parse(npm(packages, "pack", "--json", `./${name}`));
  rmSync(folder, { recursive: true });
  console.log(`${join(packages, filename)}: ${Math.ceil(size / 1024)} KiB`);
}

const program = `
import { realpathSync } from "node:fs";
import { createRequire } from "node:module";
import { dense, vae } from "node-vae";

const rows = Float32Array.from({ length: 64 * 8 }, (_, i) => (((i >> 3) + i) % 3) / 2);
const layers = [dense(16, { activation: "relu" })];
const losses = [];
const model = vae({ input: [8], latent: 2, encoder: layers, decoder: layers, likelihood: "bernoulli", device: "cpu" });
for await (const { terms } of model.train(rows, { steps: 200, every: 50, batchSize: 32 })) losses.push(terms.loss);
console.log("loss", losses.map((loss) => loss.toFixed(2)).join(" "));
if (!(losses.at(-1) < losses[0])) throw new Error("the loss did not fall");
const addons = Object.keys(createRequire(import.meta.url).cache).filter((path) => path.endsWith("node_vae.node"));
const own = realpathSync(process.argv[2]);
if (addons.length !== 1 || realpathSync(addons[0]) !== own) throw new Error("not the packed addon but " + addons);
console.log("with", own);
model.dispose();
`;

function verify() {
  const tarballs = existsSync(packages) ? readdirSync(packages).filter((name) => name.endsWith(".tgz")) : [];
  const suffix = `-${library.version}.tgz`;
  const wanted = [`node-vae-${here}${suffix}`, `node-vae${suffix}`];
  for (const name of wanted) if (!tarballs.includes(name)) throw new Error(`no ${name} in ${packages}: npm run pack:platforms`);
  const folder = mkdtempSync(join(tmpdir(), "node-vae-install-"));
  try {
    writeFileSync(join(folder, "package.json"), JSON.stringify({ private: true, type: "module" }));
    npm(folder, "install", "--ignore-scripts", "--no-audit", "--no-fund", ...wanted.map((name) => join(packages, name)));
    writeFileSync(join(folder, "train.js"), program);
    // No PATH: nothing could call a compiler, or find anything of this repository.
    const options = { cwd: folder, env: {}, stdio: "inherit" };
    execFileSync(process.execPath, ["train.js", join(folder, "node_modules", "@node-vae", here, "node_vae.node")], options);
  } finally {
    rmSync(folder, { recursive: true });
  }
}

const commands = { prebuild, pack, verify };
const command = commands[process.argv[2]];
if (!command) throw new Error(`usage: node scripts/pack.mjs ${Object.keys(commands).join(" | ")}`);
command();
