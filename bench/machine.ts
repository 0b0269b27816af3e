/** The machine that was measured on, without anything that names it. */
import { readFileSync } from "node:fs";
import { availableParallelism, release } from "node:os";

export interface Machine {
  readonly cpu: string;
  readonly cores: number;
  readonly kernel: string;
  readonly versions: readonly (readonly [name: string, version: string])[];
}

/** `packages`: Debian packages whose versions matter. */
export function describeMachine(executable: string, packages: readonly string[]): Machine {
  const version = Bun.spawnSync([executable, "--version"], { stdout: "pipe", stderr: "ignore" });
  return {
    cpu: parseCpuModel(readFileSync("/proc/cpuinfo", "utf8")),
    cores: availableParallelism(),
    kernel: release(),
    versions: [
      ["weft", version.stdout.toString().trim() || "unknown"],
      ["bun", Bun.version],
      ...packages.map((name) => [name, packageVersion(name) ?? "of no Debian package"] as const),
    ],
  };
}

/** x86 says "model name"; other architectures may say nothing of the kind. */
export function parseCpuModel(cpuinfo: string): string {
  return /^(?:model name|Model)\s*: (.+)$/m.exec(cpuinfo)?.[1]?.trim() ?? "CPU of unknown model";
}

export function packageVersion(name: string): string | undefined {
  try {
    const run = Bun.spawnSync(["dpkg-query", "-W", `-f=\${Version}`, name], {
      stdout: "pipe",
      stderr: "ignore",
    });
    return run.exitCode === 0 ? run.stdout.toString().trim() : undefined;
  } catch {
    return undefined;
  }
}
