import { describe, expect, test } from "bun:test";
import type { Container, Pod } from "@weft/model";
import { containerCommand } from "./images.ts";

const container = (image: string, ...command: string[]): Container => ({
  name: "c",
  image,
  command,
  environment: { EXTRA: "1", POD_IP: "mine" },
});
const pod: Pod = {
  namespace: "default",
  name: "web",
  uid: "u",
  node: undefined,
  hostNetwork: false,
  labels: {},
  containers: [],
  origin: { kind: "Pod", namespace: "default", name: "web" },
};
const place = { node: "node1", addresses: ["10.244.1.2", "fd00:10:244:1::2"] };
const command = (c: Container) => containerCommand(pod, c, place, "/opt/weft");

describe("images", () => {
  test.each([
    [container("weft/echo"), ["/opt/weft", "workload", "echo"]],
    [container("weft/echo:v1"), ["/opt/weft", "workload", "echo"]],
    [container("weft/pause"), ["/bin/sleep", "infinity"]],
    [container("host", "sh", "-c", "true"), ["sh", "-c", "true"]],
    [container("host/bash", "-c", "true"), ["bash", "-c", "true"]],
    [container("/usr/bin/env", "-i"), ["/usr/bin/env", "-i"]],
  ])("%j", (c, argv) => {
    expect(command(c).argv).toEqual(argv);
  });

  test("the environment says where it is; the manifest has the last word", () => {
    expect(command(container("weft/echo")).environment).toEqual({
      HOSTNAME: "web",
      POD_NAME: "web",
      POD_NAMESPACE: "default",
      POD_IP: "mine",
      POD_IPS: "10.244.1.2,fd00:10:244:1::2",
      NODE_NAME: "node1",
      EXTRA: "1",
    });
  });

  test.each(["nginx", "docker.io/library/nginx:1.27", "weft/none", "host/a/b", ""])(
    "%p is no image here",
    (image) => {
      expect(() => command(container(image))).toThrow("pulls no images");
    },
  );

  test("host needs a command", () => {
    expect(() => command(container("host"))).toThrow("container c: image host needs a command");
  });
});
