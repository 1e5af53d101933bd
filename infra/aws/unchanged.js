// osls finds out that nothing changed by comparing hashes, but of the zips in .serverless and the service's own only:
// a function's own artifact, such as tick's, it forgets, and every deployment would look like a change.
"use strict";

const fs = require("node:fs");
const path = require("node:path");

class Unchanged {
  constructor(serverless) {
    this.hooks = {
      "before:aws:deploy:deploy:checkForChanges": () => {
        const { service, serviceDir } = serverless;
        const own = service.getAllFunctions().map((name) => service.getFunction(name).package?.artifact);
        for (const artifact of new Set(own.filter(Boolean))) {
          const file = path.resolve(serviceDir, artifact);
          if (file !== path.resolve(serviceDir, service.package.artifact)) {
            fs.copyFileSync(file, path.join(serviceDir, ".serverless", path.basename(file)));
          }
        }
      },
    };
  }
}

module.exports = Unchanged;
