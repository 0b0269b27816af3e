/**
 * What the CNI specification asks of any plugin, as tests that run its executable in real network namespaces. Call
 * pluginConformance at the top of a test file. What a plugin does beyond that is for its own tests to check.
 */
import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { CODE } from "../errors.ts";
import type { Spawn } from "../runtime/spawn.ts";
import { type Command, REQUIREMENTS } from "../skeleton/requirements.ts";
import { VALID_ATTACHMENTS_KEYS } from "../types/configuration.ts";
import { formatResult } from "../types/format-result.ts";
import { parseResult } from "../types/parse-result.ts";
import type { Result } from "../types/result.ts";
import { type CniVersion, highestVersion, versionAtLeast } from "../types/version.ts";
import { type Answer, callPlugin, errorOf } from "./call.ts";

export * from "./call.ts";
export * from "./namespace.ts";

/** Groups of requirements that a plugin may be excepted from. */
export type ConformanceRequirement =
  | "result form" // the result has the form of the version asked for
  | "previous result" // ADD passes on the interfaces of prevResult
  | "check after delete" // CHECK fails once DEL has run
  | "check needs result"; // CHECK without prevResult fails

export interface ConformanceNamespace {
  readonly path: string;
  remove(): void | Promise<void>;
}

export interface ConformanceOptions {
  /** How to run the plugin: its path, or an interpreter and a script. */
  readonly argv: readonly string[];
  /** The versions that it must claim to support. */
  readonly versions: readonly CniVersion[];
  readonly interfaceName: string;
  /** A configuration that works, without cniVersion. */
  readonly configuration: { readonly name: string; readonly type: string; readonly [key: string]: unknown };
  /** A namespace for one test, as a container runtime would make it. */
  createNamespace(): ConformanceNamespace | Promise<ConformanceNamespace>;
  /** Environment besides the CNI_ variables, such as PATH. Default: PATH and HOME of this process. */
  readonly environment?: Readonly<Record<string, string>>;
  /** CNI_PATH. */
  readonly path?: string;
  readonly spawn?: Spawn;
  /** Called after a successful ADD and after a successful DEL: look at the kernel here. */
  verifyAdded?(namespacePath: string, result: Result): void | Promise<void>;
  verifyDeleted?(namespacePath: string): void | Promise<void>;
  /** What the plugin is known not to meet: skipped, with the reason in the name of the test. */
  readonly exceptions?: readonly ConformanceException[];
}

export interface ConformanceException {
  readonly requirement: ConformanceRequirement;
  /** Default: all. */
  readonly versions?: readonly CniVersion[];
  readonly reason: string;
}

export function pluginConformance(name: string, options: ConformanceOptions): void {
  describe(`CNI conformance of ${name}`, () => {
    const plugin = new PluginUnderTest(options);
    beforeAll(() => plugin.setUp());
    afterAll(() => plugin.tearDown());
    versionTests(plugin);
    environmentTests(plugin);
    inputTests(plugin);
    for (const version of options.versions) attachmentTests(plugin, version);
    if (options.versions.includes("1.1.0")) nodeTests(plugin);
  });
}

class PluginUnderTest {
  readonly options: ConformanceOptions;
  readonly latest: CniVersion;
  /** A namespace for tests that never get as far as changing it. */
  #shared: ConformanceNamespace | undefined;

  constructor(options: ConformanceOptions) {
    this.options = options;
    const latest = highestVersion(options.versions);
    if (latest === undefined) throw new Error("a plugin supports at least one version");
    this.latest = latest;
  }

  async setUp(): Promise<void> {
    this.#shared = await this.options.createNamespace();
  }

  async tearDown(): Promise<void> {
    await this.#shared?.remove();
  }

  configuration(version: string, more: object = {}): string {
    return JSON.stringify({ cniVersion: version, ...this.options.configuration, ...more });
  }

  /** The environment of a call that works; undefined in `changes` removes a variable. */
  environment(command: string, changes: Readonly<Record<string, string | undefined>> = {}) {
    const { PATH = "/usr/sbin:/usr/bin:/sbin:/bin", HOME = "/" } = process.env;
    const all: Record<string, string | undefined> = {
      ...(this.options.environment ?? { PATH, HOME }),
      CNI_COMMAND: command,
      CNI_CONTAINERID: "conformance",
      CNI_IFNAME: this.options.interfaceName,
      CNI_NETNS: this.#shared?.path,
      CNI_PATH: this.options.path ?? "/opt/cni/bin",
      ...changes,
    };
    return Object.fromEntries(
      Object.entries(all).filter((entry): entry is [string, string] => entry[1] !== undefined),
    );
  }

