/** Services, endpoint slices and what the node is: to plan rows. */
export { type Candidate, type Choice, candidates, choose, type Here } from "./endpoints.ts";
export { allProblems, type Explanation, explainService, summaries } from "./explain.ts";
export { matchText, type Served, served } from "./frontends.ts";
export {
  createServices,
  type HealthCheck,
  type ServiceContext,
  type ServiceFact,
  type ServiceSelf,
  type Services,
  type ServicesOptions,
} from "./services.ts";
