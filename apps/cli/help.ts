/** What every command's help has. */
import type { Command } from "commander";

/** Adds an example below the options. */
export function example(command: Command, ...lines: readonly string[]): void {
  command.addHelpText("after", `\nExample:\n${lines.map((l) => `  $ ${l}`).join("\n")}`);
}
