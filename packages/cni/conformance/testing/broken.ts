/** Run by conformance.test.ts: the suite on a plugin that answers everything with an empty object. */
import { pluginConformance } from "../index.ts";

pluginConformance("a plugin that does nothing", {
  argv: ["/bin/sh", "-c", "echo '{}'"],
  versions: ["0.4.0", "1.1.0"],
  interfaceName: "eth0",
  configuration: { name: "none", type: "none" },
  createNamespace: () => ({ path: "/run/netns/weft-absent", remove() {} }),
});
