/** weft image: the container image of this very executable. */
import { readlinkSync } from "node:fs";
import { VERSION } from "@weft/agent";
import { WeftError } from "@weft/base";
import { imageOf } from "@weft/install";
import type { Command } from "commander";
import { example } from "../help.ts";
import { print, printJson } from "../output.ts";
import { shimBeside } from "./agent-node.ts";

export function imageCommand(program: Command): void {
  const image = program
    .command("image")
    .description("write Weft's container image: this executable and what it loads, without a base image")
    .option(
      "--output <file>",
      "the archive, for docker load, podman load, ctr images import, skopeo",
      "weft.tar",
    )
    .option("--name <name>", "repository and tag", imageOf(VERSION))
    .option("--json", "name, identity and file as JSON")
    .action(async (flags: { output: string; name: string; json?: boolean }) => {
      checkName(flags.name);
      const { weftImage, writeArchive } = await import("@weft/image");
      const executable = readlinkSync("/proc/self/exe");
      const source = weftImage({ name: flags.name, executable, shim: shimBeside(executable) });
      const identity = await writeArchive(source, flags.output);
      if (flags.json === true) printJson({ name: flags.name, identity, file: flags.output });
      else print(`${flags.output}: ${flags.name}, ${identity}`);
    });
  example(image, "weft image --output weft.tar --name registry.example.org/weft:1");
}

const HOST = String.raw`(\[[0-9A-Fa-f:]+\]|[A-Za-z0-9][A-Za-z0-9.-]*)(:\d{1,5})?`;
const PART = "[a-z0-9]+([._-]+[a-z0-9]+)*";
const NAME = new RegExp(String.raw`^(${HOST}/)?${PART}(/${PART})*:\w[\w.-]{0,127}$`);

/** What no runtime would load is refused here, where it can be corrected. */
function checkName(name: string): void {
  if (name.length <= 255 && NAME.test(name)) return;
  throw new WeftError("invalid", `--name: ${JSON.stringify(name)} is no repository and tag`, {
    hint: "Write it like registry.example.org/weft:1, the repository in small letters.",
  });
}