  call(
    command: string,
    stdin: string,
    changes: Readonly<Record<string, string | undefined>> = {},
  ): Promise<Answer> {
    const { argv, spawn } = this.options;
    const environment = this.environment(command, changes);
    return callPlugin({ argv, environment, stdin, ...(spawn === undefined ? {} : { spawn }) });
  }

  async inNamespace(body: (path: string) => Promise<void>): Promise<void> {
    const namespace = await this.options.createNamespace();
    try {
      await body(namespace.path);
    } finally {
      await namespace.remove();
    }
  }

  /** A test, or a skipped one that says why. */
  test(
    requirement: ConformanceRequirement,
    version: CniVersion,
    title: string,
    body: () => Promise<void>,
  ): void {
    const exception = this.options.exceptions?.find(
      (e) => e.requirement === requirement && (e.versions?.includes(version) ?? true),
    );
    if (exception === undefined) test(title, body);
    else test.skip(`${title} (${exception.reason})`, body);
  }
}

function succeeded(answer: Answer): Answer {
  if (answer.code !== 0) throw new Error(`exit code ${answer.code}: ${answer.stdout}${answer.stderr}`);
  return answer;
}

function versionTests(plugin: PluginUnderTest): void {
  test("VERSION lists the supported versions", async () => {
    const { stdout } = succeeded(await plugin.call("VERSION", '{"cniVersion":"1.0.0"}'));
    const answer = JSON.parse(stdout) as Record<"cniVersion" | "supportedVersions", unknown>;
    expect(answer.cniVersion).toBeString();
    expect(answer.supportedVersions).toEqual([...plugin.options.versions]);
  });

  test("a version that is not supported is error 1", async () => {
    expect(errorOf(await plugin.call("ADD", plugin.configuration("99.0.0"))).code).toBe(
      CODE.incompatibleVersion,
    );
  });
}

function environmentTests(plugin: PluginUnderTest): void {
  test("an unknown command is error 4", async () => {
    const answer = await plugin.call("FROBNICATE", plugin.configuration(plugin.latest));
    expect(errorOf(answer).code).toBe(CODE.invalidEnvironment);
  });

  for (const command of ["ADD", "DEL", "CHECK"] as const satisfies Command[]) {
    for (const variable of REQUIREMENTS[command].variables) {
      test(`${command} without ${variable} is error 4 and names it`, async () => {
        const error = errorOf(
          await plugin.call(command, plugin.configuration(plugin.latest), { [variable]: undefined }),
        );
        expect(error.code).toBe(CODE.invalidEnvironment);
        expect(`${error.msg} ${error.details ?? ""}`).toContain(variable);
      });
    }
  }

  const invalid = [
    ["CNI_CONTAINERID", "../etc"],
    ["CNI_IFNAME", "a-name-that-is-too-long"],
    ["CNI_IFNAME", ".."],
    ["CNI_IFNAME", "a/b"],
    ["CNI_IFNAME", "a:b"],
    ["CNI_IFNAME", "a b"],
  ] as const;
  test.each(invalid)("%s=%s is error 4", async (variable, value) => {
    const answer = await plugin.call("ADD", plugin.configuration(plugin.latest), { [variable]: value });
    expect(errorOf(answer).code).toBe(CODE.invalidEnvironment);
  });
}

function inputTests(plugin: PluginUnderTest): void {
  test.each(["", "{", "garbage"])("standard input %j is error 6", async (stdin) => {
    expect(errorOf(await plugin.call("ADD", stdin)).code).toBe(CODE.decoding);
  });

  test("a configuration without a name is error 7", async () => {
    const stdin = plugin.configuration(plugin.latest, { name: undefined });
    expect(errorOf(await plugin.call("ADD", stdin)).code).toBe(CODE.invalidConfiguration);
  });

  plugin.test("check needs result", plugin.latest, "CHECK without prevResult fails", async () => {
    errorOf(await plugin.call("CHECK", plugin.configuration(plugin.latest)));
  });
}

