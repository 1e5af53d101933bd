// The CloudWatch dashboard's body: what the tick reports, and what Lambda and the HTTP API count.
"use strict";

const REGION = "${AWS::Region}";

/** A graph of metrics, each [namespace, name, dimension, value, statistic]. */
function graph(title, x, y, metrics) {
  return {
    type: "metric",
    x,
    y,
    width: 12,
    height: 6,
    properties: {
      title,
      region: REGION,
      period: 60,
      metrics: metrics.map(([namespace, name, dimension, value, stat]) => [namespace, name, dimension, value, { stat }]),
    },
  };
}

function widgets(name) {
  const tick = `${name}-tick`;
  const report = (metric, stat) => ["Sweephand", metric, "FunctionName", tick, stat];
  const lambda = (metric, stat) => ["AWS/Lambda", metric, "FunctionName", tick, stat];
  const api = (metric, stat) => ["AWS/ApiGateway", metric, "ApiId", "${HttpApi}", stat];
  const sums = (...names) => names.map((metric) => report(metric, "Sum"));
  return [
    graph("Jobs", 0, 0, sums("started", "completed", "retried", "failed")),
    graph("Age of the oldest due job (s)", 12, 0, [report("oldest_due_age_s", "Maximum")]),
    graph("Lateness (ms)", 0, 6, [
      report("lateness_p50_ms", "Maximum"),
      report("lateness_p99_ms", "Maximum"),
      report("lateness_max_ms", "Maximum"),
    ]),
    graph("Repairs", 12, 6, sums("restored", "expired_leases", "late_writes", "index_errors", "stuck", "unknown_types_count")),
    graph("Ticks", 0, 12, [lambda("Invocations", "Sum"), lambda("Errors", "Sum"), lambda("Throttles", "Sum")]),
    graph("A tick takes (ms)", 12, 12, [report("duration_ms", "Maximum"), lambda("Duration", "Average")]),
    graph("Requests", 0, 18, [api("Count", "Sum"), api("4xx", "Sum"), api("5xx", "Sum")]),
    graph("A request takes (ms)", 12, 18, [api("Latency", "p50"), api("Latency", "p99")]),
  ];
}

module.exports = async ({ resolveVariable }) => {
  const name = `${await resolveVariable("self:service")}-${await resolveVariable("sls:stage")}`;
  return { body: JSON.stringify({ widgets: widgets(name) }) };
};
