import { kernelConformance } from "./conformance.ts";
import { openKernel } from "./index.ts";
import { createAnonymous } from "./netns/index.ts";
import { LinkRemover, RealNamespace } from "./rtnetlink/index.ts";

kernelConformance("Linux", () => {
  const kernel = openKernel();
  const remover = new LinkRemover();
  return {
    kernel,
    newNamespace: () => new RealNamespace(createAnonymous(), remover),
    cleanup: () => kernel.close(),
  };
});
