/** The part of the agent's socket that is about services: of a whole agent, and of one that serves nothing else. */
import { serviceRequest } from "./requests.ts";
import type { Handler } from "./server.ts";
import type { ServicesThread } from "./services-client.ts";

export const serviceRoutes = (services: ServicesThread): Readonly<Record<string, Handler>> => ({
  "GET /v1/services": () => services.ask({ about: "list" }),
  "POST /v1/services/show": async (body) => {
    const { namespace, name } = serviceRequest(body);
    return { service: (await services.ask({ about: "service", namespace, name })) ?? null };
  },
});
