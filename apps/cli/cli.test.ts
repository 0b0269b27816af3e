import { expect, test } from "bun:test";
import { isInvalid, WeftError } from "@weft/base";
import type { Command } from "commander";
import { buildProgram } from "./cli.ts";
import { parseDuration } from "./commands/agent.ts";
import { ago, exitCodeOf, table } from "./output.ts";

function all(command: Command): Command[] {
  return [
    command,
    ...command
      .createHelp()
      .visibleCommands(command)
      .filter((c) => c.name() !== "help")
      .flatMap(all),
  ];
}

/** Help as a user sees it, examples included. */
function helpOf(command: Command): string {
  let text = "";
  command.configureOutput({
    writeOut: (s) => {
      text += s;
    },
  });
  command.outputHelp();
  return text;
}

test("every command says what it does and has an example", () => {
  for (const command of all(buildProgram())) {
    expect(command.description()).not.toBe("");
    expect(helpOf(command)).toContain("Example:\n  $ ");
    expect(helpOf(command)).toContain("weft");
  }
});

test("examples are commands that exist", () => {
  const program = buildProgram();
  const names = new Set(all(program).map((c) => c.name()));
  for (const command of all(program)) {
    for (const [, first, second] of helpOf(command).matchAll(
      /\$ (?:source <\()?weft ([a-z]+)(?: ([a-z]+))?/g,
    )) {
      expect(names).toContain(first as string);
      if (first === "lab") expect(names).toContain(second as string);
    }
  }
});

test("durations", () => {
  expect(["0", "5ms", "30s", "1m", "2h"].map(parseDuration)).toEqual([0, 5, 30_000, 60_000, 7_200_000]);
  for (const bad of ["", "5", "-1s", "1d", "1.5s", "1m ", "99999999999s"]) {
    expect(() => parseDuration(bad)).toThrow(WeftError);
    try {
      parseDuration(bad);
    } catch (error) {
      expect(isInvalid(error)).toBe(true);
    }
  }
});

test("tables: columns as wide as need be, the last one cut where the terminal ends", () => {
  expect(
    table(
      ["A", "LONG"],
      [
        ["x", "y"],
        ["xxx", "z"],
      ],
      80,
    ),
  ).toBe("A    LONG\nx    y\nxxx  z");
  const cut = table(["A", "B"], [["x", "y".repeat(100)]], 40);
  expect(cut.split("\n").every((l) => l.length <= 40)).toBe(true);
  expect(cut).toContain("…");
  expect(table(["A", "B"], [["\x1b[31mred\x1b[0m", "y"]], 80).split("\n")[1]).toBe("\x1b[31mred\x1b[0m  y");
});

test("ages", () => {
  expect([0, 119, 120, 7199, 7200, 172_800].map((s) => ago(0, s * 1000))).toEqual([
    "0s",
    "119s",
    "2m",
    "119m",
    "2h",
    "2d",
  ]);
});

test("exit codes that scripts can trust", () => {
  expect(exitCodeOf(new WeftError("invalid", "x"))).toBe(2);
  expect(exitCodeOf(new WeftError("unavailable", "x"))).toBe(3);
  expect(exitCodeOf(new WeftError("not-found", "x"))).toBe(1);
  expect(exitCodeOf(new Error("x"))).toBe(70);
});

test("weft server: what can be no name of a server is refused before anything is made", async () => {
  for (const name of ["a b", "https://api", "", "-x.example.org", "fd00::1/64"]) {
    const words = ["server", "--data", "/nowhere/weft", "--port", "0", `--name=${name}`];
    const program = buildProgram();
    await expect(program.parseAsync(words, { from: "user" })).rejects.toThrow("--name");
  }
});

test("weft image: what no runtime would load is refused, what a registry may be called is not", async () => {
  const run = (name: string): Promise<unknown> =>
    buildProgram().parseAsync(["image", "--output", "/nowhere/weft.tar", `--name=${name}`], { from: "user" });
  for (const name of [
    "Bad Name!",
    "",
    "weft",
    "Example.org/Weft:1",
    "a/b:",
    "a//b:1",
    `${"a".repeat(300)}:1`,
  ])
    await expect(run(name)).rejects.toThrow("--name");
  const names = ["weft:1", "localhost:5000/a/b-c:v1.0_x", "[fd00::1]:5000/weft:1", "weft.network/weft:0.1.0"];
  for (const name of names) await expect(run(name)).rejects.toThrow("/nowhere");
});
