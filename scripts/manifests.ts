/**
 * Writes deploy/: the manifests and the Helm chart of an install with default options. Run by Bun after a change of
 * apps/install: `bun run scripts/manifests.ts`. A test compares.
 */
import { mkdirSync, rmSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { chartFiles, checkOptions, installObjects, manifestText } from "../apps/install/index.ts";
import manifest from "../apps/install/package.json" with { type: "json" };

const DEPLOY = join(import.meta.dir, "../deploy");
const { version } = manifest;
const HEAD = `# What \`weft install\` prints with its defaults; written by scripts/manifests.ts. Weft has no registry: make the image
# with \`./weft image\`, push it to yours or import it on every node, and put its name here. docs/install.md says more.
`;

rmSync(DEPLOY, { recursive: true, force: true });
const files: Record<string, string> = {
  "weft.yaml": HEAD + manifestText(installObjects(checkOptions({}, version))),
};
for (const [path, text] of Object.entries(chartFiles(version))) files[`helm/weft/${path}`] = text;
for (const [path, text] of Object.entries(files)) {
  mkdirSync(dirname(join(DEPLOY, path)), { recursive: true });
  writeFileSync(join(DEPLOY, path), text);
}