function attachmentTests(plugin: PluginUnderTest, version: CniVersion): void {
  const { options } = plugin;

  plugin.test("result form", version, `ADD at ${version} prints the form of that version`, () =>
    plugin.inNamespace(async (path) => {
      const at = { CNI_NETNS: path };
      const { stdout } = succeeded(await plugin.call("ADD", plugin.configuration(version), at));
      const printed = JSON.parse(stdout) as Record<string, unknown>;
      const canonical = formatResult(parseResult(stdout).result, version);
      // An empty dns or list may be printed or left out.
      const isEmpty = (v: unknown): boolean =>
        typeof v === "object" && v !== null && Object.keys(v).length === 0;
      const shown = Object.fromEntries(Object.entries(printed).filter(([, v]) => !isEmpty(v)));
      expect(shown).toEqual(canonical as unknown as Record<string, unknown>);
      succeeded(await plugin.call("DEL", plugin.configuration(version, { prevResult: printed }), at));
    }),
  );

  test(`ADD, CHECK, DEL and DEL again at ${version}`, () =>
    plugin.inNamespace(async (path) => {
      const at = { CNI_NETNS: path };
      const { stdout } = succeeded(await plugin.call("ADD", plugin.configuration(version), at));
      await options.verifyAdded?.(path, parseResult(stdout, version).result);
      const after = plugin.configuration(version, { prevResult: JSON.parse(stdout) });
      if (versionAtLeast(version, "0.4.0")) {
        expect(succeeded(await plugin.call("CHECK", after, at)).stdout.trim()).toBe("");
      }
      for (const _ of ["once", "again"]) {
        expect(succeeded(await plugin.call("DEL", after, at)).stdout.trim()).toBe("");
        await options.verifyDeleted?.(path);
      }
    }));

  test(`DEL at ${version} succeeds without the namespace`, async () => {
    const configuration = plugin.configuration(version);
    for (const CNI_NETNS of ["/run/netns/weft-absent", undefined]) {
      const { stdout } = succeeded(await plugin.call("DEL", configuration, { CNI_NETNS }));
      expect(stdout.trim()).toBe("");
    }
  });

  if (versionAtLeast(version, "0.4.0")) {
    plugin.test("check after delete", version, `CHECK at ${version} fails after DEL`, () =>
      plugin.inNamespace(async (path) => {
        const at = { CNI_NETNS: path };
        const { stdout } = succeeded(await plugin.call("ADD", plugin.configuration(version), at));
        const after = plugin.configuration(version, { prevResult: JSON.parse(stdout) });
        succeeded(await plugin.call("DEL", after, at));
        errorOf(await plugin.call("CHECK", after, at));
      }),
    );
  }

  if (versionAtLeast(version, "0.3.0")) {
    plugin.test("previous result", version, `ADD at ${version} passes on what came before`, () =>
      plugin.inNamespace(async (path) => {
        const before: Result = {
          interfaces: [{ name: "before0", sandbox: path }],
          ips: [],
          routes: [],
          dns: {},
        };
        const prevResult = formatResult(before, version);
        const at = { CNI_NETNS: path };
        const { stdout } = succeeded(
          await plugin.call("ADD", plugin.configuration(version, { prevResult }), at),
        );
        const names = parseResult(stdout, version).result.interfaces.map((i) => i.name);
        expect(names).toContain("before0");
        const after = plugin.configuration(version, { prevResult: JSON.parse(stdout) });
        succeeded(await plugin.call("DEL", after, at));
      }),
    );
  }
}

function nodeTests(plugin: PluginUnderTest): void {
  const none = { CNI_CONTAINERID: undefined, CNI_NETNS: undefined, CNI_IFNAME: undefined };

  test("STATUS succeeds with nothing but a configuration", async () => {
    const answer = succeeded(await plugin.call("STATUS", plugin.configuration("1.1.0"), none));
    expect(answer.stdout.trim()).toBe("");
  });

  test("GC succeeds with an empty list of valid attachments", async () => {
    const stdin = plugin.configuration("1.1.0", { [VALID_ATTACHMENTS_KEYS[0]]: [] });
    expect(succeeded(await plugin.call("GC", stdin, none)).stdout.trim()).toBe("");
  });
}
