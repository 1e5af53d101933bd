// What serverless.yml derives from its parameters.
"use strict";

/** ARNs of the objects under s3:// prefixes; one that matches nothing where there are none. */
function storageArns(prefixes) {
  const found = [...String(prefixes).matchAll(/s3:\/\/([^,\s]+)/g)].map((each) => `arn:aws:s3:::${each[1]}*`);
  return found.length ? found : ["arn:aws:s3:::sweephand-no-storage/none"];
}

/** What POST /jobs calls if no tick is active, and the role that may. */
function waking(wake, service, stage) {
  return String(wake) === "true"
    ? { url: `lambda:${service}-${stage}-tick`, role: "CreateRole" }
    : { url: "", role: "ApiRole" };
}

/** A number, or nothing for an empty parameter. */
function optional(text) {
  return String(text) === "" ? null : Number(text);
}

/** Where tick finds PostgreSQL, as a reference into the secret; empty where it goes through PostgREST. */
function databaseUrl(store, secret, version) {
  return store === "direct" ? `{{resolve:secretsmanager:${secret}:SecretString:DATABASE_URL::${version}}}` : "";
}

module.exports = async ({ resolveVariable }) => ({
  storageArns: storageArns(await resolveVariable("param:storagePrefixes")),
  databaseUrl: databaseUrl(
    await resolveVariable("param:tickStore"),
    await resolveVariable("param:secret"),
    await resolveVariable("param:secretVersion"),
  ),
  wake: waking(
    await resolveVariable("param:wake"),
    await resolveVariable("self:service"),
    await resolveVariable("sls:stage"),
  ),
  tickConcurrency: optional(await resolveVariable("param:tickConcurrency")),
});
