import { checkNetwork, renderReport } from "/work/main/packages/check/index.ts";
import { createTestNetwork, removeStale } from "/work/main/packages/check/testnet.ts";

removeStale();
const t = performance.now();
const net = createTestNetwork({
  nodes: Number(process.argv[2] ?? 2),
  podsPerNode: Number(process.argv[3] ?? 2),
});
console.log("setup", performance.now() - t);
try {
  for (let i = 0; i < 3; i++) {
    const r = await checkNetwork(net.input, {
      maxPairs: Number(process.argv[4] ?? 4000),
      onProgress: (p) => console.log(p),
    });
    console.log(renderReport(r));
    console.log(r.failures.length, r.durationMs);
  }
} finally {
  net.remove();
}
