// Reads objects of the Prometheus operator as a JSON list from stdin; fails at the first that it would refuse.
import { PodMonitor, PrometheusRule, ServiceMonitor } from "@kubernetes-models/prometheus-operator/monitoring.coreos.com/v1";
import { readFileSync } from "node:fs";

const KINDS = { PodMonitor, PrometheusRule, ServiceMonitor };
for (const one of JSON.parse(readFileSync(0, "utf8"))) {
  const Kind = KINDS[one.kind];
  if (!Kind) throw new Error(`nobody knows the kind ${one.kind}`);
  new Kind(one).validate();
  console.log(one.kind);
}
