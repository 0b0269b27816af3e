/** Go, which this suite alone needs. */
import { WeftError } from "@weft/base";
import { attempt } from "../command.ts";

const NEEDED = [1, 24] as const;

/** Throws "unsupported" when there is no Go or one that is too old, with where to get it. */
export async function requireGo(): Promise<void> {
  const hint =
    "Get it from https://go.dev/dl/ and put its bin directory into PATH. Nothing else of Weft needs it.";
  const wanted = `the suite builds Kubernetes and needs Go ${NEEDED.join(".")} or later`;
  if (Bun.which("go") === null)
    throw new WeftError("unsupported", `${wanted}, but there is no go here`, { hint });
  const { stdout } = await attempt(["go", "env", "GOVERSION"]);
  const found = /^go([0-9]+)\.([0-9]+)/.exec(stdout.trim());
  const [major, minor] = [Number(found?.[1] ?? 0), Number(found?.[2] ?? 0)];
  if (major < NEEDED[0] || (major === NEEDED[0] && minor < NEEDED[1])) {
    throw new WeftError("unsupported", `${wanted}, but this is ${stdout.trim()}`, { hint });
  }
}
