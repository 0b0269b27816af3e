/** What the kernel can do, found out by doing it. */
import { isUnsupported, parseIp, parseMac } from "@weft/base";
import type { NetworkNamespace } from "@weft/kernel/port";

/** True if a VXLAN device can be made. Makes one for a moment, with a port and VNI that nobody uses. */
export function probeVxlan(self: NetworkNamespace): boolean {
  const name = "weft-probe";
  if (self.link("weft-vxlan")?.kind === "vxlan") return true;
  try {
    self.createVxlan(name, parseMac("02:00:00:00:00:01"), 1400, {
      vni: 0xffffff,
      port: 1,
      local: parseIp("127.0.0.1"),
      learning: false,
      udpChecksum: false,
    });
  } catch (error) {
    return !isUnsupported(error);
  }
  void self.deleteLink(name);
  return true;
}
